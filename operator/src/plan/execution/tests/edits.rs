//! A pipeline that is edited, deleted or made anew while an execution runs.

use launchway_crds::common::Span;

use crate::outline::ExecutionOutline;

use super::super::world::Kept;
use super::*;

impl Play {
    fn spec(&mut self) -> &mut launchway_crds::pipeline::PipelineSpec {
        &mut self.world.pipeline.as_mut().unwrap().spec
    }

    fn condition(&self, type_: &str) -> Option<(String, String)> {
        let status = self.world.execution.status.as_ref().unwrap();
        conditions::get(&status.conditions, type_).map(|found| (found.status.clone(), found.reason.clone()))
    }
}

/// Everything that a person could change on the way, so that the execution would do something else.
fn edited(play: &mut Play) {
    let spec = play.spec();
    spec.stage.as_mut().unwrap().environment = "other".into();
    spec.stage.as_mut().unwrap().tests.smoke.clear();
    spec.images.as_mut().unwrap().repository = "registry.example.com/elsewhere".into();
    spec.build_timeout = Span::from_secs(1);
    spec.production.as_mut().unwrap().approval.required = false;
    spec.production.as_mut().unwrap().approval.timeout = Span::from_secs(1);
}

#[test]
fn an_execution_runs_the_pipeline_as_it_was_when_it_began() {
    let mut play = Play::new();
    play.run();
    edited(&mut play);
    play.run();
    assert_eq!(play.condition(types::PIPELINE_CHANGED), Some(("True".into(), reasons::APPLIES_TO_NEXT.into())));
    play.built().deployed("stage");
    assert_eq!(play.step(StepName::SmokeTest).0, StepState::Running, "the test that is no more is done");
    play.job_ends(JobEnd::Passed { message: String::new() }).run();
    assert_eq!(play.step(StepName::ApprovalProduction), (StepState::Waiting, reasons::AWAITING_APPROVAL));
    play.world.now = play.world.now.checked_add(SignedDuration::from_hours(24)).unwrap();
    assert_eq!(play.run().step(StepName::ApprovalProduction).0, StepState::Waiting, "with the time that it had");
    play.approved("bob").deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
    assert_eq!(play.done.iter().filter(|done| **done == "keep_revision").count(), 1);
}

#[test]
fn an_edit_that_is_taken_back_is_told_and_one_that_changes_no_run_is_not() {
    let mut play = Play::new();
    play.run();
    play.spec().suspend = true;
    play.run();
    assert_eq!(play.condition(types::PIPELINE_CHANGED), None, "suspend holds the next one, and is no other pipeline");
    let before = play.spec().clone();
    edited(&mut play);
    play.run();
    *play.spec() = before;
    play.run();
    assert_eq!(play.condition(types::PIPELINE_CHANGED), Some(("False".into(), reasons::UNCHANGED.into())));
    let writes = play.writes;
    assert_eq!(play.run().writes, writes, "told once");
}

#[test]
fn the_controller_wakes_those_for_whom_an_edit_is_news_only() {
    let mut play = Play::new();
    play.run();
    let status = |play: &Play| ExecutionOutline::of(&play.world.execution).progress.unwrap();
    let same = revision::of(play.world.pipeline.as_ref().unwrap());
    assert!(!revision::is_news(&status(&play), &same));
    edited(&mut play);
    let other = revision::of(play.world.pipeline.as_ref().unwrap());
    assert!(revision::is_news(&status(&play), &other));
    play.run();
    assert!(!revision::is_news(&status(&play), &other), "it tells of it");
    assert!(revision::is_news(&status(&play), &same), "and would tell that it was taken back");
}

#[test]
fn a_pipeline_that_is_gone_ends_the_execution_and_one_that_is_the_same_again_does_not() {
    let mut play = Play::new();
    play.run();
    play.world.pipeline = None;
    play.run();
    assert_eq!(play.step(StepName::BuildImage), (StepState::Error, reasons::PIPELINE_DELETED));

    // The kept version goes with its pipeline; made again from the same file, it says the same.
    let mut play = Play::new();
    play.run().revisions.clear();
    play.built();
    assert_eq!(play.step(StepName::DeployStage).0, StepState::Running);
    play.revisions.clear();
    edited(&mut play);
    play.deployed("stage");
    assert_eq!(play.step(StepName::DeployStage).0, StepState::Finished, "a deployment that began is not cut");
    assert_eq!(play.step(StepName::SmokeTest), (StepState::Error, reasons::PIPELINE_DELETED));
    assert!(play.status("prod").target.is_none());
}

#[test]
fn a_kept_version_that_somebody_else_made_is_not_believed() {
    let mut play = Play::new();
    let revision = revision::of(play.world.pipeline.as_ref().unwrap());
    edited(&mut play);
    let forged = revision::data(play.spec());
    *play.spec() = Play::new().spec().clone();
    play.revisions.insert(revision.name.clone(), forged);
    assert_eq!(play.run().result(), reasons::ERROR);
    assert!(matches!(play.seen().revision.kept, Kept::NotLookedAt), "it ended");
    assert_eq!(play.step(StepName::Validate), (StepState::Error, reasons::PIPELINE_DELETED));
    assert_eq!(play.done, ["remember"], "nothing was locked or made");
}

#[test]
fn kept_versions_have_names_of_their_own() {
    let name = |name: &str| {
        let mut pipeline = Play::new().world.pipeline.unwrap();
        pipeline.metadata.name = Some(name.into());
        revision::of(&pipeline).name
    };
    assert!(name("wknd").starts_with("wknd-"));
    let long = |end: char| name(&format!("{}{end}", "x".repeat(252)));
    assert_ne!(long('a'), long('b'));
    assert!(long('a').len() <= 253);
}

#[test]
fn an_execution_that_began_before_versions_were_kept_goes_on_with_the_pipeline_as_it_is() {
    let mut play = Play::new();
    play.run();
    play.world.execution.status.as_mut().unwrap().pipeline_revision = None;
    play.revisions.clear();
    play.built();
    assert_eq!(play.step(StepName::DeployStage).0, StepState::Running);
}
