//! Waits: that each has an end, that the end is told before it comes, and who may wait for what.

use launchway_crds::execution::Mode;

use super::*;

impl Play {
    fn wake(&self) -> jiff::SignedDuration {
        let mut seen = self.seen();
        seen.guard = Guard::NotLookedAt;
        next(&seen).wake.unwrap().duration_since(self.world.now)
    }
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

#[test]
fn a_wait_tells_a_day_before_its_end_and_writes_nothing_else() {
    let mut play = Play::new();
    play.until_approval();
    let writes = play.writes;
    assert_eq!(play.wake(), DAY * 13);
    play.later(DAY * 12);
    assert_eq!((play.writes, play.waiting().expiring_since), (writes, None), "waiting costs nothing");
    play.later(DAY);
    assert_eq!((play.writes, play.waiting().expiring_since), (writes + 1, Some(Time(play.world.now))));
    assert_eq!(play.wake(), DAY);
    play.later(SignedDuration::from_hours(23));
    assert_eq!(play.writes, writes + 1, "told once");
    play.later(SignedDuration::from_hours(1));
    assert_eq!(play.step(StepName::ApprovalProduction), (StepState::Cancelled, reasons::TIMED_OUT));
}

#[test]
fn a_short_wait_tells_when_a_fifth_of_it_is_left() {
    let mut play = Play::new();
    play.world.pipeline.as_mut().unwrap().spec.production.as_mut().unwrap().approval.timeout = "10m".parse().unwrap();
    play.until_approval();
    play.later(SignedDuration::from_secs(479));
    assert_eq!(play.waiting().expiring_since, None);
    play.later(SignedDuration::from_secs(1));
    assert!(play.waiting().expiring_since.is_some());
}

#[test]
fn a_hold_is_waited_for_until_its_own_end_whatever_it_is_called_meanwhile() {
    let mut play = Play::new();
    let hold = |why: &str| serde_json::from_value(serde_json::json!({ "reason": why })).unwrap();
    play.world.pipeline.as_mut().unwrap().spec.closed_timeout = "48h".parse().unwrap();
    play.world.production.as_mut().unwrap().spec.hold = hold("incident 1");
    play.until_approval().approved("bob");
    let since = play.waiting().since;
    assert_eq!(play.waiting().until, Some(Time(since.0.checked_add(DAY * 2).unwrap())));
    play.world.production.as_mut().unwrap().spec.hold = hold("incident 2");
    play.later(DAY * 2 - SignedDuration::from_hours(9));
    assert_eq!(play.waiting().since, since, "another word for it is no other wait");
    assert!(play.waiting().expiring_since.is_some());
    play.later(SignedDuration::from_hours(9));
    assert_eq!(play.step(StepName::DeployProduction), (StepState::Cancelled, reasons::TIMED_OUT));
    assert!(play.status("prod").target.is_none());
}

#[test]
fn a_window_that_opens_in_time_is_waited_for_without_a_warning() {
    let mut play = Play::new();
    // A Friday evening, long before Monday.
    play.world.production.as_mut().unwrap().spec.windows = serde_json::from_value(serde_json::json!([
        { "kind": "Deny", "schedule": "0 0 * * SAT", "duration": "48h", "timeZone": "UTC" }
    ]))
    .unwrap();
    play.until_approval().approved("bob");
    assert_eq!(play.step(StepName::DeployProduction), (StepState::Waiting, reasons::WINDOW_CLOSED));
    assert_eq!(play.waiting().until.unwrap().0.to_string(), "2026-11-23T00:00:00Z");
    play.later(SignedDuration::from_hours(37));
    assert_eq!(play.waiting().expiring_since, None);
    play.later(SignedDuration::from_hours(1));
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::Running);
}

/// An emergency that was created while nobody judged it, by somebody without the verb.
#[test]
fn an_emergency_counts_only_if_the_policy_was_there_when_it_was_created() {
    let emergency = |created: &str, guard: Guard| {
        let mut play = Play::new();
        play.world.execution.spec.mode = Mode::Emergency;
        play.world.execution.spec.reason = Some("the site is down".into());
        play.world.production.as_mut().unwrap().spec.emergency_mode = serde_json::from_value("Enabled".into()).unwrap();
        play.world.execution.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
        play.world.guard = guard;
        play
    };
    for (created, guard) in [
        ("2026-10-31T00:00:00Z", in_force()),
        ("2026-11-21T09:00:00Z", Guard::Missing("ValidatingAdmissionPolicy x is missing".into())),
    ] {
        let mut play = emergency(created, guard.clone());
        assert_eq!(play.run().result(), reasons::FAILED, "{guard:?}");
        assert_eq!(play.step(StepName::Validate).1, reasons::EMERGENCY_UNGUARDED);

        // That its pipeline comes later is no way around it.
        let mut play = emergency(created, guard);
        play.world.pipeline = None;
        assert_eq!(play.run().result(), reasons::FAILED);
    }
    let mut play = emergency("2026-11-21T09:00:00Z", in_force());
    play.run();
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
    // An upgrade of the installation takes nothing away from what was judged.
    let mut play = emergency("2026-11-21T09:00:00Z", in_force());
    play.world.siblings.older = Some("wknd-0".into());
    play.run();
    let since = play.world.now;
    (play.world.guard, play.world.siblings) = (Guard::InForce { since, creations_since: since }, Siblings::default());
    play.run();
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
}

/// Who approves must not have asked: nobody knows who asked for what was created while nobody looked.
#[test]
fn an_execution_that_is_older_than_the_policy_of_creations_cannot_be_approved() {
    for (created, state) in
        [("2026-10-31T00:00:00Z", StepState::Waiting), ("2026-11-21T09:00:00Z", StepState::Finished)]
    {
        let mut play = Play::new();
        play.world.execution.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
        play.until_approval().approved("bob");
        assert_eq!(play.step(StepName::ApprovalProduction).0, state, "{created}");
    }
}
