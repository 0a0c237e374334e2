//! What `fmip-ctl status` tells.

use anyhow::Result;
use serde_json::Value;

use super::{Controller, Sources};
use crate::{
    config::Role,
    io::machine::now,
    observe::{BufferStatus, Count, DataPathCounts, Status},
    proto::{HandoverStatus, Instant},
};

impl Controller {
    pub(super) fn status(&self, sources: &Sources) -> Result<Status> {
        let signals = sources.signals.counters();
        let maps = self.executor.maps();
        let counts = maps.counts()?;
        let packets_of = |reason| {
            counts
                .iter()
                .find(|(counted, _)| *counted == reason)
                .map_or(0, |(_, count)| count.packets)
        };
        Ok(Status {
            role: self.config.role.name().to_owned(),
            uptime_s: self.started.elapsed().as_secs_f64(),
            reasons: counts
                .iter()
                .map(|(reason, count)| {
                    let count = Count {
                        packets: count.packets,
                        bytes: count.bytes,
                    };
                    (reason.name().to_owned(), count)
                })
                .collect(),
            signalling: serde_json::to_value(self.machine.counters())?,
            handovers: self
                .machine
                .handovers()
                .iter()
                .map(|handover| described(handover, now()))
                .collect::<Result<_, _>>()?,
            buffers: maps
                .buffers()?
                .into_iter()
                .map(|buffer| BufferStatus {
                    address: buffer.address,
                    held: buffer.held,
                    released: buffer.released,
                    dropped: buffer.dropped,
                    waiting: buffer.waiting,
                })
                .collect(),
            damping: matches!(self.config.role, Role::MobileNode(_)).then(|| self.link.damped()),
            link_layer: (self.link.counts().into_iter())
                .map(|(name, number)| (name.to_owned(), number))
                .collect(),
            failed_handovers: self.link.failed().clone(),
            held: packets_of(fmip_common::reason::Reason::Held),
            released: packets_of(fmip_common::reason::Reason::Released),
            data_path: DataPathCounts {
                signals_received: signals.received,
                signals_cut: signals.cut,
                events_lost: sources.events.all_lost()?,
            },
            hostapd: self.hostapds.status(),
            unknown_stations: self.hostapds.unknown_stations(),
            ..Status::default()
        })
    }
}

/// A handover as `status` shows it: with the time that it has left, for those who do not know what
/// the kernel's clock shows.
fn described(handover: &HandoverStatus, now: Instant) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(handover)?;
    if let (Some(expires), Value::Object(fields)) = (handover.expires_ns, &mut value) {
        let left = expires - now;
        fields.insert("expires_in_s".to_owned(), left.as_secs_f64().into());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Role;

    #[test]
    fn a_handover_says_how_long_it_has_left() {
        let handover = HandoverStatus {
            role: Role::Par,
            state: "tunnelling",
            pcoa: "2001:db8:1::9".parse().unwrap(),
            ncoa: None,
            peer: "2001:db8:2::1".parse().unwrap(),
            expires_ns: Some(Instant::from_nanos(5_500_000_000)),
        };
        let at = |now| described(&handover, Instant::from_nanos(now)).unwrap();
        assert_eq!(at(3_000_000_000)["expires_in_s"], 2.5);
        assert_eq!(at(3_000_000_000)["expires_ns"], 5_500_000_000_u64);
        // Its end is due.
        assert_eq!(at(6_000_000_000)["expires_in_s"], 0.0);
        let endless = HandoverStatus {
            expires_ns: None,
            ..handover
        };
        let value = described(&endless, Instant::from_nanos(0)).unwrap();
        assert!(value.get("expires_in_s").is_none());
    }
}
