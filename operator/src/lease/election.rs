//! The decisions of leader election, without a clock and without a client.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

/// What to do with the Lease that was just read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is somebody else's.
    Wait,
    /// There is none: create it.
    Create,
    /// It is ours, or free, or its holder is gone: write it.
    Write,
}

/// What one process knows of the Lease.
#[derive(Debug)]
pub struct Election {
    identity: String,
    give_up: Duration,
    seen: Option<Seen>,
    /// When our last successful write was begun: others may count from no earlier moment.
    renewed: Option<Instant>,
}

/// Somebody's lease, and since when it has not changed.
#[derive(Debug)]
struct Seen {
    holder: String,
    version: Option<String>,
    since: Instant,
}

impl Election {
    /// Nothing known. A holder stops `give_up` after the begin of its last successful renewal; that has to be
    /// less than the duration in the Lease.
    #[must_use]
    pub fn new(identity: String, give_up: Duration) -> Self {
        Self { identity, give_up, seen: None, renewed: None }
    }

    /// Decides over the Lease as it was read; `now` is not before the answer's arrival.
    pub fn look(&mut self, lease: Option<&Lease>, now: Instant) -> Decision {
        let Some(lease) = lease else {
            self.seen = None;
            return Decision::Create;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        let unchanged = self.seen.as_ref().is_some_and(|seen| seen.holder == holder && seen.version == version);
        if !unchanged {
            self.seen = Some(Seen { holder: holder.clone(), version, since: now });
        }
        let since = self.seen.as_ref().map_or(now, |seen| seen.since);
        // A Lease that states no duration, or a nonsensical one, is given the longest that is usual.
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(60);
        let over = now.saturating_duration_since(since) > Duration::from_secs(seconds.clamp(1, 3600));
        if holder.is_empty() || holder == self.identity || over { Decision::Write } else { Decision::Wait }
    }

    /// A write that was begun at `asked` succeeded.
    pub fn wrote(&mut self, asked: Instant) {
        self.renewed = Some(asked);
        self.seen = Some(Seen { holder: self.identity.clone(), version: None, since: asked });
    }

    /// Whether this process may work now.
    #[must_use]
    pub fn is_leader(&self, now: Instant) -> bool {
        self.remaining(now).is_some_and(|left| !left.is_zero()) && self.holder() == Some(&self.identity)
    }

    /// Whether this process may work or might have worked: once it did and does not any more, it has to end.
    #[must_use]
    pub const fn was_leader(&self) -> bool {
        self.renewed.is_some()
    }

    /// How long a leader may go on without another renewal.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.renewed.map(|renewed| self.give_up.saturating_sub(now.saturating_duration_since(renewed)))
    }

    /// Who held the Lease when it was last read.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.holder.as_str()).filter(|holder| !holder.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use kube::api::ObjectMeta;

    use super::*;

    /// A clock that goes when it is told to.
    struct Clock(Instant);

    impl Clock {
        fn after(&mut self, seconds: u64) -> Instant {
            self.0 += Duration::from_secs(seconds);
            self.0
        }
    }

    fn lease(holder: &str, version: u32) -> Lease {
        Lease {
            metadata: ObjectMeta { resource_version: Some(version.to_string()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    fn fresh() -> (Election, Clock) {
        (Election::new("me".into(), Duration::from_secs(10)), Clock(Instant::now()))
    }

    #[test]
    fn the_first_one_creates_and_leads() {
        let (mut me, mut clock) = fresh();
        let now = clock.after(0);
        assert_eq!(me.look(None, now), Decision::Create);
        assert!(!me.is_leader(now) && !me.was_leader());
        me.wrote(now);
        assert!(me.is_leader(clock.after(9)));
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_anyone_else_may_begin() {
        let (mut me, mut clock) = fresh();
        let start = clock.after(0);
        me.wrote(start);
        let mut other = Election::new("other".into(), Duration::from_secs(10));
        // The other saw the write at the same moment: the worst case.
        assert_eq!(other.look(Some(&lease("me", 7)), start), Decision::Wait);
        assert!(!me.is_leader(clock.after(10)) && me.was_leader());
        assert_eq!(other.look(Some(&lease("me", 7)), clock.after(5)), Decision::Wait, "15 s are not over");
        assert_eq!(other.look(Some(&lease("me", 7)), clock.after(1)), Decision::Write);
    }

    #[test]
    fn a_lease_that_goes_on_changing_is_never_taken() {
        let (mut me, mut clock) = fresh();
        for version in 0..20 {
            assert_eq!(me.look(Some(&lease("other", version)), clock.after(14)), Decision::Wait);
        }
    }

    #[test]
    fn another_start_of_the_same_pod_waits_for_the_end_of_the_lease_like_anyone() {
        let (_, mut clock) = fresh();
        let mut again = Election::new("pod_2".into(), Duration::from_secs(10));
        assert_eq!(again.look(Some(&lease("pod_1", 3)), clock.after(0)), Decision::Wait);
    }

    #[test]
    fn a_lease_that_was_given_back_is_free_at_once() {
        let (mut me, mut clock) = fresh();
        assert_eq!(me.look(Some(&lease("", 3)), clock.after(0)), Decision::Write);
    }

    #[test]
    fn a_write_whose_answer_was_lost_is_found_again() {
        let (mut me, mut clock) = fresh();
        assert_eq!(me.look(Some(&lease("me", 3)), clock.after(0)), Decision::Write);
    }

    #[test]
    fn a_leader_that_sees_another_holder_has_lost() {
        let (mut me, mut clock) = fresh();
        me.wrote(clock.after(0));
        let now = clock.after(4);
        assert_eq!(me.look(Some(&lease("other", 9)), now), Decision::Wait);
        assert!(!me.is_leader(now) && me.was_leader());
        assert_eq!(me.holder(), Some("other"));
    }

    #[test]
    fn a_deleted_lease_is_lost_until_it_is_created_again() {
        let (mut me, mut clock) = fresh();
        me.wrote(clock.after(0));
        let now = clock.after(4);
        assert_eq!(me.look(None, now), Decision::Create);
        assert!(!me.is_leader(now) && me.was_leader(), "anybody may create it now");
        me.wrote(now);
        assert!(me.is_leader(now));
    }

    #[test]
    fn a_lease_without_a_duration_is_waited_for() {
        let (mut me, mut clock) = fresh();
        let mut odd = lease("other", 1);
        odd.spec.as_mut().unwrap().lease_duration_seconds = Some(-5);
        assert_eq!(me.look(Some(&odd), clock.after(0)), Decision::Wait);
        assert_eq!(me.look(Some(&odd), clock.after(60)), Decision::Wait);
        assert_eq!(me.look(Some(&odd), clock.after(1)), Decision::Write);
    }
}
