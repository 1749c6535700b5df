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
fn production_is_aimed_at_after_the_record_of_the_approval_with_nothing_read_between() {
    let mut play = Play::new();
    play.until_approval();
    play.annotate(requests::APPROVE_PRODUCTION, &image('e').digest().to_string())
        .annotate(requests::APPROVED_BY, "bob");
    let recorded = |world: World| {
        let plan = next(&world);
        assert!(plan.actions.is_empty() && plan.again, "the record comes before any effect: {plan:?}");
        let written = PipelineExecution { status: Some(plan.status), ..world.execution.clone() };
        after_record(world, written)
    };
    let after = recorded(play.seen()).unwrap();
    let plan = next(&after);
    assert!(matches!(plan.actions.as_slice(), [Action::SetTarget { .. }]), "{plan:?}");
    assert_eq!(Some(&plan.status), after.execution.status.as_ref(), "one write told of both");

    // Another person's word is next, and already there: whether its policy is in force has not been looked at.
    let managed = &mut play.world.pipeline.as_mut().unwrap().spec.production.as_mut().unwrap().managed;
    managed.required = true;
    play.annotate(requests::MANAGED_GO, &image('e').digest().to_string()).annotate(requests::MANAGED_GO_BY, "sue");
    let mut world = play.seen();
    let steps = &mut world.execution.status.as_mut().unwrap().steps;
    let before = steps.iter().position(|step| step.name == StepName::DeployProduction).unwrap();
    steps.insert(before, Step::new(StepName::Managed, Some("prod".into())));
    assert!(recorded(world).is_none());
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
