//! The task that listens to one hostapd, and tries again when it is gone.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    path::PathBuf,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Told, What};
use crate::link::ieee80211::{
    control::{self, Connection, PATIENCE},
    hostapd::{self, AccessPointId, Event, Listed, Next},
};

/// The pause before a hostapd is tried again: at first, and at last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long a hostapd may be silent until it is asked whether it is still there. A socket like this
/// does not tell that the other end was closed.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// After how many such questions it is asked what was missed: it forgets whoever does not take what it
/// tells, and answers all the same.
pub(super) const SILENT_PINGS: u32 = 30;
/// How often a list is begun anew because stations left while it was read.
const LIST_ATTEMPTS: usize = 8;
/// Events that may come before an answer.
const MAX_EVENTS: usize = 4_096;

/// Listens to one hostapd.
pub(super) struct Listener {
    pub(super) id: AccessPointId,
    pub(super) path: PathBuf,
    /// Beside which hostapd answers.
    pub(super) beside: PathBuf,
    pub(super) tell: mpsc::Sender<Told>,
    /// How long hostapd may be silent until it is asked whether it is there.
    pub(super) ping_interval: Duration,
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
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut was_lost = false;
        loop {
            let mut worked = false;
            let error = match Connection::open(&self.path, &self.beside).await {
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
        // What came while an answer was waited for.
        let mut events = VecDeque::new();
        let ended = match self.serve(&mut connection, &mut events, worked).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        // It is true though the answer never came, and if this one does not come back nothing else tells it.
        for event in events {
            if let Err(ended) = self.tell_event(&event).await {
                return ended;
            }
        }
        ended
    }

    async fn serve(
        &self,
        connection: &mut Connection,
        events: &mut VecDeque<Vec<u8>>,
        worked: &mut bool,
    ) -> Result<std::convert::Infallible, Ended> {
        loop {
            let list = self.list(connection, events).await?;
            self.tell(What::Listed(list)).await?;
            *worked = true;
            let mut pings = 0;
            // Until the list must be read anew.
            loop {
                let datagram = match events.pop_front() {
                    Some(datagram) => datagram,
                    None => match self.receive(connection).await? {
                        Some(datagram) => datagram,
                        None => {
                            let answer = ask(connection, "PING", events).await?;
                            if answer.trim_ascii() != b"PONG" {
                                self.garbage(&answer, "answers PING").await?;
                            }
                            pings += 1;
                            if pings >= SILENT_PINGS {
                                attach_again(connection, events).await?;
                                break;
                            }
                            continue;
                        }
                    },
                };
                if !control::is_event(&datagram) {
                    self.garbage(&datagram, "answers nothing").await?;
                    continue;
                }
                if self.tell_event(&datagram).await? {
                    break;
                }
            }
        }
    }

    /// Tells what an event says; whether the list must be read anew.
    async fn tell_event(&self, datagram: &[u8]) -> Result<bool, Ended> {
        match hostapd::event(datagram) {
            Ok(Event::Other) => {}
            Ok(Event::Switched) => return Ok(true),
            Ok(Event::Terminating) => return Err(io::Error::other("it ended").into()),
            Ok(event) => self.tell(What::Event(event)).await?,
            Err(error) => self.tell(What::Garbage(error.to_string())).await?,
        }
        Ok(false)
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

    /// The next datagram; `None` if there was none for so long that the other end may be gone.
    async fn receive(&self, connection: &mut Connection) -> io::Result<Option<Vec<u8>>> {
        match timeout(self.ping_interval, connection.receive()).await {
            Ok(datagram) => Ok(Some(datagram?.to_vec())),
            Err(_) => Ok(None),
        }
    }

    async fn garbage(&self, datagram: &[u8], what: &str) -> Result<(), Ended> {
        let text = String::from_utf8_lossy(&datagram[..datagram.len().min(100)]);
        self.tell(What::Garbage(format!("{text:?} {what}"))).await
    }
}

/// Makes sure that hostapd tells us what happens. It may have forgotten us; and if it has not, it
/// would tell twice.
async fn attach_again(
    connection: &mut Connection,
    events: &mut VecDeque<Vec<u8>>,
) -> io::Result<()> {
    ask(connection, "DETACH", events).await?;
    let answer = ask(connection, "ATTACH", events).await?;
    match answer.trim_ascii() {
        b"OK" => Ok(()),
        other => Err(io::Error::other(format!(
            "ATTACH was answered by {:?}",
            String::from_utf8_lossy(&other[..other.len().min(100)])
        ))),
    }
}

/// Asks, and waits for the answer; events that come before it are kept.
async fn ask(
    connection: &mut Connection,
    request: &str,
    events: &mut VecDeque<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    let patience = sleep_until(Instant::now() + PATIENCE);
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
