//! The client and the whole link layer against a socket that a supplicant could have.

use std::path::PathBuf;

use tokio::{net::UnixDatagram, sync::mpsc, time::timeout};

use super::{
    super::{
        MAX_IN_A_ROW, Next, Place, Turns, nl80211, start,
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
    client: PathBuf,
}

impl Supplicant {
    /// Starts, and lets a client in.
    async fn start(directory: &Directory) -> Self {
        let path = directory.path("wlan0");
        let _ = std::fs::remove_file(&path);
        let supplicant = Self {
            socket: UnixDatagram::bind(&path).expect("a socket"),
            path,
            client: directory.path("client"),
        };
        assert_eq!(supplicant.question().await, "ATTACH");
        supplicant.say("OK\n").await;
        supplicant
    }

    async fn question(&self) -> String {
        let mut buffer = vec![0; 4096];
        let (length, from) = timeout(LONG, self.socket.recv_from(&mut buffer))
            .await
            .expect("a question in time")
            .expect("a datagram");
        assert_eq!(from.as_pathname(), Some(self.client.as_path()));
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }

    async fn say(&self, text: &str) {
        let sent = self.socket.send_to(text.as_bytes(), &self.client).await;
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
        client.ask(Request::Ping);
        assert_eq!(supplicant.question().await, "PING");
        // A question at a time; one that waits is not asked twice, and a move waits for nothing but
        // the answer to what was asked already.
        client.ask(Request::Status);
        client.ask(Request::Status);
        client.ask(Request::Roam { bssid: AP2 });
        supplicant.say("<3>CTRL-EVENT-SCAN-RESULTS ").await;
        assert_eq!(client.heard().await, Heard::Event(Event::ScanResults));
        supplicant.say("PONG\n").await;
        client.assert_replied(Request::Ping, Reply::Done).await;
        let roam = Request::Roam { bssid: AP2 };
        assert_eq!(supplicant.question().await, roam.to_string());
        supplicant.say("FAIL\n").await;
        let refused = Reply::Refused("FAIL".to_owned());
        client.assert_replied(roam, refused).await;
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
            client.ask(Request::Ping);
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
        answers: directory.path("client"),
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
                "PING" => "PONG\n".to_owned(),
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
        answers: directory.path("client"),
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
