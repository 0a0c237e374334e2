//! What the kernel adds, and what it says while the supplicant is gone.

use proptest::prelude::*;
use wl_nl80211::{
    Ieee80211StatusCode, Nl80211Attr, Nl80211BssInfo, Nl80211Command, Nl80211CqmAttr,
    Nl80211CqmRssiThresholdEvent, Nl80211Message, Nl80211StationFlagUpdate, Nl80211StationFlags,
    Nl80211StationInfo, packet_core::DefaultNla,
};

use super::{
    super::nl80211::{Answer, Event as KernelEvent, Peer, bss, event, name, peer as read_peer},
    super::supplicant::Bss,
    conversations::attached,
    *,
};

const INTERFACE: u32 = 7;

fn peer(bssid: MacAddr, authorized: bool) -> Peer {
    Peer {
        bssid,
        authorized: Some(authorized),
        dbm: Some(-50),
    }
}

/// As a driver tells it that has no flags of stations, such as mwifiex.
fn peer_without_flags(bssid: MacAddr) -> Peer {
    Peer {
        bssid,
        authorized: None,
        dbm: Some(-50),
    }
}

impl Playback {
    /// The kernel answers what it is asked, which must be this.
    fn answer_peers(&mut self, peers: &[Peer]) {
        assert_eq!(self.queried.remove(0), Query::Peers);
        self.input(Input::Answered(Answer::Peers(peers.to_vec())));
    }

    /// The kernel does not answer what it is asked, which must be this.
    fn leave_unanswered(&mut self) {
        assert_eq!(self.queried.remove(0), Query::Peers);
        let error = "nl80211 does not answer".to_owned();
        self.input(Input::Unanswered { error });
    }

    fn lose_supplicant(&mut self) {
        let error = "it ended".to_owned();
        self.input(Input::Supplicant(super::Heard::Lost { error }));
        self.play("! wpa_supplicant at /run/wpa_supplicant/wlan0 lost: it ended");
    }
}

/// A kernel that tells, beside a supplicant.
fn beside_supplicant() -> Playback {
    let mut playback = Playback::with(|settings| {
        settings.signal_interval = Duration::from_secs(60);
    });
    playback.input(Input::KernelOpened);
    playback
}

// Rows: W11-13
#[test]
fn the_kernel_knows_better_than_the_supplicant_whether_the_port_is_open() {
    let mut playback = beside_supplicant();
    playback.play(
        "! working
        ? STATUS
        = bssid=02:00:00:00:01:00
        = ssid=fmip
        = wpa_state=COMPLETED
        = suppPortStatus=Authorized
        ? BSS RANGE=0- MASK=0x21a87
        =",
    );
    playback.answer_peers(&[peer(AP1, false)]);
    playback.play("+5\n? STATUS\n= bssid=02:00:00:00:01:00\n= wpa_state=COMPLETED\n= ssid=fmip");
    playback.answer_peers(&[peer(AP1, true)]);
    playback.play("! LINK_UP 02:00:00:00:01:00\n? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2\n= OK");
    assert_eq!(playback.queried, []);
}

// Rows: W11-13
#[test]
fn where_the_driver_says_nothing_of_the_port_the_supplicants_word_must_do() {
    // One lists the access point without flags, the other lists nothing at all.
    for peers in [&[peer_without_flags(AP1)][..], &[]] {
        let mut playback = beside_supplicant();
        playback.play(
            "! working
            ? STATUS
            = bssid=02:00:00:00:01:00
            = ssid=fmip
            = wpa_state=COMPLETED
            = suppPortStatus=Unauthorized
            ? BSS RANGE=0- MASK=0x21a87
            =",
        );
        playback.answer_peers(peers);
        // It is asked anew: what it said before may be older than the kernel's silence.
        playback.play(
            "? STATUS
            = bssid=02:00:00:00:01:00
            = ssid=fmip
            = wpa_state=COMPLETED
            = suppPortStatus=Unauthorized
            +5
            ? STATUS
            = bssid=02:00:00:00:01:00
            = ssid=fmip
            = wpa_state=COMPLETED
            = suppPortStatus=Authorized
            ! LINK_UP 02:00:00:00:01:00
            ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
            = OK",
        );
        playback.answer_peers(peers);
        assert_eq!(playback.queried, []);
        // At the next access point the kernel has the first word again.
        playback.play(
            "<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:02:00 completed
            ? STATUS
            = bssid=02:00:00:00:02:00
            = ssid=fmip
            = wpa_state=COMPLETED
            = suppPortStatus=Authorized",
        );
        playback.answer_peers(&[peer(AP2, false)]);
        playback.play("");
        playback.input(Input::Kernel(KernelEvent::Authorized));
        assert_eq!(playback.asked.remove(0), Request::Status);
        playback.answer_peers(&[peer(AP2, true)]);
        assert_eq!(playback.told, ["LINK_UP 02:00:00:00:02:00"]);
    }
}

#[test]
fn without_a_supplicant_a_link_whose_driver_has_no_flags_is_there() {
    let mut playback = beside_supplicant();
    playback.told.clear();
    playback.asked.clear();
    playback.lose_supplicant();
    playback.answer_peers(&[peer_without_flags(AP1)]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
}

/// A node at AP1 beside a driver that lists no access point at all, whose supplicant has just gone.
fn alone_with_a_driver_without_a_list() -> Playback {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.carrier(true, 1);
    playback.input(Input::KernelOpened);
    playback.lose_supplicant();
    playback.answer_peers(&[]);
    assert_eq!(playback.queried.remove(0), Query::Found);
    playback
}

impl Playback {
    fn kernel_tells(&mut self, event: KernelEvent) {
        self.input(Input::Kernel(event));
    }
}

// Rows: W11-06
#[test]
fn without_a_supplicant_a_link_whose_driver_lists_nothing_is_as_its_carrier() {
    let mut playback = alone_with_a_driver_without_a_list();
    // Of a link that works it is not told that it is gone, however often the list is read.
    for _ in 0..3 {
        playback.play("+60000");
        playback.answer_peers(&[]);
    }
    playback.play("");
    // The kernel is asked first: it would know the access point.
    playback.carrier(false, 2);
    playback.play("");
    playback.answer_peers(&[]);
    playback.play("! LINK_DOWN");
    playback.carrier(true, 2);
    playback.answer_peers(&[]);
    playback.play("! LINK_UP");
    // It went and came.
    playback.carrier(true, 3);
    playback.play("! LINK_DOWN");
    playback.answer_peers(&[]);
    playback.play("! LINK_UP");
    // Nothing is left to go by but the list: that is no end of the link, either.
    playback.play("+60000");
    playback.answer_peers(&[]);
    playback.play("");
    // It does list one after all, when there is one: from now on an empty list is an answer.
    playback.play("+60000");
    playback.answer_peers(&[peer(AP1, true)]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    playback.carrier(false, 4);
    assert_eq!(playback.queried, []);
    playback.play("+60000");
    playback.answer_peers(&[]);
    playback.play("! LINK_DOWN");
}

/// It says where the link comes up, and the carrier when.
// Rows: W11-06
#[test]
fn what_a_driver_that_lists_nothing_tells_of_its_access_point_counts() {
    let connected = |bssid| KernelEvent::Connected { bssid };
    // It roams, and the carrier stays.
    let mut playback = alone_with_a_driver_without_a_list();
    playback.kernel_tells(connected(AP2));
    playback.answer_peers(&[]);
    playback.play("! LINK_UP 02:00:00:00:02:00");
    // It lets go: the carrier says so up to a second later, and until then it is not believed.
    playback.kernel_tells(KernelEvent::Disconnected);
    playback.play("! LINK_DOWN");
    playback.carrier(true, 1);
    playback.play("+500");
    playback.carrier(false, 2);
    playback.answer_peers(&[]);
    playback.play("");
    // The carrier follows what is told.
    playback.kernel_tells(connected(AP1));
    playback.answer_peers(&[]);
    playback.play("");
    playback.carrier(true, 2);
    playback.answer_peers(&[]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    // Both of it at once, when the node is elsewhere already.
    playback.kernel_tells(KernelEvent::Disconnected);
    playback.kernel_tells(connected(AP2));
    playback.answer_peers(&[]);
    playback.play("! LINK_DOWN\n! LINK_UP 02:00:00:00:02:00");
    playback.carrier(true, 3);
    playback.answer_peers(&[]);
    playback.play("");
}

/// A carrier that stays is not taken for one that has come again just because the list is read.
#[test]
fn a_carrier_that_is_told_late_brings_nothing_up() {
    let mut playback = alone_with_a_driver_without_a_list();
    playback.play("+59600");
    playback.kernel_tells(KernelEvent::Disconnected);
    playback.play("! LINK_DOWN\n+400");
    playback.answer_peers(&[]);
    playback.play("");
    // Nobody said where it is, and the carrier is there all the time: so is the link, then.
    playback.play("+60000");
    playback.answer_peers(&[]);
    playback.play("! LINK_UP");
}

/// Its events may still come.
#[test]
fn an_access_point_that_a_silent_kernel_tells_of_is_where_the_node_is() {
    let mut playback = attached(|settings| settings.signal_interval = Duration::from_secs(60));
    playback.carrier(true, 1);
    playback.input(Input::KernelOpened);
    playback.lose_supplicant();
    playback.leave_unanswered();
    assert_eq!(playback.queried.remove(0), Query::Found);
    playback.kernel_tells(KernelEvent::Connected { bssid: AP2 });
    playback.play("! LINK_UP 02:00:00:00:02:00");
}

#[test]
fn a_kernel_that_does_not_answer_is_not_waited_for() {
    let mut playback = beside_supplicant();
    playback.play("! working\n? STATUS\n= bssid=02:00:00:00:01:00\n= wpa_state=COMPLETED\n? BSS RANGE=0- MASK=0x21a87\n=");
    playback.leave_unanswered();
    playback.play(
        "+5
        ? STATUS
        = bssid=02:00:00:00:01:00
        = wpa_state=COMPLETED
        ! LINK_UP 02:00:00:00:01:00
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK",
    );
}

#[test]
fn a_kernel_that_did_not_answer_once_is_asked_again_and_believed_again() {
    let mut playback = beside_supplicant();
    playback.told.clear();
    playback.asked.clear();
    playback.lose_supplicant();
    playback.leave_unanswered();
    assert_eq!(playback.queried.remove(0), Query::Found);
    // Later and later, and whatever it tells meanwhile does not make it be asked without a pause.
    for pause in [1, 2, 4] {
        playback.pass(Duration::from_millis(pause * 1000 - 1));
        assert_eq!(playback.queried, []);
        playback.play("+1");
        playback.leave_unanswered();
    }
    for _ in 0..100 {
        playback.input(Input::Kernel(KernelEvent::Scanned));
    }
    playback.play("+999");
    assert_eq!(playback.queried, []);
    playback.play("+1");
    playback.answer_peers(&[peer(AP1, true)]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    // From now on it is asked as before.
    assert_eq!(playback.queried.remove(0), Query::Found);
    playback.play("+60000");
    playback.answer_peers(&[]);
    playback.play("! LINK_DOWN");
    let expected = [("supplicant-garbage", 0), ("kernel-unanswered", 4)];
    assert_eq!(playback.station.counters(), expected);
}

#[test]
fn a_kernel_that_did_not_answer_is_asked_when_the_supplicant_goes() {
    let mut playback = beside_supplicant();
    playback.play("! working\n? STATUS\n= bssid=02:00:00:00:01:00\n= wpa_state=COMPLETED\n? BSS RANGE=0- MASK=0x21a87\n=");
    for pause in [0, 1, 2, 4, 8, 16] {
        playback.pass(Duration::from_secs(pause));
        playback.leave_unanswered();
    }
    playback.told.clear();
    playback.asked.clear();
    playback.pass(Duration::from_secs(2));
    playback.asked.clear();
    // It would be its turn in half a minute.
    playback.lose_supplicant();
    playback.play("+0");
    playback.answer_peers(&[peer(AP2, true)]);
    playback.play("! LINK_UP 02:00:00:00:02:00");
}

#[test]
fn a_kernel_without_80211_is_said_aloud_and_looked_at_again() {
    let mut playback = Playback::with(|_| {});
    playback.told.clear();
    let lost = |playback: &mut Playback| {
        let error = "no such family".to_owned();
        playback.input(Input::KernelLost { error });
    };
    lost(&mut playback);
    let expected = "nl80211 local (the kernel tells nothing of 802.11: no such family)";
    assert_eq!(playback.told, [expected]);
    playback.told.clear();
    playback.asked.clear();
    playback.lose_supplicant();
    for pause in [1, 1, 2, 4, 8, 16, 32, 60, 60] {
        playback.pass(Duration::from_millis(pause * 1000 - 1));
        assert_eq!(playback.opened, 0);
        playback.pass(Duration::from_millis(1));
        assert_eq!(std::mem::take(&mut playback.opened), 1);
        lost(&mut playback);
    }
    // It is said once.
    playback.play("");
    playback.pass(Duration::from_secs(60));
    playback.input(Input::KernelOpened);
    playback.answer_peers(&[peer(AP1, true)]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    assert_eq!(playback.queried.remove(0), Query::Found);
    // It ends, and is there again.
    lost(&mut playback);
    assert_eq!(playback.told, [expected]);
    playback.told.clear();
    playback.opened = 0;
    playback.pass(Duration::from_secs(1));
    assert_eq!(playback.opened, 1);
    playback.input(Input::KernelOpened);
    playback.answer_peers(&[]);
    playback.play("! LINK_DOWN");
}

#[test]
fn without_a_supplicant_the_kernel_says_where_the_node_is() {
    let mut playback = beside_supplicant();
    playback.told.clear();
    playback.asked.clear();
    playback.lose_supplicant();
    playback.answer_peers(&[peer(AP1, true)]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    assert_eq!(playback.queried.remove(0), Query::Found);
    playback.input(Input::Kernel(KernelEvent::Disconnected));
    playback.play("! LINK_DOWN");
    let bssid = AP2;
    playback.input(Input::Kernel(KernelEvent::Connected { bssid }));
    playback.answer_peers(&[peer(AP2, false)]);
    playback.play("");
    playback.input(Input::Kernel(KernelEvent::Authorized));
    playback.answer_peers(&[peer(AP2, true)]);
    playback.play("! LINK_UP 02:00:00:00:02:00");
    // Events can be lost; what is measured is where it is.
    playback.play("+60000");
    playback.answer_peers(&[peer(AP1, true)]);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    playback.play("+60000");
    playback.answer_peers(&[]);
    playback.play("! LINK_DOWN");
}

#[test]
fn without_a_supplicant_a_fading_signal_is_told_but_nothing_is_moved_to() {
    let mut playback = beside_supplicant();
    playback.told.clear();
    playback.asked.clear();
    playback.lose_supplicant();
    playback.answer_peers(&[peer(AP1, true)]);
    assert_eq!(playback.queried.remove(0), Query::Found);
    playback.play("! LINK_UP 02:00:00:00:01:00");
    for _ in 0..2 {
        playback.input(Input::Kernel(KernelEvent::Signal { dbm: -80 }));
    }
    playback.play("! LINK_GOING_DOWN");
}

#[test]
fn beside_the_supplicant_the_kernel_only_makes_it_asked() {
    let mut playback = Playback::with(|settings| {
        settings.signal_interval = Duration::from_secs(60);
    });
    playback.play(
        "! working
        ? STATUS
        = bssid=02:00:00:00:01:00
        = wpa_state=COMPLETED
        ! LINK_UP 02:00:00:00:01:00
        ? BSS RANGE=0- MASK=0x21a87
        =
        ? SIGNAL_MONITOR THRESHOLD=-70 HYSTERESIS=2
        = OK",
    );
    playback.input(Input::KernelOpened);
    let bssid = AP2;
    playback.input(Input::Kernel(KernelEvent::Connected { bssid }));
    playback.input(Input::Kernel(KernelEvent::BeaconLoss));
    playback.play("");
    playback.input(Input::Kernel(KernelEvent::Disconnected));
    playback.play("? STATUS\n= wpa_state=DISCONNECTED\n! LINK_DOWN");
    assert_eq!(playback.queried, []);
}

fn message(cmd: Nl80211Command, attributes: Vec<Nl80211Attr>) -> Nl80211Message {
    Nl80211Message { cmd, attributes }
}

#[test]
fn events_of_the_kernel_are_read_and_those_of_other_interfaces_are_not() {
    let ours = || Nl80211Attr::IfIndex(INTERFACE);
    let mac = || Nl80211Attr::Mac(AP1.0);
    let success = Nl80211Attr::StatusCode(Ieee80211StatusCode::Success);
    let failure = Nl80211Attr::StatusCode(Ieee80211StatusCode::UnspecifiedFailure);
    let low = Nl80211CqmAttr::RssiThresholdEvent(Nl80211CqmRssiThresholdEvent::Low);
    let cqm = |fields| vec![ours(), Nl80211Attr::Cqm(fields)];
    let connected = Some(KernelEvent::Connected { bssid: AP1 });
    for (message, expected) in [
        (
            message(Nl80211Command::Connect, vec![ours(), mac(), success]),
            connected.clone(),
        ),
        (
            message(Nl80211Command::Connect, vec![ours(), mac(), failure]),
            None,
        ),
        (
            message(Nl80211Command::Roam, vec![ours(), mac()]),
            connected,
        ),
        // Nothing says where to.
        (message(Nl80211Command::Roam, vec![ours()]), None),
        (
            message(Nl80211Command::Disconnect, vec![ours()]),
            Some(KernelEvent::Disconnected),
        ),
        (
            message(Nl80211Command::Disconnect, vec![Nl80211Attr::IfIndex(8)]),
            None,
        ),
        (message(Nl80211Command::Disconnect, vec![]), None),
        (
            message(Nl80211Command::NewScanResults, vec![ours()]),
            Some(KernelEvent::Scanned),
        ),
        (
            message(
                Nl80211Command::NotifyCqm,
                cqm(vec![low, Nl80211CqmAttr::RssiLevel(-77)]),
            ),
            Some(KernelEvent::Signal { dbm: -77 }),
        ),
        (
            message(
                Nl80211Command::NotifyCqm,
                cqm(vec![Nl80211CqmAttr::Other(DefaultNla::new(8, vec![]))]),
            ),
            Some(KernelEvent::BeaconLoss),
        ),
    ] {
        assert_eq!(event(&message, INTERFACE), expected, "{message:?}");
    }
}

#[test]
fn the_flag_of_the_kernel_says_whether_packets_get_through() {
    let masked = |mask: Nl80211StationFlags, set: Nl80211StationFlags| {
        let flags = Nl80211StationInfo::StationFlags(Nl80211StationFlagUpdate { mask, set });
        let fields = vec![flags, Nl80211StationInfo::Signal(-61)];
        let attributes = vec![Nl80211Attr::Mac(AP1.0), Nl80211Attr::StationInfo(fields)];
        read_peer(&message(Nl80211Command::NewStation, attributes))
    };
    let of = |set| masked(Nl80211StationFlags::all(), set);
    let expected = |authorized| {
        Some(Peer {
            bssid: AP1,
            authorized,
            dbm: Some(-61),
        })
    };
    let associated = Nl80211StationFlags::Authenticated | Nl80211StationFlags::Associated;
    assert_eq!(of(associated), expected(Some(false)));
    assert_eq!(
        of(associated | Nl80211StationFlags::Authorized),
        expected(Some(true))
    );
    // The driver knows nothing of this flag, or of any.
    assert_eq!(masked(associated, associated), expected(None));
    let silent = vec![
        Nl80211Attr::Mac(AP1.0),
        Nl80211Attr::StationInfo(vec![Nl80211StationInfo::Signal(-61)]),
    ];
    assert_eq!(
        read_peer(&message(Nl80211Command::NewStation, silent)),
        expected(None)
    );
    assert_eq!(
        read_peer(&message(Nl80211Command::NewStation, vec![])),
        None
    );
}

#[test]
fn what_the_kernel_found_is_read_as_the_supplicant_would_write_it() {
    let of = |fields| {
        bss(&message(
            Nl80211Command::NewScanResults,
            vec![Nl80211Attr::Bss(fields)],
        ))
    };
    let fields = vec![
        Nl80211BssInfo::Bssid(AP2.0),
        Nl80211BssInfo::Frequency(2437),
        Nl80211BssInfo::SignalMbm(-6050),
        Nl80211BssInfo::SeenMsAgo(1500),
        Nl80211BssInfo::RawInformationElements(b"\x01\x01\x82\x00\x04f\"\xff!".to_vec()),
    ];
    assert_eq!(
        of(fields.clone()),
        Some(Bss {
            id: None,
            bssid: AP2,
            frequency: 2437,
            dbm: -61,
            age: Some(Duration::from_millis(1500)),
            ssid: "f\\\"\\xff!".to_owned(),
        })
    );
    // What has no signal is of no use.
    let silent = |field: &Nl80211BssInfo| !matches!(field, Nl80211BssInfo::SignalMbm(_));
    assert_eq!(of(fields.into_iter().filter(silent).collect()), None);
}

proptest! {
    #[test]
    fn no_elements_of_a_beacon_make_the_reader_panic(
        octets in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = name(&octets);
    }
}
