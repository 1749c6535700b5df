//! Whose turn it is, when several executions want the same.

use super::*;
use crate::{
    outline::ExecutionOutline,
    plan::execution::queue::{ahead, siblings},
};

/// Another execution of the pipeline, as it is right after its creation.
fn other(name: &str, created: &str) -> PipelineExecution {
    let mut other = Play::new().world.execution;
    other.metadata.name = Some(name.into());
    other.metadata.uid = Some(format!("uid-of-{name}"));
    other.metadata.creation_timestamp = Some(Time(created.parse().unwrap()));
    other
}

const AT: &str = "2026-11-21T09:59:00Z";
const LATER: &str = "2026-11-21T09:59:30Z";

fn created(play: &mut Play) {
    play.world.execution.metadata.creation_timestamp = Some(Time(AT.parse().unwrap()));
}

/// Creation is recorded in seconds: of two that are created in one, the one of the lower name may be seen later.
#[test]
fn who_has_an_environment_does_not_wait_for_an_older_one_that_turns_up() {
    let mut play = Play::new();
    let lock = Lock { execution: "wknd-1".into(), uid: "uid-1".into(), since: Time(play.world.now) };
    play.status("stage").lock = Some(lock);
    play.world.siblings = Siblings { older: Some("wknd-0".into()), newer: None };
    play.world.ahead = Some("wknd-0".into());
    play.run();
    assert_eq!(play.done, ["keep_revision", "lock", "create_job", "create_job"]);
}

#[test]
fn who_waits_for_its_turn_waits_for_an_event() {
    for (siblings, ahead, reason) in [
        (Siblings::default(), Some("wknd-0".into()), reasons::ENVIRONMENT_LOCKED),
        (Siblings { older: Some("wknd-0".into()), newer: None }, None, reasons::BUSY),
    ] {
        let mut play = Play::new();
        (play.world.siblings, play.world.ahead) = (siblings, ahead);
        play.run();
        assert_eq!(play.step(StepName::Validate), (StepState::Waiting, reason));
        assert_eq!(next(&play.seen()).wake, None, "a thousand that wait cost nothing");
        (play.world.siblings, play.world.ahead) = (Siblings::default(), None);
        play.run();
        assert_eq!(play.step(StepName::Validate).0, StepState::Finished);
    }
}

#[test]
fn nobody_waits_behind_an_execution_whose_pipeline_is_suspended() {
    let mut play = Play::new();
    created(&mut play);
    let mut first = Play::new();
    first.run();
    let names = first.world.execution.status.as_ref().unwrap().environments.clone().unwrap();
    let mut older = other("wknd-0", "2026-11-21T09:00:00Z");
    older.status = first.world.execution.status.clone();
    assert_eq!(ahead(&[ExecutionOutline::of(&older)], &play.world, &names).as_deref(), Some("wknd-0"));

    let mut suspended = Play::new();
    suspended.world.pipeline.as_mut().unwrap().spec.suspend = true;
    older.status = suspended.run().world.execution.status.clone();
    assert_eq!(ahead(&[ExecutionOutline::of(&older)], &play.world, &names), None);
}

/// Promise 6: what a GitOps tool creates again after its end runs no more, so it must not end what runs.
#[test]
fn an_execution_that_is_created_again_after_its_end_replaces_nothing() {
    let mut play = Play::new();
    play.until_approval().approved("bob").deployed("prod");
    let mut running = Play::new();
    running.world.execution.metadata.name = Some("wknd-2".into());
    running.world.execution.metadata.uid = Some("uid-2".into());
    created(&mut running);
    running.world.pipeline = play.world.pipeline.clone();
    let found = |all: &[PipelineExecution]| {
        let all: Vec<_> = all.iter().map(ExecutionOutline::of).collect();
        siblings(&all, &running.world)
    };
    let again = other("wknd-1", LATER);
    assert_eq!(found(std::slice::from_ref(&again)), Siblings::default());
    assert_eq!(found(&[again, other("wknd-3", LATER)]).newer.as_deref(), Some("wknd-3"));
}

/// A request may come between the record in the ledger and the status that says "over".
#[test]
fn the_ledger_follows_what_became_of_an_execution() {
    let mut play = Play::new();
    play.run().built().deployed("stage");
    play.job_ends(JobEnd::Failed { reason: reasons::TEST_FAILED.into(), message: "404".into(), report: None });
    let plan = next(&play.seen());
    assert_eq!(plan.status.state, reasons::FAILED);
    plan.actions.into_iter().for_each(|action| play.perform(action));
    play.annotate(requests::CANCEL, "not now").run();
    assert_eq!(play.result(), reasons::CANCELLED);
    let ledger = &play.world.pipeline.as_ref().unwrap().status.as_ref().unwrap().ledger;
    assert_eq!(ledger.iter().map(|entry| entry.result.as_str()).collect::<Vec<_>>(), [reasons::CANCELLED]);
}
