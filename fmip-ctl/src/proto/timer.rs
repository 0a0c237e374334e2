//! A table of deadlines.

use std::collections::{BTreeMap, BTreeSet};

use super::Instant;

/// At most one deadline for each key; of equal deadlines the smaller key comes first.
#[derive(Clone, Debug)]
pub(super) struct Deadlines<K> {
    by_key: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// Sets the deadline of `key`, in place of the one it had; `None` takes it away.
    pub(super) fn set(&mut self, key: K, deadline: Option<Instant>) {
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
        if let Some(deadline) = deadline {
            self.by_key.insert(key, deadline);
            self.by_time.insert((deadline, key));
        }
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|&(deadline, _)| deadline)
    }

    /// Takes out the key whose deadline was reached first, if one was by `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let &(deadline, key) = self.by_time.first()?;
        if deadline > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_of_time_then_key() {
        let at = Instant::from_nanos;
        let mut deadlines = Deadlines::default();
        deadlines.set('b', Some(at(20)));
        deadlines.set('c', Some(at(10)));
        deadlines.set('a', Some(at(20)));
        assert_eq!(deadlines.next(), Some(at(10)));
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(20)), Some('c'));
        assert_eq!(deadlines.pop_due(at(20)), Some('a'));
        assert_eq!(deadlines.pop_due(at(20)), Some('b'));
        assert_eq!(deadlines.pop_due(at(u64::MAX)), None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one() {
        let at = Instant::from_nanos;
        let mut deadlines = Deadlines::default();
        deadlines.set((), Some(at(10)));
        deadlines.set((), Some(at(30)));
        assert_eq!(deadlines.pop_due(at(29)), None);
        deadlines.set((), None);
        assert_eq!(deadlines.next(), None);
    }
}
