//! The access points of a router: what each one's hostapd says about stations that come and go.
//!
//! A task for every hostapd reads its control interface, and tries again when it is gone. The event
//! loop hears of stations through [`Hostapds`], which knows where each of them is.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::Ipv6Addr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant as Moment, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    link::ieee80211::{
        control::{self, Connection, PATIENCE},
        hostapd::{self, AccessPointId, Change, Event, Listed, Next, Stations},
    },
    observe::HostapdStatus,
    proto::{Instant, InterfaceIndex},
    wire::{MacAddr, Prefix},
};

/// The pause before a hostapd is tried again: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long a hostapd may be silent until it is asked whether it is still there. A socket like this
/// does not tell that the other end was closed.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// How often a list is begun anew because stations left while it was read.
const LIST_ATTEMPTS: usize = 8;
/// Events that may wait for the event loop; a hostapd that is faster waits.
const QUEUE: usize = 256;
/// Events that may come before an answer.
const MAX_EVENTS: usize = 4_096;

/// A hostapd to listen to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    /// Its control socket.
    pub(super) path: PathBuf,
    /// The access link that it bridges to.
    pub(super) interface: InterfaceIndex,
    /// That link's name.
    pub(super) name: String,
}

/// What a task tells.
#[derive(Debug)]
pub(super) struct Told {
    from: AccessPointId,
    what: What,
}

#[derive(Debug)]
enum What {
    /// It is there, with these stations.
    Listed(Vec<Listed>),
    Event(Event),
    Lost(String),
    Garbage(String),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Notice {
    /// A hostapd is listened to.
    HostapdConnected {
        hostapd: PathBuf,
        interface: String,
        stations: usize,
    },
    /// A hostapd is gone; it is tried again.
    HostapdLost {
        hostapd: PathBuf,
        interface: String,
        error: String,
    },
    /// A station is on an access link, with these of the addresses that have a key.
    StationAttached {
        interface: String,
        station: MacAddr,
        addresses: Vec<Ipv6Addr>,
    },
    /// A station has left an access link.
    StationDeparted {
        interface: String,
        station: MacAddr,
        addresses: Vec<Ipv6Addr>,
    },
}

/// What came of something that was told.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) notice: Option<Notice>,
    pub(super) changes: Vec<Change>,
}

/// The hostapds of this router's access points.
#[derive(Debug)]
pub(super) struct Hostapds {
    /// The controller's own control socket; those that hostapd answers to are beside it.
    beside: PathBuf,
    sender: mpsc::Sender<Told>,
    told: mpsc::Receiver<Told>,
    next_id: AccessPointId,
    all: BTreeMap<AccessPointId, Hostapd>,
    stations: Stations,
    unknown_stations: u64,
}

#[derive(Debug)]
struct Hostapd {
    wanted: Wanted,
    task: JoinHandle<()>,
    /// `None`: it has not been reached yet.
    state: Option<Result<(), String>>,
    garbage: u64,
}

impl Drop for Hostapd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hostapds {
    /// None yet. Sockets to be answered to are made beside the control socket at `control_socket`.
    pub(super) fn new(control_socket: &Path) -> Self {
        let (sender, told) = mpsc::channel(QUEUE);
        Self {
            beside: control_socket.to_owned(),
            sender,
            told,
            next_id: 0,
            all: BTreeMap::new(),
            stations: Stations::default(),
            unknown_stations: 0,
        }
    }

    /// Listens to these from now on, and to no others. Those that stay go on.
    pub(super) fn follow(&mut self, wanted: Vec<Wanted>) {
        let wanted: BTreeSet<Wanted> = wanted.into_iter().collect();
        let gone = self.all.iter();
        let gone = gone.filter(|(_, hostapd)| !wanted.contains(&hostapd.wanted));
        let gone: Vec<AccessPointId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            self.all.remove(&id);
            self.stations.remove(id);
        }
        for wanted in wanted {
            if self.all.values().any(|hostapd| hostapd.wanted == wanted) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            self.stations.add(id, wanted.interface);
            let mut name = self.beside.file_name().unwrap_or_default().to_owned();
            name.push(format!(".hostapd{id}"));
            let listener = Listener {
                id,
                path: wanted.path.clone(),
                answers: self.beside.with_file_name(name),
                tell: self.sender.clone(),
            };
            let hostapd = Hostapd {
                wanted,
                task: tokio::spawn(listener.run()),
                state: None,
                garbage: 0,
            };
            self.all.insert(id, hostapd);
        }
    }

    /// Listens to none any more: the sockets that they answered to are gone when this returns.
    pub(super) async fn end(&mut self) {
        for (_, mut hostapd) in std::mem::take(&mut self.all) {
            hostapd.task.abort();
            // That it was ended is no news.
            let _ = (&mut hostapd.task).await;
        }
    }

    /// The next that one of them tells; never, if there are none. Nothing is lost if this is cancelled.
    pub(super) async fn next(&mut self) -> Told {
        match self.told.recv().await {
            Some(told) => told,
            // This has a sender itself.
            None => std::future::pending().await,
        }
    }

    /// What it means.
    pub(super) fn hear(&mut self, now: Instant, told: Told) -> Heard {
        let Told { from, what } = told;
        // It may have been told before nobody wanted to hear it any more.
        let Some(hostapd) = self.all.get_mut(&from) else {
            return Heard::default();
        };
        let path = hostapd.wanted.path.display();
        let name = &hostapd.wanted.name;
        match what {
            What::Listed(list) => {
                let known = hostapd.state == Some(Ok(()));
                hostapd.state = Some(Ok(()));
                let stations = list.len();
                let notice = (!known).then(|| {
                    info!(hostapd = %path, interface = name, stations, "connected");
                    Notice::HostapdConnected {
                        hostapd: hostapd.wanted.path.clone(),
                        interface: name.clone(),
                        stations,
                    }
                });
                Heard {
                    notice,
                    changes: self.stations.listed(now, from, &list),
                }
            }
            What::Event(event) => {
                let change = match event {
                    Event::Connected(station) => self.stations.connected(now, from, station),
                    Event::Disconnected(station) => self.stations.disconnected(from, station),
                    // The task does what these need.
                    Event::Switched | Event::Terminating | Event::Other => None,
                };
                Heard {
                    notice: None,
                    changes: change.into_iter().collect(),
                }
            }
            What::Lost(error) => {
                warn!(
                    interface = name,
                    "hostapd at {path} is gone: {error}; until it is back, a station that comes to \
                     its access point or leaves it is noticed late"
                );
                hostapd.state = Some(Err(error.clone()));
                Heard {
                    notice: Some(Notice::HostapdLost {
                        hostapd: hostapd.wanted.path.clone(),
                        interface: name.clone(),
                        error,
                    }),
                    changes: Vec::new(),
                }
            }
            What::Garbage(error) => {
                hostapd.garbage += 1;
                // Whoever says such things says many of them.
                if hostapd.garbage.is_power_of_two() {
                    warn!(number = hostapd.garbage, "hostapd at {path}: {error}");
                }
                Heard::default()
            }
        }
    }

    /// A station that has none of the addresses with a key.
    pub(super) fn count_unknown(&mut self, interface: &str, station: MacAddr) {
        self.unknown_stations += 1;
        debug!(interface, %station, "a station with none of the addresses that have a key");
    }

    /// How many such there were.
    pub(super) fn unknown_stations(&self) -> u64 {
        self.unknown_stations
    }

    /// What each of them does.
    pub(super) fn status(&self) -> Vec<HostapdStatus> {
        let status = |(id, hostapd): (&AccessPointId, &Hostapd)| HostapdStatus {
            hostapd: hostapd.wanted.path.clone(),
            interface: hostapd.wanted.name.clone(),
            state: match hostapd.state {
                None => "connecting",
                Some(Ok(())) => "connected",
                Some(Err(_)) => "lost",
            }
            .to_owned(),
            error: hostapd.state.clone().and_then(Result::err),
            stations: self.stations.count(*id),
            garbage: hostapd.garbage,
        };
        self.all.iter().map(status).collect()
    }
}

/// The addresses of a station on a link with that prefix: of those with a key, the ones that are known
/// to be its; or, if there are none, the one that it makes of its link-layer address (RFC 4291
/// appendix A). `known` is who has which address on the link.
pub(super) fn addresses_of(
    station: MacAddr,
    prefix: Prefix,
    keyed: impl Fn(Ipv6Addr) -> bool,
    known: impl IntoIterator<Item = (Ipv6Addr, MacAddr)>,
) -> Vec<Ipv6Addr> {
    let found: BTreeSet<Ipv6Addr> = known
        .into_iter()
        .filter(|(address, owner)| {
            *owner == station && prefix.contains(*address) && keyed(*address)
        })
        .map(|(address, _)| address)
        .collect();
    if !found.is_empty() {
        return found.into_iter().collect();
    }
    let identifier = u64::from_be_bytes(station.modified_eui64());
    let network = prefix.address().to_bits() & !u128::from(u64::MAX);
    let made = Ipv6Addr::from_bits(network | u128::from(identifier));
    Vec::from_iter(keyed(made).then_some(made))
}

/// Listens to one hostapd.
struct Listener {
    id: AccessPointId,
    path: PathBuf,
    answers: PathBuf,
    tell: mpsc::Sender<Told>,
}

/// Why a connection is given up.
enum Ended {
    /// Nobody listens to us any more.
    Unwanted,
    Error(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Error(error)
    }
}

impl Listener {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut was_lost = false;
        loop {
            let mut worked = false;
            let error = match Connection::open(&self.path, self.answers.clone()).await {
                Ok(connection) => match self.converse(connection, &mut worked).await {
                    Ended::Unwanted => return,
                    Ended::Error(error) => error,
                },
                Err(error) => error,
            };
            if worked {
                pause = FIRST_PAUSE;
                was_lost = false;
            }
            // It is told once, not at every attempt.
            if !std::mem::replace(&mut was_lost, true)
                && self.tell(What::Lost(error.to_string())).await.is_err()
            {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn tell(&self, what: What) -> Result<(), Ended> {
        let told = Told {
            from: self.id,
            what,
        };
        self.tell.send(told).await.map_err(|_| Ended::Unwanted)
    }

    /// Serves one connection to its end. `worked`: the stations were told.
    async fn converse(&self, mut connection: Connection, worked: &mut bool) -> Ended {
        match self.serve(&mut connection, worked).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn serve(
        &self,
        connection: &mut Connection,
        worked: &mut bool,
    ) -> Result<std::convert::Infallible, Ended> {
        // What came while an answer was waited for.
        let mut events = VecDeque::new();
        loop {
            let list = self.list(connection, &mut events).await?;
            self.tell(What::Listed(list)).await?;
            *worked = true;
            // Until the list must be read anew.
            loop {
                let datagram = match events.pop_front() {
                    Some(datagram) => datagram,
                    None => match receive(connection).await? {
                        Some(datagram) => datagram,
                        None => {
                            let answer = ask(connection, "PING", &mut events).await?;
                            if answer.trim_ascii() != b"PONG" {
                                self.garbage(&answer, "answers PING").await?;
                            }
                            continue;
                        }
                    },
                };
                if !control::is_event(&datagram) {
                    self.garbage(&datagram, "answers nothing").await?;
                    continue;
                }
                match hostapd::event(&datagram) {
                    Ok(Event::Other) => {}
                    Ok(Event::Switched) => break,
                    Ok(Event::Terminating) => return Err(io::Error::other("it ended").into()),
                    Ok(event) => self.tell(What::Event(event)).await?,
                    Err(error) => self.tell(What::Garbage(error.to_string())).await?,
                }
            }
        }
    }

    /// Reads which stations there are.
    async fn list(
        &self,
        connection: &mut Connection,
        events: &mut VecDeque<Vec<u8>>,
    ) -> Result<Vec<Listed>, Ended> {
        for _ in 0..LIST_ATTEMPTS {
            let mut list: Vec<Listed> = Vec::new();
            let mut seen = BTreeSet::new();
            loop {
                let request = hostapd::list_request(list.last().map(|last| last.station));
                let answer = ask(connection, &request, events).await?;
                match hostapd::listed(&request, &answer) {
                    Ok(Next::Station(station)) => {
                        if !seen.insert(station.station) {
                            let station = station.station;
                            return Err(io::Error::other(format!(
                                "its list of stations has {station} twice"
                            ))
                            .into());
                        }
                        list.push(station);
                    }
                    Ok(Next::End) => return Ok(list),
                    Ok(Next::Lost) if list.is_empty() => {
                        return Err(io::Error::other("it does not list its stations").into());
                    }
                    Ok(Next::Lost) => break,
                    Err(error) => return Err(io::Error::other(error.to_string()).into()),
                }
            }
        }
        Err(io::Error::other("its list of stations changes faster than it can be read").into())
    }

    async fn garbage(&self, datagram: &[u8], what: &str) -> Result<(), Ended> {
        let text = String::from_utf8_lossy(&datagram[..datagram.len().min(100)]);
        self.tell(What::Garbage(format!("{text:?} {what}"))).await
    }
}

/// The next datagram; `None` if there was none for so long that the other end may be gone.
async fn receive(connection: &mut Connection) -> io::Result<Option<Vec<u8>>> {
    match timeout(PING_INTERVAL, connection.receive()).await {
        Ok(datagram) => Ok(Some(datagram?.to_vec())),
        Err(_) => Ok(None),
    }
}

/// Asks, and waits for the answer; events that come before it are kept.
async fn ask(
    connection: &mut Connection,
    request: &str,
    events: &mut VecDeque<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    let patience = sleep_until(Moment::now() + PATIENCE);
    tokio::pin!(patience);
    tokio::select! {
        sent = connection.send(request) => sent?,
        () = &mut patience => return Err(io::Error::other("it reads nothing")),
    }
    loop {
        tokio::select! {
            datagram = connection.receive() => {
                let datagram = datagram?.to_vec();
                if !control::is_event(&datagram) {
                    return Ok(datagram);
                }
                if events.len() >= MAX_EVENTS {
                    return Err(io::Error::other(format!(
                        "it says {MAX_EVENTS} other things before it answers {request}"
                    )));
                }
                events.push_back(datagram);
            }
            () = &mut patience => {
                return Err(io::Error::other(format!("it does not answer {request}")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::net::{SocketAddr, UnixDatagram},
    };

    use super::*;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_addresses_of_a_station_are_those_that_it_is_known_by() {
        let prefix: Prefix = "2001:db8:1::/64".parse().unwrap();
        let made = address("2001:db8:1::ff:fe00:1");
        let [first, second] = ["2001:db8:1::9", "2001:db8:1::8"].map(address);
        let elsewhere = address("2001:db8:2::9");
        let keyed = |address| [made, first, second, elsewhere].contains(&address);
        let of = |known: &[(Ipv6Addr, MacAddr)]| {
            addresses_of(STATION, prefix, keyed, known.iter().copied())
        };
        let other = MacAddr([2, 0, 0, 0, 0, 2]);
        assert_eq!(of(&[]), [made]);
        assert_eq!(of(&[(first, other)]), [made]);
        assert_eq!(of(&[(first, STATION), (first, STATION)]), [first]);
        assert_eq!(of(&[(first, STATION), (second, STATION)]), [second, first]);
        // Without a key, and in another link's prefix.
        let strange = address("2001:db8:1::7");
        assert_eq!(of(&[(strange, STATION), (elsewhere, STATION)]), [made]);
        assert!(addresses_of(other, prefix, keyed, []).is_empty());
    }

    /// What a hostapd of the tests was asked, and by whom.
    struct Daemon {
        socket: UnixDatagram,
        client: Option<SocketAddr>,
    }

    impl Daemon {
        fn start(path: &Path) -> Self {
            let _ = fs::remove_file(path);
            let socket = UnixDatagram::bind(path).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self {
                socket,
                client: None,
            }
        }

        /// Answers the next request, which must be this, but for questions whether it is there.
        fn answer(&mut self, request: &str, answer: &str) {
            loop {
                let mut octets = [0; 100];
                let (length, client) = match self.socket.recv_from(&mut octets) {
                    // With a timeout, any signal to this process ends the wait, whoever it is for.
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    received => received.unwrap(),
                };
                let asked = std::str::from_utf8(&octets[..length]).unwrap().to_owned();
                self.client = Some(client);
                if asked == "PING" && request != "PING" {
                    self.say("PONG\n");
                    continue;
                }
                assert_eq!(asked, request);
                return self.say(answer);
            }
        }

        fn say(&self, text: &str) {
            let client = self.client.as_ref().unwrap();
            self.socket.send_to_addr(text.as_bytes(), client).unwrap();
        }
    }

    /// Runs the daemon's part beside the listeners, which have a thread of their own.
    struct Play {
        directory: PathBuf,
        runtime: tokio::runtime::Handle,
        /// Dropped, it ends the runtime.
        _end: tokio::sync::oneshot::Sender<()>,
        hostapds: Hostapds,
    }

    impl Play {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("fmip-hostapd-{}-{name}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let handle = runtime.handle().clone();
            let (end, ended) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || runtime.block_on(ended));
            Self {
                hostapds: Hostapds::new(&directory.join("control.sock")),
                directory,
                runtime: handle,
                _end: end,
            }
        }

        fn path(&self) -> PathBuf {
            self.directory.join("wlan0")
        }

        fn follow(&mut self, wanted: bool) {
            let wanted = wanted.then(|| Wanted {
                path: self.path(),
                interface: 3,
                name: "acc0".to_owned(),
            });
            let _in_runtime = self.runtime.enter();
            self.hostapds.follow(wanted.into_iter().collect());
        }

        /// The next that the listener tells, and what came of it.
        fn hear(&mut self) -> Heard {
            let told = self
                .runtime
                .block_on(async { timeout(PATIENCE * 3, self.hostapds.next()).await.unwrap() });
            self.hostapds.hear(Instant::from_nanos(0), told)
        }

        fn state(&self) -> (String, usize, u64) {
            let [status] = &self.hostapds.status()[..] else {
                panic!("one hostapd is listened to");
            };
            (status.state.clone(), status.stations, status.garbage)
        }
    }

    impl Drop for Play {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    const CAME: Change = Change::Came {
        interface: 3,
        station: STATION,
    };
    const LEFT: Change = Change::Left {
        interface: 3,
        station: STATION,
    };
    const LIST: &str = "02:00:00:00:00:01\nflags=[AUTH][ASSOC][AUTHORIZED]\nconnected_time=1\n";

    #[test]
    fn stations_are_listed_at_first_and_then_told_as_they_come_and_go() {
        let mut play = Play::new("events");
        let mut daemon = Daemon::start(&play.path());
        play.follow(true);
        assert_eq!(play.state().0, "connecting");
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", LIST);
        // What comes between a question and its answer is told behind the list.
        daemon.answer(
            "STA-NEXT 02:00:00:00:00:01",
            "<3>AP-STA-DISCONNECTED 02:00:00:00:00:01",
        );
        daemon.say("");
        let heard = play.hear();
        assert!(matches!(
            heard.notice,
            Some(Notice::HostapdConnected { stations: 1, .. })
        ));
        assert_eq!(heard.changes, [CAME]);
        assert_eq!(play.hear().changes, [LEFT]);
        daemon.say("<3>AP-STA-CONNECTED 02:00:00:00:00:01 auth_alg=open");
        assert_eq!(play.hear().changes, [CAME]);
        assert_eq!(play.state(), ("connected".to_owned(), 1, 0));
        daemon.say("<3>AP-STA-CONNECTED nonsense");
        assert!(play.hear().changes.is_empty());
        assert_eq!(play.state().2, 1);
        // Switched on again, it is asked anew.
        daemon.say("<3>AP-ENABLED ");
        daemon.answer("STA-FIRST", "");
        let heard = play.hear();
        assert_eq!((heard.notice, heard.changes), (None, vec![LEFT]));
    }

    #[test]
    fn a_hostapd_that_is_gone_is_tried_again_and_nothing_is_missed() {
        let mut play = Play::new("restart");
        play.follow(true);
        // It is not there yet, which is told once.
        assert!(matches!(
            play.hear().notice,
            Some(Notice::HostapdLost { .. })
        ));
        assert_eq!(play.state().0, "lost");
        let mut daemon = Daemon::start(&play.path());
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", LIST);
        daemon.answer("STA-NEXT 02:00:00:00:00:01", "");
        assert_eq!(play.hear().changes, [CAME]);
        // It dies without a word, and is asked whether it is there.
        drop(daemon);
        let heard = play.hear();
        assert!(matches!(heard.notice, Some(Notice::HostapdLost { .. })));
        assert!(heard.changes.is_empty(), "that is no departure");
        let mut daemon = Daemon::start(&play.path());
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", "");
        let heard = play.hear();
        assert_eq!(heard.changes, [LEFT]);
        assert!(matches!(
            heard.notice,
            Some(Notice::HostapdConnected { stations: 0, .. })
        ));
        daemon.say("<3>CTRL-EVENT-TERMINATING ");
        let Some(Notice::HostapdLost { error, .. }) = play.hear().notice else {
            panic!("it has ended");
        };
        assert_eq!(error, "it ended");
    }

    #[test]
    fn a_list_is_begun_anew_if_a_station_left_meanwhile() {
        let mut play = Play::new("list");
        let mut daemon = Daemon::start(&play.path());
        play.follow(true);
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", "02:00:00:00:00:02\nflags=[AUTHORIZED]\n");
        daemon.answer("STA-NEXT 02:00:00:00:00:02", "FAIL\n");
        daemon.answer("STA-FIRST", LIST);
        daemon.answer("STA-NEXT 02:00:00:00:00:01", "");
        assert_eq!(play.hear().changes, [CAME]);
    }

    #[test]
    fn one_that_does_not_list_its_stations_is_reported() {
        let mut play = Play::new("refused");
        let mut daemon = Daemon::start(&play.path());
        play.follow(true);
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", "UNKNOWN COMMAND\n");
        let Some(Notice::HostapdLost { error, .. }) = play.hear().notice else {
            panic!("it is of no use");
        };
        assert!(error.contains("STA-FIRST"), "{error}");
    }

    #[test]
    fn one_that_is_not_wanted_any_more_is_not_heard() {
        let mut play = Play::new("reload");
        let mut daemon = Daemon::start(&play.path());
        play.follow(true);
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", LIST);
        daemon.answer("STA-NEXT 02:00:00:00:00:01", "");
        // It has told already when the file changes.
        let told = play.runtime.block_on(play.hostapds.next());
        play.follow(false);
        let heard = play.hostapds.hear(Instant::from_nanos(0), told);
        assert!(heard.notice.is_none() && heard.changes.is_empty());
        assert!(play.hostapds.status().is_empty());
        // The same one again is another connection, and is asked anew.
        play.follow(true);
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", "");
        assert!(play.hear().changes.is_empty());
    }
}
