//! Packets that go to a link-layer address, whatever the neighbor table says.

use std::{io::Read as _, time::Instant};

use bytes::Bytes;
use fmip_ctl::{io::transmit::Transmitter, proto::Transmit};
use socket2::{Domain, Protocol, Socket, Type};

use super::*;

/// The Ethernet type of IPv6.
const IPV6: u16 = 0x86dd;

/// A packet without a payload (next header 59) to `destination`.
fn packet(destination: &str) -> Bytes {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 255];
    packet.extend(address("fe80::ff:fe00:11").octets());
    packet.extend(address(destination).octets());
    packet.into()
}

// Rows: NAK-03
#[test]
fn a_frame_goes_to_the_link_layer_address_that_is_given() {
    let Some(setup) = Setup::new() else { return };
    let destination = "2001:db8:1::ff:fe00:1";
    // The neighbor table knows somebody else by that address.
    setup
        .namespace
        .ip(&format!(
            "-6 neigh add {destination} lladdr 02:00:00:00:00:77 dev acc0 nud permanent"
        ))
        .unwrap();
    let frame = setup.run(|| async {
        let (_netlink, acc0) = connected().await?;
        let protocol = Protocol::from(i32::from(IPV6.to_be()));
        let mut receiver = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        receiver.set_read_timeout(Some(SOON))?;
        let packet = packet(destination);
        let transmit = Transmit {
            interface: Some(acc0.index),
            link_destination: Some(link_address("02:00:00:00:00:01")),
            bytes: packet.clone(),
        };
        Transmitter::new()?.send(&transmit)?;
        let deadline = Instant::now() + SOON;
        loop {
            let mut frame = vec![0; 2_048];
            let length = receiver.read(&mut frame)?;
            frame.truncate(length);
            if frame.ends_with(&packet) {
                return Ok(frame);
            }
            ensure!(Instant::now() < deadline, "the frame does not come");
        }
    });
    assert_eq!(frame[..6], [2, 0, 0, 0, 0, 1]);
    assert_eq!(frame[6..12], [2, 0, 0, 0, 0, 0x11]);
    assert_eq!(frame[12..14], IPV6.to_be_bytes());
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_reason() {
    let Some(setup) = Setup::new() else { return };
    setup.run(|| async {
        let transmitter = Transmitter::new()?;
        let send = |transmit| transmitter.send(&transmit).unwrap_err().to_string();
        let transmit = Transmit {
            interface: None,
            link_destination: Some(link_address("02:00:00:00:00:01")),
            bytes: packet("2001:db8:1::9"),
        };
        assert_eq!(
            send(transmit.clone()),
            "a packet to 02:00:00:00:00:01 without a link that it is for"
        );
        let short = Transmit {
            bytes: Bytes::from_static(&[0x60; 39]),
            ..transmit.clone()
        };
        assert_eq!(send(short), "a packet without an IPv6 header");
        let nowhere = Transmit {
            interface: Some(9_999),
            ..transmit
        };
        assert_eq!(send(nowhere), "cannot send signalling to 2001:db8:1::9");
        Ok(())
    });
}
