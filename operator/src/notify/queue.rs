//! Whose events are sent next: names only, so that memory grows with executions that have something to tell and with
//! nothing else.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// An execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a try has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing left to tell.
    Told,
    /// Somebody did not take an event; these arrived meanwhile: address and id.
    Again(BTreeSet<(String, String)>),
}

/// How many executions of one namespace are told of at once: a slow address of one program holds up no other.
const OF_NAMESPACE: usize = 2;
/// The first pause after a try that failed, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(10));

/// One execution that has something to tell.
#[derive(Debug)]
struct Entry {
    due: Instant,
    failed: u32,
    busy: bool,
    /// More happened while it was busy.
    more: bool,
    arrived: BTreeSet<(String, String)>,
}

/// A try to make.
#[derive(Debug, PartialEq, Eq)]
pub struct Try {
    /// Of which execution.
    pub key: Key,
    /// How many tries have failed before it.
    pub failed: u32,
    /// What has arrived before: address and id.
    pub arrived: BTreeSet<(String, String)>,
}

/// Executions that have something to tell.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<Key, Entry>,
}

impl Queue {
    /// An execution has something to tell. One that waits after a failure goes on waiting.
    pub fn tell(&mut self, key: Key, now: Instant) {
        let fresh = Entry { due: now, failed: 0, busy: false, more: false, arrived: BTreeSet::new() };
        let entry = self.entries.entry(key).or_insert(fresh);
        entry.more = entry.busy;
    }

    /// The next try that may be made now.
    pub fn take(&mut self, now: Instant) -> Option<Try> {
        let key = self.ready(now).map(|(key, _)| key.clone())?;
        let entry = self.entries.get_mut(&key)?;
        (entry.busy, entry.more) = (true, false);
        Some(Try { key, failed: entry.failed, arrived: entry.arrived.clone() })
    }

    fn ready(&self, now: Instant) -> Option<(&Key, &Entry)> {
        let mut busy: HashMap<&str, usize> = HashMap::new();
        for (key, _) in self.entries.iter().filter(|(_, entry)| entry.busy) {
            *busy.entry(&key.namespace).or_default() += 1;
        }
        self.entries
            .iter()
            .filter(|(key, entry)| {
                let free = busy.get(key.namespace.as_str()).is_none_or(|count| *count < OF_NAMESPACE);
                !entry.busy && entry.due <= now && free
            })
            .min_by_key(|(key, entry)| (entry.due, (*key).clone()))
    }

    /// When there may be something to do next; none while nothing waits.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.entries.values().filter(|entry| !entry.busy).map(|entry| entry.due).min()
    }

    /// A try was made.
    pub fn done(&mut self, key: &Key, outcome: Outcome, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.busy = false;
        match outcome {
            Outcome::Told if entry.more => (entry.due, entry.failed, entry.arrived) = (now, 0, BTreeSet::new()),
            Outcome::Told => {
                self.entries.remove(key);
            }
            Outcome::Again(arrived) => {
                let (first, longest) = PAUSES;
                entry.due = now + first.saturating_mul(2_u32.saturating_pow(entry.failed.min(16))).min(longest);
                entry.failed = entry.failed.saturating_add(1);
                entry.arrived = arrived;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.tell(key("a", "1"), now);
        let mut pauses = vec![];
        for _ in 0..40 {
            let taken = queue.take(now).unwrap();
            queue.done(&taken.key, Outcome::Again(BTreeSet::new()), now);
            let due = queue.next().unwrap();
            pauses.push((due - now).as_secs());
            assert_eq!(queue.take(now), None, "not before");
            now = due;
        }
        assert_eq!((pauses[0], pauses[1], pauses[39]), (2, 4, 600));
    }

    #[test]
    fn news_while_a_try_is_made_are_told_after_it_and_not_at_once_after_a_failure() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.tell(key("a", "1"), now);
        queue.take(now).unwrap();
        queue.tell(key("a", "1"), now);
        assert_eq!(queue.take(now), None, "one at a time");
        queue.done(&key("a", "1"), Outcome::Told, now);
        assert!(queue.take(now).is_some());
        queue.tell(key("a", "1"), now);
        queue.done(&key("a", "1"), Outcome::Again(BTreeSet::new()), now);
        assert_eq!(queue.take(now), None, "who does not answer is not asked faster because more happens");
        let later = queue.next().unwrap();
        queue.take(later).unwrap();
        queue.done(&key("a", "1"), Outcome::Told, later);
        assert_eq!((queue.next(), queue.entries.len()), (None, 0), "nothing is kept of what was told");
    }

    #[test]
    fn a_program_whose_addresses_are_slow_holds_up_no_other() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for name in 0..100 {
            queue.tell(key("slow", &name.to_string()), now);
        }
        queue.tell(key("other", "1"), now + Duration::from_secs(1));
        let now = now + Duration::from_secs(2);
        let taken: Vec<_> = std::iter::from_fn(|| queue.take(now)).map(|taken| taken.key.namespace).collect();
        assert_eq!(taken, ["slow", "slow", "other"]);
    }
}
