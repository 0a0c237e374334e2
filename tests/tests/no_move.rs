//! The lab itself: without a move its network loses nothing, so that what a handover loses is its own.

use std::net::UdpSocket;

use fmip_tests::{AccessPoint, Lab, Router, testing, wait::SOON, wait_until};

#[test]
fn a_stream_of_a_node_that_stays_arrives_whole_and_in_order() {
    let Some(_turn) = testing::turn() else { return };
    let lab = Lab::build().unwrap();
    let streams = testing::a_move(0, 5000).start_streams(&lab).unwrap();
    streams.wait_for_packets(10_000, SOON).unwrap();
    let traffic = streams.stop().unwrap();
    assert!(traffic.refused.is_empty(), "{:?}", traffic.refused);
    for direction in [traffic.downlink, traffic.uplink] {
        assert!(direction.received >= 10_000, "{direction:?}");
        assert_eq!(
            (direction.lost, direction.duplicated, direction.reordered),
            (0, 0, 0),
            "{direction:?}"
        );
    }
}

#[test]
fn on_every_link_the_node_gets_the_address_of_that_link() {
    let Some(_turn) = testing::turn() else { return };
    let lab = Lab::with_third_router().unwrap();
    for access_point in [AccessPoint::New, AccessPoint::Third] {
        lab.detach().unwrap();
        lab.attach(access_point).unwrap();
        lab.solicit_routers().unwrap();
        let expected = access_point.router().care_of_address();
        wait_until("the address of the link", SOON, || {
            Ok(lab.mn_addresses()?.contains(&expected).then_some(()))
        })
        .unwrap();
    }
    // The two access points of one link.
    lab.detach().unwrap();
    lab.attach(AccessPoint::Beside).unwrap();
    let streams = testing::a_move(0, 500).start_streams(&lab).unwrap();
    streams.wait_for_packets(100, SOON).unwrap();
}

#[test]
fn another_node_holds_its_address() {
    let Some(_turn) = testing::turn() else { return };
    let lab = Lab::build().unwrap();
    let address = Router::New.care_of_address();
    let _other = lab.add_node(AccessPoint::New, address).unwrap();
    lab.nar
        .run(|| {
            let socket = UdpSocket::bind("[::]:0")?;
            socket.send_to(b"anybody there?", (address, 9))?;
            Ok(())
        })
        .unwrap();
    wait_until("the router to know the node", SOON, || {
        let neighbors = lab.nar.ip_json(&format!("-6 neigh show {address}"))?;
        Ok((neighbors[0]["lladdr"] == "02:00:00:00:00:99").then_some(()))
    })
    .unwrap();
}
