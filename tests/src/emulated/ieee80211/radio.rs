//! The lab's radio: a veth end that is a port of the access point's bridge, or of none.

use std::{io, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use fmip_ctl::{io::transmit::frame_address, wire::MacAddr};
use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoBridgePort, InfoPortData, LinkAttribute, LinkInfo, LinkMessage, LinkMode, State,
};
use rtnetlink::{Handle, LinkUnspec};
use socket2::{Domain, Socket, Type};
use tokio::task::JoinHandle;

use super::medium;
use crate::netns::NetNs;

/// How often the kernel is asked whether a link has come up.
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// After how many questions that is given up: ten seconds.
const QUESTIONS: u32 = 10_000;

/// Both ends of the radio link.
#[derive(Debug)]
pub(super) struct Radio {
    /// Where the access points are: the namespace of this process.
    air: Netlink,
    /// Where the station is.
    node: Netlink,
    /// The port, in the air.
    radio: u32,
    /// The station's interface.
    wlan: u32,
    /// Sends on the station's interface.
    frames: Socket,
}

/// A netlink connection in one namespace.
#[derive(Debug)]
struct Netlink {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Netlink {
    fn connect() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
        })
    }

    async fn link(&self, index: u32) -> Result<LinkMessage> {
        let mut links = self.handle.link().get().match_index(index).execute();
        let link = links.try_next().await?;
        link.with_context(|| format!("there is no interface with the index {index}"))
    }

    async fn index(&self, name: &str) -> Result<u32> {
        let mut links = (self.handle.link().get())
            .match_name(name.to_owned())
            .execute();
        let link = links
            .try_next()
            .await
            .with_context(|| format!("cannot look up the interface {name}"))?;
        Ok(link
            .with_context(|| format!("there is no interface {name}"))?
            .header
            .index)
    }

    async fn change(&self, message: LinkMessage) -> Result<()> {
        self.handle.link().set(message).execute().await?;
        Ok(())
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Radio {
    /// Takes over the radio: `radio` in this process's namespace, whose other end is `wlan` in the
    /// namespace of the station.
    pub(super) async fn take(radio: &str, station: &str, wlan: &str) -> Result<Self> {
        let air = Netlink::connect().context("cannot open a netlink socket")?;
        let runtime = tokio::runtime::Handle::current();
        let station = NetNs::open(station)?;
        // Sockets stay in the namespace in which they were made.
        let node = station
            .run(|| {
                let _in_runtime = runtime.enter();
                Ok(Netlink::connect()?)
            })
            .context("cannot open a netlink socket at the station")?;
        let (radio, wlan) = (air.index(radio).await?, node.index(wlan).await?);
        let frames = station
            .run(|| {
                let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
                socket.bind(&frame_address(wlan, 0, MacAddr([0; 6]))?)?;
                Ok(socket)
            })
            .context("cannot send frames at the station")?;
        let taken = Self {
            air,
            node,
            radio,
            wlan,
            frames,
        };
        taken.set_mode(LinkMode::Dormant).await?;
        Ok(taken)
    }

    /// Gives the station's interface back as it was found.
    pub(super) async fn give_back(&self) -> Result<()> {
        self.set_mode(LinkMode::Default).await
    }

    /// Whether a new carrier means that the link is up is the operating system's affair with a wire,
    /// and the supplicant's on the air: until the port is authorized the link is dormant.
    async fn set_mode(&self, mode: LinkMode) -> Result<()> {
        let message = LinkUnspec::new_with_index(self.wlan)
            .append_extra_attribute(LinkAttribute::Mode(mode))
            .build();
        (self.node.change(message).await).context("cannot set the mode of the station's interface")
    }

    /// Moves, and returns when the kernel has seen it on both ends.
    pub(super) async fn set(&self, to: medium::Radio, bridge: Option<&str>) -> Result<()> {
        let radio = || LinkUnspec::new_with_index(self.radio);
        match to {
            medium::Radio::Off => {
                // Down first: what arrives between the two is lost on the air and not flooded by the
                // bridge.
                self.air.change(radio().down().build()).await?;
                self.air.change(radio().nocontroller().build()).await?;
                self.wait_for_station(&[State::Down, State::LowerLayerDown, State::Dormant], false)
                    .await
            }
            medium::Radio::Closed => {
                self.air.change(radio().nocontroller().build()).await?;
                self.air.change(radio().up().build()).await?;
                self.wait_for_station(&[State::Dormant, State::Up], true)
                    .await
            }
            medium::Radio::Open(access_point) => {
                let bridge = bridge
                    .with_context(|| format!("the access point {access_point} has no bridge"))?;
                let bridge = self.air.index(bridge).await?;
                self.air.change(radio().controller(bridge).build()).await?;
                self.air.change(radio().up().build()).await?;
                self.wait_for_station(&[State::Dormant, State::Up], true)
                    .await?;
                self.wait_for_port().await?;
                let authorized = LinkUnspec::new_with_index(self.wlan)
                    .append_extra_attribute(LinkAttribute::OperState(State::Up))
                    .build();
                self.node.change(authorized).await?;
                self.wait_for_station(&[State::Up], true).await
            }
        }
    }

    async fn wait_for_station(&self, states: &[State], carrier: bool) -> Result<()> {
        for _ in 0..QUESTIONS {
            let link = self.node.link(self.wlan).await?;
            let state = link
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    LinkAttribute::OperState(state) => Some(*state),
                    _ => None,
                });
            let has_carrier = link.attributes.iter().any(
                |attribute| matches!(attribute, LinkAttribute::Carrier(carrier) if *carrier != 0),
            );
            if has_carrier == carrier && state.is_some_and(|state| states.contains(&state)) {
                return Ok(());
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        bail!("the station's interface does not come into one of the states {states:?}")
    }

    async fn wait_for_port(&self) -> Result<()> {
        for _ in 0..QUESTIONS {
            if forwards(&self.air.link(self.radio).await?) {
                return Ok(());
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        bail!("the port of the access point's bridge does not forward")
    }

    /// The layer 2 update frame, as if from the station: all bridges learn where it is.
    pub(super) fn send_layer_2_update(&self, station: MacAddr) -> Result<()> {
        let frame = layer_2_update(station);
        let sent = (self.frames.send(&frame)).context("cannot send the layer 2 update frame")?;
        ensure!(sent == frame.len(), "the layer 2 update frame was cut");
        Ok(())
    }
}

fn forwards(link: &LinkMessage) -> bool {
    use netlink_packet_route::link::BridgePortState;
    (link.attributes.iter())
        .filter_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        })
        .flatten()
        .any(|info| match info {
            LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                port.contains(&InfoBridgePort::State(BridgePortState::Forwarding))
            }
            _ => false,
        })
}

/// The frame that an access point sends for a station that has come: an 802.2 XID response of the
/// null link service, to all (IEEE Std 802.11F-2003 section 6.2.3; what Linux's own access points send).
fn layer_2_update(station: MacAddr) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(station.0);
    // The length of what follows; then the two link service access points (null, and null with the
    // response bit), control (XID), and its contents: format, class 1, receive window 1.
    frame.extend([0, 6, 0x00, 0x01, 0xaf, 0x81, 1, 1 << 1]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layer_2_update_frame_comes_from_the_station_and_goes_to_all() {
        let station = MacAddr([2, 0, 0, 0, 0, 1]);
        let frame = layer_2_update(station);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], station.0);
        let length = usize::from(u16::from_be_bytes([frame[12], frame[13]]));
        assert_eq!(frame.len(), 14 + length);
        assert_eq!(frame[16], 0xaf, "XID, final bit clear");
    }
}
