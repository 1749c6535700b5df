//! Deliveries that were taken, so that none is taken twice.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use crate::observe::source::Key;

/// How many deliveries are remembered, about half a megabyte.
const MEMORY: usize = 4096;
/// How long one is remembered.
const WINDOW: Duration = Duration::from_secs(3600);

/// The memory. Only what was verified enters it, so strangers cannot fill it; the oldest leave first. A delivery that was
/// forgotten and comes again costs one question to its source.
#[derive(Default)]
pub struct Replays {
    known: HashSet<(Key, [u8; 32])>,
    order: VecDeque<(Instant, (Key, [u8; 32]))>,
}

impl Replays {
    /// Whether a delivery for a pipeline was never seen; it is remembered then.
    pub fn is_new(&mut self, key: &Key, fingerprint: [u8; 32], now: Instant) -> bool {
        while let Some((at, _)) = self.order.front()
            && (self.order.len() >= MEMORY || now.saturating_duration_since(*at) > WINDOW)
        {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        let delivery = (key.clone(), fingerprint);
        let new = self.known.insert(delivery.clone());
        if new {
            self.order.push_back((now, delivery));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(number: u64) -> [u8; 32] {
        let mut print = [0; 32];
        print[..8].copy_from_slice(&number.to_le_bytes());
        print
    }

    #[test]
    fn a_delivery_is_new_once_for_each_pipeline() {
        let (mut replays, now) = (Replays::default(), Instant::now());
        let (one, other) = (Key::new("wknd", "one"), Key::new("wknd", "other"));
        assert!(replays.is_new(&one, print(1), now));
        assert!(!replays.is_new(&one, print(1), now));
        assert!(replays.is_new(&other, print(1), now), "one webhook of an organisation tells two pipelines");
        assert!(replays.is_new(&one, print(1), now + WINDOW + Duration::from_secs(1)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let (mut replays, now) = (Replays::default(), Instant::now());
        let key = Key::new("wknd", "one");
        for number in 0..10_000 {
            assert!(replays.is_new(&key, print(number), now));
        }
        assert_eq!((replays.known.len(), replays.order.len()), (MEMORY, MEMORY));
        assert!(!replays.is_new(&key, print(9_999), now), "the newest stay");
    }
}
