//! The account of what arrived.

use std::time::Duration;

use serde::Serialize;

use super::header::StreamHeader;

/// How many packets may have arrived between the first and the last one of those that were lost in one gap: at
/// its ends some get through.
const STRAYS: u64 = 2;

/// What became of one direction's packets.
#[derive(Copy, Clone, Debug, Default, PartialEq, Serialize)]
pub struct Direction {
    /// Packets the sender sent, those included that the system refused to send.
    pub sent: u64,
    /// Different packets that arrived.
    pub received: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Arrivals of packets that had arrived before.
    pub duplicated: u64,
    /// Packets that arrived after one sent later.
    pub reordered: u64,
    /// The longest time between two arrivals, in milliseconds.
    pub longest_gap_ms: f64,
    /// The longest time a packet was under way, in milliseconds.
    #[serde(skip)]
    pub longest_delay_ms: f64,
    /// In how many gaps packets were lost: runs of numbers that never arrived, but for two at most.
    #[serde(skip)]
    pub gaps: u64,
}

/// The way of one packet; times are since the streams' start.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// When it was sent.
    pub sent: Duration,
    /// When it arrived first, if it did.
    pub arrived: Option<Duration>,
}

/// The account of one receiver.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// One bit per sequence number.
    seen: Vec<u64>,
    pub(super) received: u64,
    duplicated: u64,
    reordered: u64,
    highest: Option<u64>,
    last_arrival: Option<Duration>,
    longest_gap: Duration,
    longest_delay: Duration,
    /// Sequence number and time of every first arrival.
    arrivals: Vec<(u64, Duration)>,
}

impl Account {
    /// Enters the arrival, at `now` since the streams' start, of the packet with `header`. Returns whether
    /// this packet is the newest of all so far.
    pub(super) fn enter(&mut self, header: StreamHeader, now: Duration) -> bool {
        let StreamHeader { sequence, time } = header;
        let delay = now.saturating_sub(Duration::from_nanos(time));
        self.longest_delay = self.longest_delay.max(delay);
        if let Some(last) = self.last_arrival.replace(now) {
            self.longest_gap = self.longest_gap.max(now.saturating_sub(last));
        }
        let word = (sequence / 64) as usize;
        let bit = 1 << (sequence % 64);
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicated += 1;
            return false;
        }
        self.seen[word] |= bit;
        self.received += 1;
        self.arrivals.push((sequence, now));
        if self.highest.is_some_and(|highest| sequence < highest) {
            self.reordered += 1;
            return false;
        }
        self.highest = Some(sequence);
        true
    }

    pub(super) fn close(&self, sent: u64) -> Direction {
        Direction {
            sent,
            received: self.received,
            lost: sent.saturating_sub(self.received),
            duplicated: self.duplicated,
            reordered: self.reordered,
            longest_gap_ms: milliseconds(self.longest_gap),
            longest_delay_ms: milliseconds(self.longest_delay),
            gaps: self.gaps(sent),
        }
    }

    fn gaps(&self, sent: u64) -> u64 {
        let mut gaps = 0;
        // What has arrived since the gap began, if it goes on.
        let mut strays = None;
        for sequence in 0..sent {
            if self.has_seen(sequence) {
                strays = strays
                    .map(|strays| strays + 1)
                    .filter(|strays| *strays <= STRAYS);
            } else if strays.is_none() {
                gaps += 1;
                strays = Some(0);
            }
        }
        gaps
    }

    fn has_seen(&self, sequence: u64) -> bool {
        let word = self.seen.get((sequence / 64) as usize).copied();
        word.unwrap_or(0) & (1 << (sequence % 64)) != 0
    }

    /// What became of the packets that were `sent` at these times.
    pub(super) fn passages(&self, sent: &[Duration]) -> Vec<Passage> {
        let mut passages: Vec<Passage> = sent
            .iter()
            .map(|&sent| Passage {
                sent,
                arrived: None,
            })
            .collect();
        for &(sequence, arrived) in &self.arrivals {
            let place = usize::try_from(sequence).ok();
            if let Some(passage) = place.and_then(|place| passages.get_mut(place)) {
                passage.arrived = Some(arrived);
            }
        }
        passages
    }
}

/// To the microsecond: what lies below is not the network's.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u64) -> StreamHeader {
        StreamHeader { sequence, time: 0 }
    }

    fn account_of(arrivals: &[u64]) -> Account {
        let mut account = Account::default();
        for (n, sequence) in arrivals.iter().enumerate() {
            account.enter(header(*sequence), Duration::from_millis(n as u64));
        }
        account
    }

    fn counts(arrivals: &[u64], sent: u64) -> (u64, u64, u64, u64) {
        let direction = account_of(arrivals).close(sent);
        (
            direction.received,
            direction.lost,
            direction.duplicated,
            direction.reordered,
        )
    }

    #[test]
    fn a_perfect_stream_has_nothing_lost_duplicated_or_reordered() {
        let all: Vec<u64> = (0..200).collect();
        assert_eq!(counts(&all, 200), (200, 0, 0, 0));
    }

    #[test]
    fn missing_packets_are_lost_also_at_the_end() {
        assert_eq!(counts(&[0, 1, 3], 6), (3, 3, 0, 0));
    }

    #[test]
    fn a_second_arrival_is_a_duplicate_and_not_reordered() {
        assert_eq!(counts(&[0, 1, 2, 1], 3), (3, 0, 1, 0));
    }

    #[test]
    fn duplicates_do_not_make_up_for_losses() {
        assert_eq!(counts(&[0, 0, 0], 3), (1, 2, 2, 0));
    }

    #[test]
    fn each_packet_behind_a_later_one_is_reordered() {
        assert_eq!(counts(&[0, 3, 1, 2, 4], 5), (5, 0, 0, 2));
    }

    #[test]
    fn what_was_lost_in_one_go_is_one_gap() {
        let gaps = |arrivals: &[u64], sent| account_of(arrivals).close(sent).gaps;
        let but = |lost: &[u64]| -> Vec<u64> {
            let all = 0..200;
            all.filter(|sequence| !lost.contains(sequence)).collect()
        };
        let run: Vec<u64> = (60..140).collect();
        assert_eq!(gaps(&but(&[]), 200), 0);
        assert_eq!(gaps(&but(&run), 200), 1);
        assert_eq!(gaps(&[], 200), 1);
        assert_eq!(gaps(&[0, 1], 200), 1);
        // One gets through at each end.
        assert_eq!(gaps(&but(&[&[58][..], &run, &[141]].concat()), 200), 1);
        // Far from it, or too many.
        assert_eq!(gaps(&but(&[&[20][..], &run].concat()), 200), 2);
        assert_eq!(gaps(&but(&[&run[..], &[144]].concat()), 200), 2);
        let every_other: Vec<u64> = (60..140).step_by(2).collect();
        assert_eq!(gaps(&but(&every_other), 200), 14);
    }

    #[test]
    fn the_longest_gap_is_between_arrivals() {
        let mut account = Account::default();
        for (sequence, at) in [(0, 0), (1, 10), (2, 260), (3, 270)] {
            account.enter(header(sequence), Duration::from_millis(at));
        }
        assert_eq!(account.close(4).longest_gap_ms, 250.0);
    }

    #[test]
    fn the_longest_delay_is_from_sending_to_arrival() {
        let mut account = Account::default();
        for (sequence, sent, at) in [(0, 0, 1), (1, 10, 17), (2, 20, 22)] {
            let time = sent * 1_000_000;
            account.enter(StreamHeader { sequence, time }, Duration::from_millis(at));
        }
        assert_eq!(account.close(3).longest_delay_ms, 7.0);
    }

    #[test]
    fn every_packet_has_its_way_and_a_lost_one_no_end() {
        let ms = Duration::from_millis;
        let mut account = Account::default();
        for (sequence, at) in [(2, 3), (0, 4), (2, 9)] {
            account.enter(header(sequence), ms(at));
        }
        let way = |sent, arrived: Option<u64>| Passage {
            sent: ms(sent),
            arrived: arrived.map(ms),
        };
        assert_eq!(
            account.passages(&[ms(0), ms(1), ms(2)]),
            [way(0, Some(4)), way(1, None), way(2, Some(3))]
        );
    }

    #[test]
    fn only_the_newest_packet_tells_where_the_node_is() {
        let now = Duration::ZERO;
        let mut account = Account::default();
        assert!(account.enter(header(5), now));
        assert!(!account.enter(header(4), now));
        assert!(!account.enter(header(5), now));
        assert!(account.enter(header(6), now));
    }
}
