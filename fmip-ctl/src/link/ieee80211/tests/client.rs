//! The client and the whole link layer against a socket that a supplicant could have.

use std::{cell::RefCell, path::PathBuf};

use tokio::{net::UnixDatagram, sync::mpsc, time::timeout};

use super::{
    super::{
        MAX_IN_A_ROW, Next, Place, Turns,
        control::Connection,
        nl80211, start,
        supplicant::{Client, Reply},
    },
    *,
};
use crate::link::LinkLayer;

/// Long enough for anything that happens at all.
const LONG: Duration = Duration::from_secs(60);

/// A directory of its own, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fmip-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The supplicant's end.
struct Supplicant {
    socket: UnixDatagram,
    path: PathBuf,
    /// Who asked last.
    client: RefCell<PathBuf>,
}

impl Supplicant {
    /// Starts, and lets a client in.
    async fn start(directory: &Directory) -> Self {
        let supplicant = Self::new(directory);
        assert_eq!(supplicant.question().await, "ATTACH");
        supplicant.say("OK\n").await;
        supplicant
    }

    fn new(directory: &Directory) -> Self {
        let path = directory.path("wlan0");
        let _ = std::fs::remove_file(&path);
        Self {
            socket: UnixDatagram::bind(&path).expect("a socket"),
            path,
            client: RefCell::default(),
        }
    }

    async fn question(&self) -> String {
        let mut buffer = vec![0; 4096];
        let (length, from) = timeout(LONG, self.socket.recv_from(&mut buffer))
            .await
            .expect("a question in time")
            .expect("a datagram");
        let from = from.as_pathname().expect("it can be answered");
        self.client.replace(from.to_owned());
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    async fn say(&self, text: &str) {
        let client = self.client.borrow().clone();
        let sent = self.socket.send_to(text.as_bytes(), client).await;
        sent.expect("the client listens");
    }

    fn end(self) {
        std::fs::remove_file(&self.path).expect("its socket is there");
    }
}

/// A client that runs, as far as one can see from outside.
struct Running {
    asked: mpsc::UnboundedSender<Request>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Running {
    fn new(directory: &Directory) -> Self {
        let mut client = Client::new(directory.path("wlan0"), directory.path("client"));
        let (asked, mut asks) = mpsc::unbounded_channel();
        let (hears, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    heard = client.next() => if hears.send(heard).is_err() {
                        return;
                    },
                    asked = asks.recv() => match asked {
                        Some(request) => client.ask(request),
                        None => return,
                    },
                }
            }
        });
        Self { asked, heard }
    }

    fn ask(&self, request: Request) {
        self.asked.send(request).expect("it runs");
    }

    async fn heard(&mut self) -> Heard {
        let heard = timeout(LONG, self.heard.recv()).await;
        heard.expect("something in time").expect("it runs")
    }

    async fn assert_replied(&mut self, to: Request, expected: Reply) {
        let replied = Heard::Replied {
            request: to,
            reply: expected,
        };
        assert_eq!(self.heard().await, replied);
    }
}

#[tokio::test]
async fn a_client_outlives_the_supplicant() {
    let directory = Directory::new("outlives");
    let mut client = Running::new(&directory);
    // There is none yet, which is told once.
    assert!(matches!(client.heard().await, Heard::Lost { .. }));
    for is_first in [true, false] {
        let supplicant = Supplicant::start(&directory).await;
        assert_eq!(client.heard().await, Heard::Opened);
        client.ask(Request::SignalPoll);
        assert_eq!(supplicant.question().await, "SIGNAL_POLL");
        // A question at a time; one that waits is not asked twice, and a move waits for nothing but
        // the answer to what was asked already.
        client.ask(Request::Status);
        client.ask(Request::Status);
        client.ask(Request::Roam { bssid: AP2 });
        supplicant.say("<3>CTRL-EVENT-SCAN-RESULTS ").await;
        assert_eq!(client.heard().await, Heard::Event(Event::ScanResults));
        supplicant.say("FAIL\n").await;
        let refused = || Reply::Refused("FAIL".to_owned());
        client.assert_replied(Request::SignalPoll, refused()).await;
        let roam = Request::Roam { bssid: AP2 };
        assert_eq!(supplicant.question().await, roam.to_string());
        supplicant.say("FAIL\n").await;
        client.assert_replied(roam, refused()).await;
        assert_eq!(supplicant.question().await, "STATUS");
        supplicant.say("wpa_state=INACTIVE\n").await;
        assert!(matches!(client.heard().await, Heard::Replied { .. }));
        supplicant.say("an answer to nothing\n").await;
        assert!(matches!(client.heard().await, Heard::Garbage(_)));
        // It ends with a word, or without one: then the next question finds nobody.
        if is_first {
            supplicant.say("<3>CTRL-EVENT-TERMINATING ").await;
            assert!(matches!(client.heard().await, Heard::Lost { .. }));
            supplicant.end();
        } else {
            supplicant.end();
            client.ask(Request::SignalPoll);
            assert!(matches!(client.heard().await, Heard::Lost { .. }));
        }
    }
}

#[tokio::test]
async fn a_supplicant_that_never_stops_talking_leaves_orders_and_the_time_their_turn() {
    use std::future::{pending, ready};

    let heard = || ready(Heard::Event(Event::Other));
    let mut turns = Turns::default();
    let mut others = Vec::new();
    for round in 1..=4 {
        for _ in 0..MAX_IN_A_ROW {
            let told = turns.next(
                heard(),
                ready(Some(nl80211::Event::Scanned)),
                ready(Some(Order::GoAhead)),
                ready(()),
            );
            assert_eq!(told.await, Next::Heard(Heard::Event(Event::Other)));
        }
        let event = ready(Some(nl80211::Event::Scanned));
        others.push(match round {
            1 => {
                turns
                    .next(heard(), event, ready(Some(Order::GoAhead)), ready(()))
                    .await
            }
            2 => turns.next(heard(), event, pending(), ready(())).await,
            3 => turns.next(heard(), event, pending(), pending()).await,
            _ => turns.next(heard(), pending(), pending(), pending()).await,
        });
    }
    let expected = [
        Next::Order(Some(Order::GoAhead)),
        Next::Due,
        Next::Kernel(Some(nl80211::Event::Scanned)),
        Next::Heard(Heard::Event(Event::Other)),
    ];
    assert_eq!(others, expected);
}

#[tokio::test]
async fn a_late_answer_is_none_to_the_question_of_a_later_connection() {
    let directory = Directory::new("late");
    let supplicant = Supplicant::new(&directory);
    let (path, beside) = (directory.path("wlan0"), directory.path("client"));
    let connect = || {
        let (path, beside) = (path.clone(), beside.clone());
        tokio::spawn(async move { Connection::open(&path, &beside).await })
    };
    let first = connect();
    assert_eq!(supplicant.question().await, "ATTACH");
    supplicant.say("OK\n").await;
    let first = first.await.unwrap().expect("it is answered");
    first.send("STATUS").await.unwrap();
    assert_eq!(supplicant.question().await, "STATUS");
    let hung = supplicant.client.borrow().clone();
    // It did not answer in time. What it is told then is behind what it has not done yet.
    drop(first);
    assert_eq!(supplicant.question().await, "DETACH");
    assert_eq!(*supplicant.client.borrow(), hung);
    let second = connect();
    assert_eq!(supplicant.question().await, "ATTACH");
    let late = supplicant.socket.send_to(b"FAIL\n", &hung).await;
    assert!(late.is_err(), "somebody hears it");
    supplicant.say("OK\n").await;
    second.await.unwrap().expect("that is its answer");
}

#[tokio::test]
async fn what_killed_processes_left_behind_is_removed_and_nothing_else() {
    let directory = Directory::new("remains");
    let supplicant = Supplicant::new(&directory);
    let make = |name: &str| UnixDatagram::bind(directory.path(name)).expect("a socket");
    drop(make("client.1.2"));
    drop(make("client.other.1"));
    let living = make("client.3.4");
    std::fs::write(directory.path("client.5.6"), "no socket").unwrap();
    let (path, beside) = (directory.path("wlan0"), directory.path("client"));
    let opening = tokio::spawn(async move { Connection::open(&path, &beside).await });
    assert_eq!(supplicant.question().await, "ATTACH");
    let mut left: Vec<_> = std::fs::read_dir(&directory.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let own = supplicant.client.borrow().clone();
    let own = own.file_name().unwrap().to_str().unwrap();
    let mut expected = ["client.3.4", "client.5.6", "client.other.1", own, "wlan0"];
    expected.sort_unstable();
    assert_eq!(left, expected);
    drop((living, opening));
}

#[tokio::test]
async fn at_its_end_the_link_layer_leaves_the_supplicant_as_it_was() {
    let directory = Directory::new("ends");
    let mut settings = Ieee80211::of("wlan0");
    settings.control_interface = directory.path("wlan0");
    let place = Place {
        interface: 0,
        beside: directory.path("client"),
        clock: || Instant::from_nanos(crate::io::monotonic_ns()),
    };
    let mut layer = start(&settings, place);
    let supplicant = Supplicant::start(&directory).await;
    loop {
        let question = tokio::select! {
            question = supplicant.question() => question,
            _ = layer.next() => continue,
        };
        let answer = match question.as_str() {
            "STATUS" => format!("bssid={AP1}\nssid=fmip\nwpa_state=COMPLETED\n"),
            other if other.starts_with("BSS ") => "####\n".to_owned(),
            _ => "OK\n".to_owned(),
        };
        supplicant.say(&answer).await;
        if question.starts_with("SIGNAL_MONITOR ") {
            assert_eq!(question, "SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2");
            break;
        }
    }
    drop(layer);
    let mut last = Vec::new();
    while last.last().is_none_or(|last| last != "DETACH") {
        last.push(supplicant.question().await);
    }
    let off = "SIGNAL_MONITOR THRESHOLD=0 HYSTERESIS=0";
    assert_eq!(last[last.len() - 2], off, "{last:?}");
    let own = supplicant.client.borrow().clone();
    assert!(!own.exists(), "{} is left behind", own.display());
}

/// What the link layer tells next, lists of what it hears aside.
async fn told(layer: &mut LinkLayer) -> String {
    loop {
        let told = timeout(LONG, layer.next()).await;
        let told = told.expect("something in time").expect("it runs");
        if !matches!(told, Told::Heard(_)) {
            return described(&told);
        }
    }
}

#[tokio::test]
async fn the_link_layer_lives_on_a_supplicant_that_comes_and_goes() {
    let directory = Directory::new("lives");
    let mut settings = Ieee80211::of("wlan0");
    settings.control_interface = directory.path("wlan0");
    settings.signal_interval = Duration::from_millis(50);
    let epoch = || Instant::from_nanos(crate::io::monotonic_ns());
    let place = Place {
        interface: 0,
        beside: directory.path("client"),
        clock: epoch,
    };
    let mut layer = start(&settings, place);
    for address in [AP1, AP2] {
        let supplicant = Supplicant::start(&directory).await;
        let mut seen_up = false;
        let mut seen_working = false;
        let roam = format!("ROAM {AP2}");
        loop {
            let question = tokio::select! {
                question = supplicant.question() => question,
                told = told(&mut layer) => {
                    seen_working |= told == "working";
                    if told == format!("LINK_UP {address}") {
                        seen_up = true;
                        layer.order(Order::Switch { access_point: AP2 });
                    }
                    continue;
                }
            };
            let answer = match question.as_str() {
                "SIGNAL_POLL" => "RSSI=-50\n".to_owned(),
                "STATUS" => format!("bssid={address}\nssid=fmip\nwpa_state=COMPLETED\n"),
                other if other.starts_with("BSS RANGE=0-") => format!(
                    "id=0\nbssid={AP2}\nfreq=2437\nlevel=-60\nage=0\nssid=fmip\n====\n####\n"
                ),
                other if other.starts_with("BSS ") => "####\n".to_owned(),
                _ => "OK\n".to_owned(),
            };
            supplicant.say(&answer).await;
            // At AP2 already: the switch is answered by LINK_UP.
            if question == roam || (seen_up && address == AP2) {
                break;
            }
        }
        assert!(seen_working && seen_up, "at {address}");
        supplicant.end();
        // The next measurement finds nobody.
        loop {
            let told = told(&mut layer).await;
            if told.contains("lost: ") {
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_the_supplicant_wrote_and_nobody_understood_is_counted_where_people_look() {
    let directory = Directory::new("counted");
    let mut settings = Ieee80211::of("wlan0");
    settings.control_interface = directory.path("wlan0");
    let place = Place {
        interface: 0,
        beside: directory.path("client"),
        clock: || Instant::from_nanos(crate::io::monotonic_ns()),
    };
    let mut layer = start(&settings, place);
    let supplicant = Supplicant::start(&directory).await;
    assert!(!layer.counts().contains_key("supplicant-garbage"));
    for _ in 0..3 {
        supplicant.say("<no level>").await;
    }
    let counted = async {
        while layer.counts().get("supplicant-garbage") != Some(&3) {
            // Most of them are not told of.
            let _ = timeout(Duration::from_millis(10), layer.next()).await;
        }
    };
    timeout(LONG, counted).await.expect("all of it is counted");
}
