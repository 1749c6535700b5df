//! Whose word counts as an approval.

use super::*;

#[test]
fn an_approval_counts_only_with_the_right_digest_the_right_person_and_the_guard() {
    for (value, by, guard, reason) in [
        (image('d').digest().to_string(), "bob", in_force(), reasons::APPROVAL_MALFORMED),
        (image('e').digest().to_string(), "ann", in_force(), reasons::APPROVAL_MALFORMED),
        (image('e').digest().to_string(), "", in_force(), reasons::APPROVAL_MALFORMED),
        ("yes".into(), "bob", in_force(), reasons::APPROVAL_MALFORMED),
        (image('e').digest().to_string(), "bob", Guard::Missing("the binding".into()), reasons::APPROVAL_GUARD_MISSING),
    ] {
        let mut play = Play::new();
        play.until_approval();
        play.world.guard = guard;
        play.annotate(requests::APPROVE_PRODUCTION, &value).annotate(requests::APPROVED_BY, by).run();
        assert_eq!(play.step(StepName::ApprovalProduction), (StepState::Waiting, reason), "{value} by {by}");
        assert!(play.status("prod").target.is_none());
        let stalled =
            conditions::get(&play.world.execution.status.as_ref().unwrap().conditions, types::STALLED).unwrap();
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", reason));
    }
}

#[test]
fn an_approval_that_is_older_than_the_guard_or_of_unknown_age_does_not_count() {
    for (written, state) in [
        (Some("2026-10-31T00:00:00Z"), StepState::Waiting),
        (None, StepState::Waiting),
        (Some("2026-11-21T09:00:00Z"), StepState::Finished),
    ] {
        let mut play = Play::new();
        play.until_approval();
        play.world.execution.metadata.managed_fields = written.map(|time| vec![annotator(time)]);
        play.approved("bob");
        assert_eq!(play.step(StepName::ApprovalProduction).0, state, "{written:?}");
    }
}
