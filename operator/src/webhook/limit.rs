//! How many requests are looked at: of all senders together, and of those who know a pipeline's secret.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::observe::source::Key;

/// Requests of anybody, at once and each second. Each costs a look into memory, and at most every half minute a Secret.
const ALL: Rate = Rate { burst: 100.0, second: 50.0 };
/// Verified requests for one pipeline, at once and each second.
const ONE: Rate = Rate { burst: 20.0, second: 1.0 };
/// After so long without a request a pipeline's allowance is full, and forgotten.
const FULL: Duration = Duration::from_secs(60);
/// How many pipelines' allowances are kept.
const KEPT: usize = 10_000;

#[derive(Clone, Copy)]
struct Rate {
    burst: f64,
    second: f64,
}

/// An allowance that fills up again.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, at: Instant) -> Self {
        Self { left: rate.burst, at }
    }

    fn takes(&mut self, rate: Rate, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = passed.mul_add(rate.second, self.left).min(rate.burst);
        self.at = now;
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

/// All allowances.
#[derive(Default)]
pub struct Limits {
    all: Option<Bucket>,
    each: HashMap<Key, Bucket>,
}

impl Limits {
    /// Whether a request of anybody is looked at.
    pub fn admits(&mut self, now: Instant) -> bool {
        self.all.get_or_insert_with(|| Bucket::full(ALL, now)).takes(ALL, now)
    }

    /// Whether a verified request for a pipeline is followed. What strangers send does not use up this allowance.
    pub fn admits_for(&mut self, key: &Key, now: Instant) -> bool {
        if self.each.len() >= KEPT {
            self.each.retain(|_, bucket| now.saturating_duration_since(bucket.at) < FULL);
        }
        self.each.entry(key.clone()).or_insert_with(|| Bucket::full(ONE, now)).takes(ONE, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_ends_and_fills_up_again() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let key = Key::new("wknd", "one");
        let taken = (0..100).filter(|_| limits.admits_for(&key, now)).count();
        assert_eq!(taken, 20);
        assert!(limits.admits_for(&Key::new("wknd", "other"), now), "each pipeline has its own");
        assert!(limits.admits_for(&key, now + Duration::from_secs(1)));
        assert!(!limits.admits_for(&key, now + Duration::from_secs(1)));
        let taken = (0..1000).filter(|_| limits.admits(now)).count();
        assert_eq!(taken, 100);
    }
}
