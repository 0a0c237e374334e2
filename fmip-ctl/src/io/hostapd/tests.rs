//! Against sockets that a hostapd could have.

use std::{
    fs, io,
    os::unix::net::{SocketAddr, UnixDatagram},
};

use tokio::time::timeout;

use super::*;
use crate::link::ieee80211::control::PATIENCE;

const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// So long that it never passes: nobody is asked whether it is there, where the play is not about that.
const NEVER: Duration = Duration::from_secs(3600);

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
    let of =
        |known: &[(Ipv6Addr, MacAddr)]| addresses_of(STATION, prefix, keyed, known.iter().copied());
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
    /// How many connections were ended in order.
    detached: u32,
    /// How often it was asked whether it is there.
    pings: u32,
}

impl Daemon {
    fn start(path: &Path) -> Self {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            client: None,
            detached: 0,
            pings: 0,
        }
    }

    /// It is listened to, and lists one station.
    fn list(&mut self) {
        self.answer("ATTACH", "OK\n");
        self.answer("STA-FIRST", LIST);
        self.answer("STA-NEXT 02:00:00:00:00:01", "");
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
            // From a connection that was given up, which nobody answers to any more.
            if asked == "DETACH" && request != "DETACH" {
                self.detached += 1;
                continue;
            }
            if asked == "PING" && request != "PING" {
                self.pings += 1;
                // Whatever else is waited for does not come.
                assert!(self.pings < 100 * listener::SILENT_PINGS, "{request}");
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
        let mut hostapds = Hostapds::new(&directory.join("control.sock"));
        hostapds.ping_interval = NEVER;
        Self {
            hostapds,
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

const CAME: StationChange = StationChange::Came {
    interface: 3,
    station: STATION,
};
const LEFT: StationChange = StationChange::Left {
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
    play.hostapds.ping_interval = listener::PING_INTERVAL;
    play.follow(true);
    // It is not there yet, which is told once.
    assert!(matches!(
        play.hear().notice,
        Some(Notice::HostapdLost { .. })
    ));
    assert_eq!(play.state().0, "lost");
    let mut daemon = Daemon::start(&play.path());
    daemon.list();
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

/// It forgets whoever does not read fast enough, and answers all the same.
#[test]
fn one_that_tells_nothing_any_more_is_asked_what_was_missed() {
    let mut play = Play::new("forgotten");
    play.hostapds.ping_interval = Duration::from_millis(1);
    let mut daemon = Daemon::start(&play.path());
    play.follow(true);
    daemon.list();
    assert_eq!(play.hear().changes, [CAME]);
    for (answer, list, missed) in [
        // It had forgotten us, and a station that left meanwhile.
        ("FAIL\n", None, vec![LEFT]),
        // All that was missed was its coming.
        ("OK\n", Some(LIST), vec![CAME]),
        // And then nothing.
        ("OK\n", Some(LIST), vec![]),
    ] {
        daemon.pings = 0;
        daemon.answer("DETACH", answer);
        assert_eq!(daemon.pings, listener::SILENT_PINGS);
        daemon.answer("ATTACH", "OK\n");
        daemon.answer("STA-FIRST", list.unwrap_or_default());
        if list.is_some() {
            daemon.answer("STA-NEXT 02:00:00:00:00:01", "");
        }
        let heard = play.hear();
        assert_eq!((heard.notice, heard.changes), (None, missed));
    }
    // While a question is open: one that nobody answers would be the end of the connection.
    daemon.answer("PING", "<3>AP-STA-DISCONNECTED 02:00:00:00:00:01");
    daemon.say("PONG\n");
    assert_eq!(play.hear().changes, [LEFT]);
}

/// It does not answer, but what it said before is true, and the last that is known if it does not come back.
#[test]
fn what_one_said_before_it_hung_is_told() {
    let mut play = Play::new("hung");
    play.hostapds.ping_interval = Duration::from_millis(1);
    let mut daemon = Daemon::start(&play.path());
    play.follow(true);
    daemon.list();
    assert_eq!(play.hear().changes, [CAME]);
    daemon.answer("PING", "<3>AP-STA-DISCONNECTED 02:00:00:00:00:01");
    daemon.say("<3>AP-STA-CONNECTED nonsense");
    daemon.say("<3>AP-STA-CONNECTED 02:00:00:00:00:01");
    assert_eq!(play.hear().changes, [LEFT]);
    assert!(play.hear().changes.is_empty());
    assert_eq!(play.hear().changes, [CAME]);
    let Some(Notice::HostapdLost { error, .. }) = play.hear().notice else {
        panic!("it does not answer");
    };
    assert!(error.contains("PING"), "{error}");
    assert_eq!(play.state(), ("lost".to_owned(), 1, 1));
}

/// What it said before it was gone is no word on what it lists when it is back.
#[test]
fn of_one_that_was_gone_the_list_is_all_that_is_known() {
    let mut play = Play::new("back");
    let mut daemon = Daemon::start(&play.path());
    play.follow(true);
    daemon.list();
    assert_eq!(play.hear().changes, [CAME]);
    // It goes to another access point of the link.
    play.hostapds.stations.add(7, 3);
    let there = play
        .hostapds
        .stations
        .connected(Instant::from_nanos(0), 7, STATION);
    assert_eq!(there, Some(CAME));
    daemon.say("<3>CTRL-EVENT-TERMINATING ");
    assert!(play.hear().changes.is_empty());
    daemon.answer("ATTACH", "OK\n");
    daemon.answer("STA-FIRST", "02:00:00:00:00:01\nflags=[AUTHORIZED]\n");
    daemon.answer("STA-NEXT 02:00:00:00:00:01", "");
    let told = play
        .runtime
        .block_on(async { timeout(PATIENCE * 3, play.hostapds.next()).await.unwrap() });
    let heard = play.hostapds.hear(Instant::from_nanos(1), told);
    assert_eq!(heard.changes, [CAME]);
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
    daemon.list();
    // It has told already when the file changes.
    let told = play.runtime.block_on(play.hostapds.next());
    play.follow(false);
    let heard = play.hostapds.hear(Instant::from_nanos(0), told);
    assert!(heard.notice.is_none() && heard.changes.is_empty());
    assert!(play.hostapds.status().is_empty());
    // The same one again is another connection, and is asked anew.
    play.follow(true);
    daemon.answer("ATTACH", "OK\n");
    assert_eq!(daemon.detached, 1, "it would be told of stations for ever");
    daemon.answer("STA-FIRST", "");
    assert!(play.hear().changes.is_empty());
}

#[test]
fn what_a_base_station_says_late_of_a_station_that_is_at_another_is_no_departure() {
    const LINK: InterfaceIndex = 7;
    let base_station = |number| Some(MacAddr([2, 0, 0, 0, 0x0a, number]));
    let mut hostapds = Hostapds::new(Path::new("/run/fmip/control.sock"));
    let mut told = |access_point, came| {
        let told = StationTold {
            interface: LINK,
            station: STATION,
            access_point,
            came,
        };
        hostapds.told(Instant::from_nanos(0), told).unwrap()
    };
    let came = Some(StationChange::Came {
        interface: LINK,
        station: STATION,
    });
    let left = Some(StationChange::Left {
        interface: LINK,
        station: STATION,
    });
    // Whoever tells of a departure need not have told of the arrival.
    assert_eq!(told(base_station(1), false), left);
    assert_eq!(told(base_station(1), true), came);
    assert_eq!(told(base_station(4), true), came);
    assert_eq!(told(base_station(1), false), None);
    assert_eq!(told(base_station(4), false), left);
    // Where it is not said which, it is the only one.
    assert_eq!(told(None, true), came);
    assert_eq!(told(None, false), left);
}
