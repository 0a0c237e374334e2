//! What the hostapds of a router's access points write, and where the stations are by that.
//!
//! The input is text in paragraphs, as that of [`supplicant`](super::supplicant). The first character
//! says which access point writes it, 1 to 3: the first two are on one link. A paragraph of one
//! character is the empty answer that ends a list of stations.

use std::{collections::BTreeSet, time::Duration};

use fmip_ctl::{link::ieee80211::spoken::AccessPoints, proto::Instant};

use super::supplicant::paragraphs;

const LINKS: [(u64, u32); 3] = [(1, 3), (2, 3), (3, 4)];
const LONGEST_COMPLAINT: usize = 4_000;

/// Plays the paragraphs, one every second.
pub fn run(data: &[u8]) {
    let mut access_points = AccessPoints::default();
    for (access_point, interface) in LINKS {
        access_points.add(access_point, interface);
    }
    let mut there = BTreeSet::new();
    let mut now = Instant::from_nanos(1_000_000_000_000);
    for paragraph in paragraphs(data) {
        now = now + Duration::from_secs(1);
        let Some((who, said)) = paragraph.split_first() else {
            continue;
        };
        let access_point = match who {
            b'1' => 1,
            b'2' => 2,
            b'3' => 3,
            _ => continue,
        };
        match access_points.say(now, access_point, said) {
            Ok(moves) => {
                for of in moves {
                    let place = (of.interface, of.station);
                    match of.came {
                        true => drop(there.insert(place)),
                        false => assert!(there.remove(&place), "{of:?}: it was not there"),
                    }
                }
            }
            Err(error) => {
                assert!(
                    error.len() <= LONGEST_COMPLAINT && !error.contains('\n'),
                    "{error}"
                );
            }
        }
        let counted: usize = LINKS.iter().map(|(id, _)| access_points.count(*id)).sum();
        assert_eq!(counted, there.len());
    }
}
