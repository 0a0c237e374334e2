//! The control socket's language, and both of its ends against each other.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::json;
use tokio::{sync::mpsc, task::spawn_blocking};

use super::{
    client::{Client, ClientError},
    control::{ControlError, ControlSocket, EventBus, Order, orders},
    show::{DataPath, Listed, MAX_PAGE, Page},
    *,
};
use crate::{
    link::{damping::Outcome, vocabulary::SayError},
    proto::LinkEvent,
};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A directory that is removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("fmip-observe-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Happening {
    Tick { number: u64, padding: String },
}

fn tick(number: u64) -> Happening {
    Happening::Tick {
        number,
        padding: "x".repeat(200),
    }
}

fn status() -> Status {
    Status {
        role: "mobile-node".to_owned(),
        uptime_s: 1.5,
        signalling: json!({"received": 3}),
        held: 9,
        ..Default::default()
    }
}

fn data_path() -> DataPath {
    DataPath {
        role: "mobile-node".to_owned(),
        signalling_lost: [("signal-cut".to_owned(), 2)].into(),
        ..Default::default()
    }
}

/// An event loop of the shortest kind; returns the triggers it was given.
async fn answer_all(mut orders: mpsc::Receiver<Order>) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Status { reply } => drop(reply.send(Ok(status()))),
            Order::DataPath { reply } => drop(reply.send(Ok(data_path()))),
            Order::Bindings { page, reply } => drop(reply.send(Ok(Listed {
                list: Vec::new(),
                next: page.from,
            }))),
            Order::Buffers { reply, .. } => drop(reply.send(Err("no buffer 3".to_owned()))),
            Order::Trigger {
                trigger: Trigger::LinkDown,
                reply,
            } => drop(reply.send(Err("there is no link".to_owned()))),
            Order::Trigger { trigger, reply } => {
                triggers.push(trigger);
                drop(reply.send(Ok(())));
            }
            Order::Primitive {
                indication: Indication::Event { of: Some(_), .. },
                reply,
            } => drop(reply.send(Err("primitive: not here".to_owned()))),
            Order::Primitive { reply, .. } => drop(reply.send(Ok(Outcome::HeldBack))),
            Order::Mobile { reply } => drop(reply.send(Err("this is a router".to_owned()))),
            Order::Registered { care_of, reply } => {
                let known = care_of == "2001:db8:2::9".parse::<std::net::Ipv6Addr>().unwrap();
                drop(reply.send(known.then_some(()).ok_or("unknown".to_owned())));
            }
            Order::Reload { reply } => drop(reply.send(Err("f.toml:3: no".to_owned()))),
            Order::Shutdown { reply } => {
                drop(reply.send(Ok(())));
                break;
            }
        }
    }
    triggers
}

/// A server whose event loop answers, and what is needed to end it.
struct Server {
    directory: Directory,
    socket: ControlSocket,
    events: EventBus,
    triggers: tokio::task::JoinHandle<Vec<Trigger>>,
}

fn serve() -> Server {
    let directory = Directory::new();
    let (sender, receiver) = orders();
    let events = EventBus::default();
    let socket = ControlSocket::start(&directory.socket(), sender, events.clone()).unwrap();
    Server {
        directory,
        socket,
        events,
        triggers: tokio::spawn(answer_all(receiver)),
    }
}

/// Runs blocking code beside the server.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::time::timeout(DEADLINE, spawn_blocking(work))
        .await
        .expect("the client ends in time")
        .expect("the client does not panic")
}

fn raw(path: &Path) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    BufReader::new(stream)
}

fn ask(connection: &mut BufReader<UnixStream>, line: &str) -> String {
    connection.get_mut().write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_line(&mut answer).unwrap();
    answer
}

#[test]
fn requests_have_the_documented_shape() {
    let node = "2001:db8:1::9".parse().unwrap();
    let access_point: MacAddr = "02:00:00:00:0a:02".parse().unwrap();
    for (line, request) in [
        (r#"{"command":"status"}"#, Request::Status),
        (r#"{"command":"subscribe"}"#, Request::Subscribe),
        (r#"{"command":"reload"}"#, Request::Reload),
        (r#"{"command":"shutdown"}"#, Request::Shutdown),
        (r#"{"command":"show-datapath"}"#, Request::ShowDatapath),
        (
            r#"{"command":"show-bindings"}"#,
            Request::ShowBindings(Page::default()),
        ),
        (
            r#"{"command":"show-buffers","from":"2001:db8:1::9","limit":7}"#,
            Request::ShowBuffers(Page {
                from: Some(node),
                limit: Some(7),
            }),
        ),
        (
            r#"{"command":"trigger","trigger":"impend","access_point":"02:00:00:00:0a:02"}"#,
            Request::Trigger(Trigger::Impend { access_point }),
        ),
        (
            r#"{"command":"trigger","trigger":"link-up","access_point":"02:00:00:00:0a:02"}"#,
            Request::Trigger(Trigger::LinkUp { access_point }),
        ),
        (
            r#"{"command":"trigger","trigger":"new-link","access_point":"02:00:00:00:0a:02"}"#,
            Request::Trigger(Trigger::NewLink { access_point }),
        ),
        (
            r#"{"command":"trigger","trigger":"link-down"}"#,
            Request::Trigger(Trigger::LinkDown),
        ),
        (
            r#"{"command":"trigger","trigger":"attached","node":"2001:db8:1::9","link_address":"02:00:00:00:0a:02"}"#,
            Request::Trigger(Trigger::Attached {
                node,
                link_address: access_point,
                interface: None,
            }),
        ),
        (
            r#"{"command":"trigger","trigger":"departed","node":"2001:db8:1::9","interface":"acc0"}"#,
            Request::Trigger(Trigger::Departed {
                node,
                interface: Some("acc0".to_owned()),
            }),
        ),
        (
            r#"{"command":"trigger","trigger":"station-attached","link_address":"02:00:00:00:0a:02"}"#,
            Request::Trigger(Trigger::StationAttached(StationOfLink {
                link_address: access_point,
                interface: None,
                access_point: None,
            })),
        ),
        (
            r#"{"command":"trigger","trigger":"station-departed","link_address":"02:00:00:00:0a:02","interface":"acc0","access_point":"02:00:00:00:0a:02"}"#,
            Request::Trigger(Trigger::StationDeparted(StationOfLink {
                link_address: access_point,
                interface: Some("acc0".to_owned()),
                access_point: Some(access_point),
            })),
        ),
        (
            r#"{"command":"trigger","trigger":"handover","node":"2001:db8:1::9","access_point":"02:00:00:00:0a:02","ncoa":"2001:db8:2::9"}"#,
            Request::Trigger(Trigger::Handover {
                node,
                access_point,
                ncoa: Some("2001:db8:2::9".parse().unwrap()),
            }),
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_HANDOVER_IMPEND","access_point":"02:00:00:00:0a:02"}"#,
            Request::Primitive(Indication::Event {
                event: LinkEvent::HandoverImpend { access_point },
                of: None,
            }),
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_DOWN"}"#,
            Request::Primitive(Indication::Event {
                event: LinkEvent::LinkDown,
                of: None,
            }),
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_SWITCH","access_point":"02:00:00:00:0a:02","error":"no answer"}"#,
            Request::Primitive(Indication::SwitchFailed {
                access_point,
                error: "no answer".to_owned(),
            }),
        ),
        (
            r#"{"command":"trigger","trigger":"advertise","node":"2001:db8:1::9"}"#,
            Request::Trigger(Trigger::Advertise { node }),
        ),
    ] {
        if let Request::Trigger(trigger) = &request {
            assert!(line.contains(&format!("\"trigger\":{:?}", trigger.name())));
        }
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request);
    }
}

#[test]
fn an_event_is_one_flat_object() {
    let line = r#"{"time_ns":17,"event":"link-switch","access_point":"02:00:00:00:0a:02"}"#;
    let record: EventRecord = serde_json::from_str(line).unwrap();
    assert_eq!(record.time_ns, 17);
    assert_eq!(record.event, "link-switch");
    assert_eq!(record.fields["access_point"], "02:00:00:00:0a:02");
    assert_eq!(serde_json::to_string(&record).unwrap(), line);
}

#[tokio::test]
async fn a_client_gets_status_gives_triggers_and_ends_the_controller() {
    let server = serve();
    let path = server.directory.socket();
    let access_point: MacAddr = "02:00:00:00:0a:02".parse().unwrap();
    let got = beside(move || {
        let mut client = Client::connect(&path).unwrap();
        client.trigger(Trigger::Impend { access_point }).unwrap();
        let refused = client.trigger(Trigger::LinkDown).unwrap_err();
        assert_eq!(refused.to_string(), "there is no link");
        let refused = client.reload().unwrap_err();
        assert_eq!(refused.to_string(), "f.toml:3: no");
        let raw = client.request(&Request::Status).unwrap();
        assert_eq!(raw["ok"], true);
        assert_eq!(raw["held"], 9);
        let got = client.status().unwrap();
        client.shutdown().unwrap();
        got
    })
    .await;
    let mut expected = status();
    expected.control.refused_primitives = 1;
    assert_eq!(got, expected);
    assert_eq!(
        server.triggers.await.unwrap(),
        [Trigger::Impend { access_point }]
    );
}

#[tokio::test]
async fn a_client_is_shown_the_data_path_and_lists_part_by_part() {
    let server = serve();
    let path = server.directory.socket();
    let got = beside(move || {
        let mut client = Client::connect(&path).unwrap();
        let from = Some("2001:db8::7".parse().unwrap());
        let page = Page { from, limit: None };
        let bindings = client.bindings(page).unwrap();
        assert_eq!((bindings.list, bindings.next), (Vec::new(), from));
        let refused = client.buffers(page).unwrap_err();
        assert_eq!(refused.to_string(), "no buffer 3");
        client.data_path().unwrap()
    })
    .await;
    assert_eq!(got, data_path());
}

/// However much a client asks for: the event loop has other things to do.
#[test]
fn a_page_has_its_bound() {
    let page = |limit| Page { from: None, limit }.length();
    assert_eq!(page(Some(3)), 3);
    assert_eq!(page(None), MAX_PAGE as usize);
    assert_eq!(page(Some(u32::MAX)), MAX_PAGE as usize);
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_counted() {
    let server = serve();
    let path = server.directory.socket();
    let got = beside(move || {
        let mut connection = raw(&path);
        for line in [
            "hello\n",
            "{\"command\":\"fly\"}\n",
            "{\"command\":\"trigger\"}\n",
            "{\"command\":\"trigger\",\"trigger\":\"impend\",\"access_point\":\"x\"}\n",
            "\n",
        ] {
            let answer: Value = serde_json::from_str(&ask(&mut connection, line)).unwrap();
            assert_eq!(answer["ok"], false, "{line}");
            let error = answer["error"].as_str().unwrap();
            assert!(error.starts_with("this is no request: "), "{error}");
        }
        // The same connection goes on.
        let answer = ask(&mut connection, "{\"command\":\"status\"}\n");
        serde_json::from_str::<Status>(&answer).unwrap()
    })
    .await;
    assert_eq!(got.control.bad_requests, 5);
}

/// Found by a fuzzer. The words of serde were not shown to it before with a line end in them.
#[test]
fn an_error_is_one_line_whatever_is_in_the_request() {
    for line in [
        r#"{"command":"fly\n"}"#,
        r#"{"command":"trigger","trigger":"\new-link"}"#,
    ] {
        let error = Request::parse(line.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains(char::is_control), "{error}");
    }
}

/// Whatever is wrong, the words say where.
#[test]
fn an_error_line_names_the_field() {
    for (line, expected) in [
        (
            "[1]",
            "this is no request: [1] is no object such as {\"command\":\"status\"}",
        ),
        (
            "{",
            "this is no request: EOF while parsing an object at line 1 column 1",
        ),
        ("{}", "this is no request: missing field `command`"),
        (
            r#"{"command":7}"#,
            "this is no request: command: 7 is not a text",
        ),
        (
            r#"{"command":"reload","command":"status"}"#,
            "this is no request: duplicate field `command` at line 1 column 29",
        ),
        (
            r#"{"command":"trigger","trigger":"impend"}"#,
            "this is no request: missing field `access_point`",
        ),
        (
            r#"{"command":"trigger","trigger":"impend","access_point":"x"}"#,
            "this is no request: access_point: \"x\" is not a link-layer address such as \
             \"02:00:00:00:0a:01\"",
        ),
        (
            r#"{"command":"trigger","trigger":"departed","node":"x","interface":3}"#,
            "this is no request: interface: 3 is not a text",
        ),
        (
            r#"{"command":"trigger","trigger":"departed","node":["2001:db8::1"]}"#,
            "this is no request: node: [\"2001:db8::1\"] is not an IPv6 address such as \
             \"2001:db8:1::1\"",
        ),
        (
            r#"{"command":"show-buffers","limit":-1}"#,
            "this is no request: limit: -1 is not a number from 0 to 4294967295",
        ),
        (
            r#"{"command":"show-bindings","from":"fe80::x"}"#,
            "this is no request: from: \"fe80::x\" is not an IPv6 address such as \"2001:db8:1::1\"",
        ),
        (r#"{"command":"primitive"}"#, "missing field `primitive`"),
        (
            r#"{"command":"primitive","primitive":1}"#,
            "primitive: 1 is not a text",
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_UP"}"#,
            "access_point: LINK_UP needs the link-layer address of an access point",
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_UP","access_point":{}}"#,
            "access_point: {} is not a link-layer address such as \"02:00:00:00:0a:01\"",
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_DETECTED","access_point":"x"}"#,
            "access_point: \"x\" is no link-layer address: write it as 02:00:00:00:0a:01",
        ),
        (
            r#"{"command":"primitive","primitive":"LINK_DOWN","error":true}"#,
            "error: true is not a text",
        ),
    ] {
        let error = Request::parse(line.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{line}");
        let is_primitive = matches!(error, RequestError::Primitive(_));
        assert_eq!(is_primitive, line.contains("\"command\":\"primitive\""));
    }
    for (line, field, known) in [
        (r#"{"command":"fly"}"#, "command", "`subscribe`"),
        (
            r#"{"command":"trigger","trigger":"fly"}"#,
            "trigger",
            "`link-up`",
        ),
    ] {
        let error = Request::parse(line.as_bytes()).unwrap_err().to_string();
        let start = format!("this is no request: {field}: unknown variant `fly`, expected one of ");
        assert!(
            error.starts_with(&start) && error.contains(known),
            "{error}"
        );
    }
    let error = Request::parse(br#"{"command":"primitive","primitive":"FLY"}"#).unwrap_err();
    let unknown = SayError::Unknown("FLY".to_owned());
    assert_eq!(error.to_string(), unknown.to_string());
}

// Rows: W16-01
#[tokio::test]
async fn a_primitive_is_answered_with_what_became_of_it_or_refused_and_counted() {
    let server = serve();
    let path = server.directory.socket();
    let got = beside(move || {
        let mut client = Client::connect(&path).unwrap();
        let down = |of| Indication::Event {
            event: LinkEvent::LinkDown,
            of,
        };
        assert_eq!(client.primitive(down(None)).unwrap(), Outcome::HeldBack);
        let elsewhere = Some(MacAddr([2, 0, 0, 0, 0x0a, 2]));
        let refused = client.primitive(down(elsewhere)).unwrap_err();
        assert_eq!(refused.to_string(), "primitive: not here");
        let mut connection = raw(&path);
        for (line, known) in [
            (
                "{\"command\":\"primitive\",\"primitive\":\"LINK_SIDEWAYS\"}\n",
                "LINK_SWITCH (HANDOVER_COMMIT)",
            ),
            (
                "{\"command\":\"primitive\",\"primitive\":\"LINK_UP\",\"access_point\":\"ff:ff:ff:ff:ff:ff\"}\n",
                "access_point: ff:ff:ff:ff:ff:ff",
            ),
        ] {
            let answer: Value = serde_json::from_str(&ask(&mut connection, line)).unwrap();
            assert_eq!(answer["ok"], false, "{line}");
            let error = answer["error"].as_str().unwrap();
            assert!(error.contains(known), "{error}");
        }
        client.status().unwrap()
    })
    .await;
    assert_eq!(got.control.refused_primitives, 3);
    assert_eq!(got.control.bad_requests, 0);
}

#[tokio::test]
async fn a_line_without_end_is_refused_and_its_connection_closed() {
    let server = serve();
    let path = server.directory.socket();
    let got = beside(move || {
        let mut connection = raw(&path);
        let line = "x".repeat(MAX_REQUEST + 1);
        let answer = ask(&mut connection, &line);
        assert_eq!(
            answer,
            "{\"ok\":false,\"error\":\"a request has 4096 octets at most\"}\n"
        );
        let mut rest = Vec::new();
        // The end, or a reset because the server has not read everything.
        let _ = connection.read_to_end(&mut rest);
        assert!(rest.is_empty());
        Client::connect(&path).unwrap().status().unwrap()
    })
    .await;
    assert_eq!(got.control.bad_requests, 1);
}

#[tokio::test]
async fn the_last_line_may_do_without_its_newline() {
    let server = serve();
    let path = server.directory.socket();
    beside(move || {
        let mut connection = raw(&path);
        connection
            .get_mut()
            .write_all(b"{\"command\":\"status\"}")
            .unwrap();
        connection
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        let mut answer = String::new();
        connection.read_line(&mut answer).unwrap();
        assert!(answer.starts_with("{\"ok\":true,"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn subscribers_get_every_event_in_order_up_to_the_end() {
    let server = serve();
    let path = server.directory.socket();
    let mut subscription =
        beside(move || Client::connect(&path).unwrap().subscribe().unwrap()).await;
    for number in 0..100 {
        server.events.publish(number + 1_000, &tick(number));
    }
    // At once: the events are still on their way.
    server.socket.stop().await;
    beside(move || {
        for number in 0..100 {
            let deadline = Instant::now() + DEADLINE;
            let record = subscription.next_before(deadline).unwrap().unwrap();
            assert_eq!(record.event, "tick");
            assert_eq!(record.time_ns, number + 1_000);
            assert_eq!(record.fields["number"], number);
        }
        assert!(subscription.next().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    const EVENTS: u64 = 10_000;
    let server = serve();
    let path = server.directory.socket();
    let (slow, mut reading) = beside(move || {
        let subscribe = || Client::connect(&path).unwrap().subscribe().unwrap();
        (subscribe(), subscribe())
    })
    .await;
    let (progress, mut progressed) = mpsc::channel(1);
    let reader = spawn_blocking(move || {
        for number in 0..EVENTS {
            let deadline = Instant::now() + DEADLINE;
            let record = reading.next_before(deadline).unwrap().unwrap();
            assert_eq!(record.fields["number"], number);
            if number % 100 == 0 {
                progress.blocking_send(number).unwrap();
            }
        }
    });
    for number in 0..EVENTS {
        server.events.publish(number, &tick(number));
        if number % 100 == 0 {
            // Not further ahead of the reader than the queue is long.
            assert_eq!(progressed.recv().await, Some(number));
        }
    }
    reader.await.unwrap();
    let path = server.directory.socket();
    let got = tokio::time::timeout(DEADLINE, async {
        loop {
            let path = path.clone();
            let got = beside(move || Client::connect(&path).unwrap().status().unwrap()).await;
            if got.control.slow_subscribers != 0 {
                return got;
            }
        }
    })
    .await
    .expect("the slow subscriber is noticed");
    assert_eq!(got.control.slow_subscribers, 1);
    let read = beside(move || slow.take_while(Result::is_ok).count()).await;
    assert!((1..EVENTS as usize).contains(&read), "{read}");
}

#[tokio::test]
async fn an_order_that_nobody_answers_is_answered_as_an_end() {
    let directory = Directory::new();
    let (sender, mut receiver) = orders();
    let _socket = ControlSocket::start(&directory.socket(), sender, EventBus::default()).unwrap();
    let path = directory.socket();
    let client = spawn_blocking(move || {
        let mut client = Client::connect(&path).unwrap();
        [client.shutdown(), client.status().map(drop)].map(|answer| answer.unwrap_err().to_string())
    });
    // The first is dropped, the second finds nobody.
    drop(receiver.recv().await);
    drop(receiver);
    assert_eq!(
        client.await.unwrap(),
        ["the controller is ending", "the controller is ending"]
    );
}

#[tokio::test]
async fn too_many_connections_are_refused_and_counted() {
    let server = serve();
    let path = server.directory.socket();
    let got = beside(move || {
        let mut connections: Vec<_> = (0..64).map(|_| raw(&path)).collect();
        for connection in &mut connections {
            assert!(ask(connection, "{\"command\":\"status\"}\n").contains("\"ok\":true"));
        }
        let mut refused = String::new();
        raw(&path).read_line(&mut refused).unwrap();
        assert_eq!(
            refused,
            "{\"ok\":false,\"error\":\"too many connections: close one\"}\n"
        );
        let answer = ask(&mut connections[0], "{\"command\":\"status\"}\n");
        serde_json::from_str::<Status>(&answer).unwrap()
    })
    .await;
    assert_eq!(got.control.refused_connections, 1);
}

#[tokio::test]
async fn the_socket_is_private_to_its_group_and_goes_with_its_controller() {
    let server = serve();
    let path = server.directory.socket();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    drop(server.socket);
    assert!(!path.exists());

    let server = serve();
    let path = server.directory.socket();
    server.socket.stop().await;
    assert!(!path.exists());
    let error = beside(move || Client::connect(&path).unwrap_err()).await;
    assert!(matches!(error, ClientError::NoController(_)), "{error}");
}

#[tokio::test]
async fn its_directory_is_made_and_removed_if_need_be() {
    let directory = Directory::new();
    let path = directory.0.join("fmip/control.sock");
    let (sender, _receiver) = orders();
    let made = control::Directory::of(&path).unwrap();
    // A daemon of the link layer may answer before the controller is ready, and until it has ended.
    let answers = directory.0.join("fmip/control.sock.wlan0");
    fs::write(&answers, "").unwrap();
    let socket = ControlSocket::start(&path, sender, EventBus::default()).unwrap();
    assert!(path.exists());
    drop(control::Directory::of(&path).unwrap());
    socket.stop().await;
    assert!(!path.exists());
    fs::remove_file(answers).unwrap();
    drop(made);
    assert!(!directory.0.join("fmip").exists());
    assert!(directory.0.exists());
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone_and_a_stale_one_replaced() {
    let directory = Directory::new();
    let path = directory.socket();
    let start = || {
        let (sender, _receiver) = orders();
        ControlSocket::start(&path, sender, EventBus::default())
    };

    let owner = UnixListener::bind(&path).unwrap();
    let error = start().unwrap_err();
    assert!(matches!(error, ControlError::InUse(_)), "{error}");
    assert!(UnixStream::connect(&path).is_ok());

    // A killed controller leaves its file, and nobody behind it.
    drop(owner);
    assert!(path.exists());
    drop(start().unwrap());
    assert!(!path.exists());

    fs::write(&path, "a letter").unwrap();
    let error = start().unwrap_err();
    assert!(matches!(error, ControlError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
}

#[tokio::test]
async fn a_successor_that_took_the_place_keeps_it() {
    let server = serve();
    let path = server.directory.socket();
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    server.socket.stop().await;
    assert!(path.exists());
}
