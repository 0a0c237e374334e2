//! UDP streams between the mobile node and its correspondent, and the account of what arrived.

mod account;
mod header;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::io::Errno;

pub use self::account::{Direction, Passage};
use self::{account::Account, header::StreamHeader};
use crate::{
    losses::Losses,
    netns::NetNs,
    topology::{CN, Lab, PCOA, usable_addresses},
    wait::{SOON, wait_until},
};

/// IPv6 and UDP headers before the payload.
const HEADERS: usize = 40 + 8;
/// The smallest packet that holds the stream's own header, in bytes of IPv6 packet.
pub const MIN_SIZE: usize = HEADERS + StreamHeader::SIZE;
/// The largest packet that still fits a link of 1500 bytes with the tunnel's outer header around it.
pub const MAX_SIZE: usize = 1500 - 40;
/// The highest rate in packets per second and direction. Beyond it the pacing of a sender that may be
/// held up for milliseconds cannot keep its bursts below the length of a veth ring.
pub const MAX_RATE: u32 = 20_000;

/// The most packets that go out back to back when a sender was held up: a veth ring has 256 places.
const MAX_BURST: u64 = 32;
/// The pause after a burst of that length.
const BURST_PAUSE: Duration = Duration::from_millis(1);
/// How long a receiver listens on after everything has come, for duplicates.
const DUPLICATES_WAIT: Duration = Duration::from_millis(200);
/// How long nothing must come until a receiver takes the rest for lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// Enough for seconds of any stream, so that a receiver that is held up loses nothing, and what waits in
/// the kernel for a neighbour's address does not stop a sender.
const SOCKET_BUFFER: usize = 32 << 20;

const MN_PORT: u16 = 5000;
const CN_PORT: u16 = 6000;

/// The stream in each direction.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    rate: u32,
    size: usize,
    connected: bool,
}

impl StreamConfig {
    /// `rate` packets per second (1 to [`MAX_RATE`]) of `size` bytes of IPv6 packet ([`MIN_SIZE`] to
    /// [`MAX_SIZE`]), in each direction.
    pub fn new(rate: u32, size: usize) -> Result<Self> {
        ensure!(
            (1..=MAX_RATE).contains(&rate),
            "a rate of {rate} packets per second is not between 1 and {MAX_RATE}"
        );
        ensure!(
            (MIN_SIZE..=MAX_SIZE).contains(&size),
            "a packet size of {size} bytes is not between {MIN_SIZE} (headers, sequence number and \
             time) and {MAX_SIZE} (what fits a link of 1500 bytes inside a tunnel)"
        );
        Ok(Self {
            rate,
            size,
            connected: false,
        })
    }

    /// From sockets that are connected: the kernel tells the flow of what they send by the socket, where it
    /// tells that of others' packets by their headers.
    pub fn connected(self) -> Self {
        Self {
            connected: true,
            ..self
        }
    }

    /// Packets per second in each direction.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Bytes of each IPv6 packet.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// The number that a packet of a stream bears, from its payload.
pub(crate) fn number_of(payload: &[u8]) -> Option<u64> {
    StreamHeader::read(payload)
        .map(|header| header.sequence)
        .filter(|sequence| *sequence != StreamHeader::PROBE)
}

/// The payload of the packet with that number.
#[cfg(test)]
pub(crate) fn numbered_payload(sequence: u64) -> [u8; StreamHeader::SIZE] {
    let mut payload = [0; StreamHeader::SIZE];
    StreamHeader { sequence, time: 0 }.write(&mut payload);
    payload
}

/// The account of both directions.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// From the correspondent node to the mobile node.
    pub downlink: Direction,
    /// From the mobile node to the correspondent node.
    pub uplink: Direction,
    /// Every packet of the downlink, in the order of sending.
    pub passages: Vec<Passage>,
    /// What the system answered instead of sending, and how often: these packets are lost.
    pub refused: BTreeMap<String, u64>,
    /// If packets were lost: which counters of lost packets grew meanwhile.
    pub losses: Vec<String>,
}

/// When packets are due: packet `n` at `n / rate`, whatever happened to those before.
#[derive(Debug)]
struct Pace {
    interval_ns: u64,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Self {
            interval_ns: 1_000_000_000 / u64::from(rate),
        }
    }

    /// How many packets to send now, `elapsed` after the start, when `sent` went out before.
    fn due(&self, elapsed: Duration, sent: u64) -> u64 {
        let due = elapsed.as_nanos() as u64 / self.interval_ns + 1;
        due.saturating_sub(sent).min(MAX_BURST)
    }

    /// The time from the start at which packet `number` is due.
    fn time_of(&self, number: u64) -> Duration {
        Duration::from_nanos(number * self.interval_ns)
    }
}

/// Where a sender's packets go out and to whom.
#[derive(Debug)]
struct Path {
    socket: UdpSocket,
    to: SocketAddrV6,
}

/// What a sender did.
#[derive(Debug, Default)]
struct Sending {
    /// When each packet went out.
    times: Vec<Duration>,
    /// What the system refused to send.
    refused: BTreeMap<String, u64>,
}

/// What became of one direction.
#[derive(Debug)]
struct Finished {
    direction: Direction,
    passages: Vec<Passage>,
    refused: BTreeMap<String, u64>,
}

/// One direction of the stream.
#[derive(Debug)]
struct Flow {
    path: Arc<Mutex<Arc<Path>>>,
    stop: Arc<AtomicBool>,
    /// How many packets have gone out so far.
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    /// Where the newest packet came from.
    newest_source: Arc<Mutex<Option<SocketAddrV6>>>,
    sender: JoinHandle<Result<Sending>>,
    receiver: JoinHandle<Result<Account>>,
}

impl Flow {
    fn start(config: StreamConfig, path: Path, receive: UdpSocket, start: Instant) -> Result<Self> {
        let path = Arc::new(Mutex::new(Arc::new(path)));
        let stop = Arc::<AtomicBool>::default();
        let sent = Arc::<AtomicU64>::default();
        // Set, with the number of packets sent, when the sender is done.
        let sent_in_all = Arc::<Mutex<Option<u64>>>::default();
        let received = Arc::<AtomicU64>::default();
        let newest_source = Arc::<Mutex<Option<SocketAddrV6>>>::default();
        let sender = thread::Builder::new().name("sender".into()).spawn({
            let (path, stop, sent) = (path.clone(), stop.clone(), sent.clone());
            let sent_in_all = sent_in_all.clone();
            move || {
                let mut sending = Sending::default();
                let result = send_all(config, &path, &stop, start, &sent, &mut sending);
                *sent_in_all.lock().expect("no holder panics") = Some(sending.times.len() as u64);
                result.map(|()| sending)
            }
        })?;
        let receiver = thread::Builder::new().name("receiver".into()).spawn({
            let (received, newest_source) = (received.clone(), newest_source.clone());
            move || receive_all(&receive, start, &sent_in_all, &received, &newest_source)
        })?;
        Ok(Self {
            path,
            stop,
            sent,
            received,
            newest_source,
            sender,
            receiver,
        })
    }

    fn set_path(&self, path: Path) {
        *self.path.lock().expect("no holder panics") = Arc::new(path);
    }

    fn finish(self) -> Result<Finished> {
        let panicked = |_| anyhow!("a thread of the stream panicked");
        let sending = self.sender.join().map_err(panicked)??;
        let account = self.receiver.join().map_err(panicked)??;
        Ok(Finished {
            direction: account.close(sending.times.len() as u64),
            passages: account.passages(&sending.times),
            refused: sending.refused,
        })
    }
}

/// Both streams, running.
#[derive(Debug)]
pub struct Streams {
    start: Instant,
    losses: Losses,
    downlink: Option<Flow>,
    uplink: Option<Flow>,
}

impl Streams {
    /// Waits until packets pass both ways between [`PCOA`] and the correspondent node (a first packet
    /// may wait for neighbour discovery), then starts the streams.
    pub fn start(lab: &Lab, config: StreamConfig) -> Result<Self> {
        let to_cn = SocketAddrV6::new(CN, CN_PORT, 0, 0);
        let to_mn = SocketAddrV6::new(PCOA, MN_PORT, 0, 0);
        let mn_receive = bind(&lab.mn, Ipv6Addr::UNSPECIFIED, MN_PORT)?;
        let cn_receive = bind(&lab.cn, Ipv6Addr::UNSPECIFIED, CN_PORT)?;
        let downlink = Path {
            socket: bind(&lab.cn, CN, 0)?,
            to: to_mn,
        };
        let uplink = Path {
            socket: bind(&lab.mn, PCOA, 0)?,
            to: to_cn,
        };
        for path in [&downlink, &uplink]
            .into_iter()
            .filter(|_| config.connected)
        {
            (path.socket.connect(path.to))
                .with_context(|| format!("cannot connect a socket to {}", path.to))?;
        }
        probe("downlink", &downlink, &mn_receive)?;
        probe("uplink", &uplink, &cn_receive)?;
        let losses = Losses::open(lab)?;
        let start = Instant::now();
        let mut streams = Self {
            start,
            losses,
            downlink: None,
            uplink: None,
        };
        streams.downlink = Some(Flow::start(config, downlink, mn_receive, start)?);
        streams.uplink = Some(Flow::start(config, uplink, cn_receive, start)?);
        Ok(streams)
    }

    /// The time since their start.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.downlink.iter().chain(&self.uplink)
    }

    fn downlink_flow(&self) -> &Flow {
        self.downlink
            .as_ref()
            .expect("both flows run until the end")
    }

    fn uplink_flow(&self) -> &Flow {
        self.uplink.as_ref().expect("both flows run until the end")
    }

    /// How many different packets have arrived so far: downlink, uplink.
    pub fn received(&self) -> (u64, u64) {
        let count = |flow: &Flow| flow.received.load(Ordering::Relaxed);
        (count(self.downlink_flow()), count(self.uplink_flow()))
    }

    /// How many packets have been sent so far, those included that the system refused: downlink, uplink.
    pub fn sent(&self) -> (u64, u64) {
        let count = |flow: &Flow| flow.sent.load(Ordering::Relaxed);
        (count(self.downlink_flow()), count(self.uplink_flow()))
    }

    /// Waits until `packets` more than `before`, which [`Streams::sent`] was, have been sent in each
    /// direction.
    pub fn wait_for_sent(
        &self,
        before: (u64, u64),
        packets: u64,
        deadline: Duration,
    ) -> Result<()> {
        let what = format!("{packets} packets to be sent each way");
        self.wait_for_more(&what, before, packets, deadline, Self::sent)
    }

    /// Waits until `packets` more have arrived in each direction.
    pub fn wait_for_packets(&self, packets: u64, deadline: Duration) -> Result<()> {
        let before = self.received();
        let what = format!("{packets} more packets each way");
        self.wait_for_more(&what, before, packets, deadline, Self::received)
    }

    fn wait_for_more(
        &self,
        what: &str,
        before: (u64, u64),
        packets: u64,
        deadline: Duration,
        counted: impl Fn(&Self) -> (u64, u64),
    ) -> Result<()> {
        wait_until(what, deadline, || {
            self.check()?;
            let now = counted(self);
            let enough = now.0 >= before.0 + packets && now.1 >= before.1 + packets;
            Ok(enough.then_some(()))
        })
    }

    /// What an application that copes with a new address does, without fast handover: the mobile node
    /// sends from its new address as soon as the kernel has it usable, and the correspondent answers to
    /// where the newest packet came from. Returns once it has answered; `deadline` bounds the wait.
    pub fn follow_new_address(&self, lab: &Lab, deadline: Duration) -> Result<Ipv6Addr> {
        let address = lab.mn.run(|| {
            wait_until("a new address of the mobile node", deadline, || {
                Ok(usable_addresses()?
                    .into_iter()
                    .find(|address| *address != PCOA))
            })
        })?;
        self.uplink_flow().set_path(Path {
            socket: bind(&lab.mn, address, 0)?,
            to: SocketAddrV6::new(CN, CN_PORT, 0, 0),
        });
        wait_until("the correspondent to hear of it", deadline, || {
            let newest = *self
                .uplink_flow()
                .newest_source
                .lock()
                .expect("no holder panics");
            Ok(newest.filter(|source| *source.ip() == address).map(drop))
        })?;
        self.downlink_flow().set_path(Path {
            socket: bind(&lab.cn, CN, 0)?,
            to: SocketAddrV6::new(address, MN_PORT, 0, 0),
        });
        Ok(address)
    }

    /// Fails if a sender or a receiver has ended on its own.
    pub fn check(&self) -> Result<()> {
        for flow in self.flows() {
            ensure!(
                !flow.sender.is_finished() && !flow.receiver.is_finished(),
                "a stream has ended before its time"
            );
        }
        Ok(())
    }

    /// Stops sending, waits for what is still on its way, and closes the account.
    pub fn stop(mut self) -> Result<Traffic> {
        self.stop_senders();
        let mut traffic = Traffic::default();
        let ended = "both flows run until the end";
        let flows = [
            self.downlink.take().expect(ended),
            self.uplink.take().expect(ended),
        ];
        let [downlink, uplink] = flows.map(Flow::finish);
        let (downlink, uplink) = (downlink?, uplink?);
        traffic.downlink = downlink.direction;
        traffic.uplink = uplink.direction;
        traffic.passages = downlink.passages;
        for (error, count) in downlink.refused.into_iter().chain(uplink.refused) {
            *traffic.refused.entry(error).or_default() += count;
        }
        if traffic.downlink.lost > 0 || traffic.uplink.lost > 0 {
            traffic.losses = self.losses.lines()?;
        }
        Ok(traffic)
    }

    fn stop_senders(&self) {
        for flow in self.flows() {
            flow.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Streams {
    /// The threads end on their own after that.
    fn drop(&mut self) {
        self.stop_senders();
    }
}

fn bind(namespace: &NetNs, address: Ipv6Addr, port: u16) -> Result<UdpSocket> {
    let what = format!("{address} in {} to be bound to", namespace.name());
    // A socket of earlier streams lives on for a moment in a program that was being started when it ended.
    let socket = wait_until(&what, SOON, || {
        let bound =
            namespace.run(|| Ok(UdpSocket::bind(SocketAddrV6::new(address, port, 0, 0))))?;
        match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            bound => (bound.map(Some))
                .with_context(|| format!("cannot bind to {address} in {}", namespace.name())),
        }
    })?;
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)?;
    rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER)?;
    // A stream does not wait for a full queue: what does not fit is lost. (In practice it always fits.)
    socket.set_write_timeout(Some(Duration::from_millis(1)))?;
    // Short, so that a receiver sees in time that nothing more comes.
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Ok(socket)
}

fn probe(direction: &str, path: &Path, receive: &UdpSocket) -> Result<()> {
    let mut packet = [0; StreamHeader::SIZE];
    StreamHeader {
        sequence: StreamHeader::PROBE,
        time: 0,
    }
    .write(&mut packet);
    wait_until(&format!("a first packet {direction}"), SOON, || {
        match path.socket.send_to(&packet, path.to) {
            Ok(_) => {}
            Err(error) if is_loss(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut answer = [0; StreamHeader::SIZE];
        match receive.recv(&mut answer) {
            Ok(_) => Ok((answer == packet).then_some(())),
            Err(error) if is_timeout(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })
}

/// Sends until it is told to stop.
fn send_all(
    config: StreamConfig,
    path: &Mutex<Arc<Path>>,
    stop: &AtomicBool,
    start: Instant,
    sent: &AtomicU64,
    sending: &mut Sending,
) -> Result<()> {
    let pace = Pace::new(config.rate);
    let mut payload = vec![0; config.size - HEADERS];
    while !stop.load(Ordering::Relaxed) {
        let due = pace.due(start.elapsed(), sending.times.len() as u64);
        let current = path.lock().expect("no holder panics").clone();
        for _ in 0..due {
            let now = start.elapsed();
            StreamHeader {
                sequence: sending.times.len() as u64,
                time: now.as_nanos() as u64,
            }
            .write(&mut payload);
            sending.times.push(now);
            match current.socket.send_to(&payload, current.to) {
                Ok(_) => {}
                Err(error) if is_loss(&error) => {
                    *sending.refused.entry(error.to_string()).or_default() += 1;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot send to {}", current.to));
                }
            }
            sent.store(sending.times.len() as u64, Ordering::Relaxed);
        }
        let next = pace.time_of(sending.times.len() as u64);
        let next = next.saturating_sub(start.elapsed());
        let pause = if due == MAX_BURST {
            next.max(BURST_PAUSE)
        } else {
            next
        };
        // In slices, so that a slow stream, too, stops soon.
        thread::sleep(pause.min(Duration::from_millis(20)));
    }
    Ok(())
}

/// Receives until the sender is done and everything has come or nothing comes any more.
fn receive_all(
    socket: &UdpSocket,
    start: Instant,
    sent_in_all: &Mutex<Option<u64>>,
    received: &AtomicU64,
    newest_source: &Mutex<Option<SocketAddrV6>>,
) -> Result<Account> {
    let mut account = Account::default();
    let mut packet = [0; MAX_SIZE];
    let mut quiet_since = Instant::now();
    loop {
        match socket.recv_from(&mut packet) {
            Ok((length, from)) => {
                let now = start.elapsed();
                let Some(header) = StreamHeader::read(&packet[..length])
                    .filter(|header| header.sequence != StreamHeader::PROBE)
                else {
                    continue;
                };
                quiet_since = Instant::now();
                if account.enter(header, now)
                    && let SocketAddr::V6(from) = from
                {
                    *newest_source.lock().expect("no holder panics") = Some(from);
                }
                received.store(account.received, Ordering::Relaxed);
                continue;
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => bail!("cannot receive: {error}"),
        }
        let Some(sent) = *sent_in_all.lock().expect("no holder panics") else {
            quiet_since = Instant::now();
            continue;
        };
        let wait = if account.received == sent {
            DUPLICATES_WAIT
        } else {
            LOST_AFTER
        };
        if quiet_since.elapsed() >= wait {
            return Ok(account);
        }
    }
}

/// The system's answers that mean "this packet is lost", as they come while a node moves.
fn is_loss(error: &io::Error) -> bool {
    is_timeout(error)
        || matches!(
            Errno::from_io_error(error),
            Some(
                Errno::NETUNREACH
                    | Errno::HOSTUNREACH
                    | Errno::NETDOWN
                    | Errno::NOBUFS
                    | Errno::ADDRNOTAVAIL
                    | Errno::PERM
                    | Errno::ACCESS
            )
        )
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_due_on_an_absolute_schedule() {
        let pace = Pace::new(1000);
        assert_eq!(pace.due(Duration::ZERO, 0), 1);
        assert_eq!(pace.due(Duration::from_micros(999), 1), 0);
        assert_eq!(pace.due(Duration::from_millis(10), 1), 10);
        assert_eq!(pace.time_of(10), Duration::from_millis(10));
    }

    #[test]
    fn a_sender_that_was_held_up_catches_up_in_bounded_bursts() {
        let pace = Pace::new(5000);
        assert_eq!(pace.due(Duration::from_secs(1), 10), MAX_BURST);
    }

    #[test]
    fn a_flow_tells_what_it_has_sent_whether_or_not_it_arrives() {
        let bind = || {
            let socket = UdpSocket::bind("[::1]:0").unwrap();
            let timeout = Some(Duration::from_millis(20));
            socket.set_read_timeout(timeout).unwrap();
            socket
        };
        // Nobody reads what is sent there.
        let elsewhere = bind();
        let SocketAddr::V6(to) = elsewhere.local_addr().unwrap() else {
            panic!("bound to another family");
        };
        let path = Path { socket: bind(), to };
        let config = StreamConfig::new(500, MIN_SIZE).unwrap();
        let flow = Flow::start(config, path, bind(), Instant::now()).unwrap();
        wait_until("packets to be sent", SOON, || {
            Ok((flow.sent.load(Ordering::Relaxed) >= 10).then_some(()))
        })
        .unwrap();
        assert_eq!(flow.received.load(Ordering::Relaxed), 0);
        flow.stop.store(true, Ordering::Relaxed);
        let sent = flow.sent.clone();
        let direction = flow.finish().unwrap().direction;
        assert_eq!(direction.sent, sent.load(Ordering::Relaxed));
        assert_eq!(direction.lost, direction.sent);
    }

    #[test]
    fn sizes_and_rates_out_of_range_are_named() {
        let refused = |rate, size| StreamConfig::new(rate, size).unwrap_err().to_string();
        assert!(refused(1000, MIN_SIZE - 1).contains("71"));
        assert!(refused(1000, MAX_SIZE + 1).contains("1461"));
        assert!(refused(0, 200).contains("rate of 0"));
        assert!(refused(MAX_RATE + 1, 200).contains("20001"));
        assert!(StreamConfig::new(1, MIN_SIZE).is_ok());
        assert!(StreamConfig::new(MAX_RATE, MAX_SIZE).is_ok());
    }
}
