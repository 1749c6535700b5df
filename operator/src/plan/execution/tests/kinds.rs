//! Every kind of pipeline, and every way to ask for one, played as the documents tell it.

use launchway_crds::{
    environment::{EmergencyMode, Window},
    execution::{Mode, Trigger},
    names::requests,
    pipeline::{ImagesState, PipelineType},
};

use super::*;

/// The apiserver's record of requests, so that they count.
fn signed(play: &mut Play, key: &str) {
    let entry: ManagedFieldsEntry = serde_json::from_value(serde_json::json!({
        "manager": "kubectl", "operation": "Update", "time": "2026-11-21T09:00:00Z",
        "fieldsV1": { "f:metadata": { "f:annotations": { format!("f:{key}"): {} } } },
    }))
    .unwrap();
    play.world.execution.metadata.managed_fields.get_or_insert_default().push(entry);
}

fn ask(play: &mut Play, key: &'static str, value: &str, by: &'static str, who: &str) {
    signed(play, key);
    play.annotate(key, value).annotate(by, who).run();
}

/// A later execution, so that nobody takes it for the one before.
pub(super) fn later() -> Play {
    let mut play = Play::new();
    play.world.execution.metadata.uid = Some("uid-2".into());
    play.world.execution.metadata.name = Some("wknd-2".into());
    play
}

/// Another pipeline of the same program.
fn pipeline(spec: &serde_json::Value) -> Pipeline {
    serde_json::from_value(serde_json::json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "other", "namespace": "wknd" }, "spec": spec,
    }))
    .unwrap()
}

fn source() -> serde_json::Value {
    serde_json::json!({ "artifact": { "repository": "registry.example.com/wknd/artifacts" } })
}

pub(super) fn stage_only() -> Pipeline {
    pipeline(&serde_json::json!({
        "type": "StageOnly", "source": source(), "images": { "repository": "registry.example.com/wknd/images" },
        "stage": { "environment": "stage" },
    }))
}

pub(super) fn production_only() -> Pipeline {
    pipeline(&serde_json::json!({
        "type": "ProductionOnly", "source": { "pipeline": "other" }, "production": { "environment": "prod" },
    }))
}

fn names(play: &Play) -> Vec<&'static str> {
    play.world.execution.status.as_ref().unwrap().steps.iter().map(|step| step.name.as_str()).collect()
}

/// A stage-only execution that passed, as its pipeline remembers it.
fn tested() -> (Play, Pipeline) {
    let mut play = Play::new();
    play.world.pipeline = Some(stage_only());
    play.run().built().deployed("stage");
    assert_eq!(play.result(), reasons::FINISHED);
    let pipeline = play.world.pipeline.clone().unwrap();
    (play, pipeline)
}

/// `cloud-manager.md` §1.10: the first half of a coupled pipeline, which ends as Finished.
#[test]
fn a_stage_only_pipeline_ends_after_the_tests_and_never_touches_production() {
    let (mut play, _) = tested();
    assert_eq!(
        names(&play),
        ["validate", "build", "codeQuality", "buildImage", "deployStage", "smokeTest", "functionalTest"]
    );
    assert!(play.status("prod").lock.is_none() && play.status("prod").target.is_none());
}

/// SEED 004: production-only deploys what the last stage-only execution tested, and builds nothing.
#[test]
fn a_production_only_pipeline_takes_the_tested_release() {
    let (_, mut source) = tested();
    // Approved elsewhere is not approved here.
    source.status.as_mut().unwrap().ledger[0].approved = true;
    let mut play = later();
    play.world.pipeline = Some(production_only());
    play.world.source_pipeline = Some(source.clone());
    play.world.artifact = None;
    play.run();
    assert_eq!(names(&play), ["validate", "build", "approvalProduction", "deployProduction"]);
    assert!(play.status("stage").lock.is_none(), "stage is not locked");
    play.approved("bob").deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
    let status = play.world.execution.status.clone().unwrap();
    assert_eq!(status.source.unwrap().execution, "wknd-1");
    assert_eq!(play.status("prod").deployed.as_ref().unwrap().release, image('e'));

    let mut play = later();
    play.world.pipeline = Some(production_only());
    play.world.source_pipeline = Some(stage_only());
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::Validate).1, reasons::SOURCE_REFUSED, "nothing was tested yet");
}

/// Stage goes on while production's approval is awaited for days, and while a release rolls out.
#[test]
fn a_newer_tested_release_takes_nothing_away_from_the_one_that_was_taken() {
    let (_, source) = tested();
    let mut newer = source.clone();
    let ledger = &mut newer.status.as_mut().unwrap().ledger;
    let mut entry = ledger[0].clone();
    (entry.name, entry.uid, entry.release) = ("wknd-9".into(), "uid-9".into(), Some(image('c')));
    ledger.insert(0, entry);
    for before_the_approval in [true, false] {
        let mut play = later();
        play.world.pipeline = Some(production_only());
        play.world.source_pipeline = Some(source.clone());
        play.world.artifact = None;
        play.run();
        if before_the_approval {
            play.world.source_pipeline = Some(newer.clone());
        }
        play.approved("bob").world.source_pipeline = Some(newer.clone());
        play.run();
        assert_eq!(play.step(StepName::DeployProduction), (StepState::Running, reasons::RUNNING));
        assert_eq!(play.deployed("prod").result(), reasons::FINISHED);
        assert_eq!(play.status("prod").deployed.as_ref().unwrap().release, image('e'), "what was taken and approved");
    }
}

/// A record that is gone is no proof.
#[test]
fn a_release_whose_record_is_gone_does_not_reach_production() {
    let (_, source) = tested();
    let mut play = later();
    play.world.pipeline = Some(production_only());
    play.world.source_pipeline = Some(source);
    play.world.artifact = None;
    play.run().world.source_pipeline.as_mut().unwrap().status.as_mut().unwrap().ledger.clear();
    assert_eq!(play.approved("bob").result(), reasons::ERROR);
    assert_eq!(play.step(StepName::DeployProduction).1, reasons::PROOF_INCOMPLETE);
    assert!(play.status("prod").target.is_none());
}

/// `cloud-manager.md` §1.10 "may silently roll code back": here only when somebody says so.
#[test]
fn a_release_older_than_the_one_that_production_runs_is_refused() {
    let (_, source) = tested();
    for (older, result) in [(false, reasons::FAILED), (true, reasons::FINISHED)] {
        let mut play = later();
        play.world.pipeline = Some(production_only());
        play.world.source_pipeline = Some(source.clone());
        play.world.execution.spec.allow_older = older;
        let at = Time(play.world.now);
        let newer = Time(play.world.now.checked_add(SignedDuration::from_hours(1)).unwrap());
        play.status("prod").deployed = Some(Deployed {
            execution: "coupled-7".into(),
            uid: "uid-7".into(),
            release: image('7'),
            images: images(),
            web_tier: None,
            cache: None,
            made_at: Some(newer),
            at,
            revisions: None,
        });
        play.run();
        if older {
            play.approved("bob").deployed("prod");
        }
        assert_eq!(play.result(), result);
        if !older {
            assert_eq!(play.step(StepName::Build).1, reasons::OLDER_RELEASE);
            assert!(play.status("prod").target.is_none());
        }
    }
}

/// `cloud-manager.md` §2.9: validate, build and the deployment to production alone, of the last execution, when that
/// deployment had begun.
#[test]
fn the_last_deployment_to_production_is_done_again_on_its_first_approval() {
    let mut first = Play::new();
    first.until_approval().approved("bob").fails_on_production();
    assert_eq!(first.result(), reasons::FAILED);

    let mut again = later();
    again.world.pipeline = first.world.pipeline.clone();
    again.world.execution.spec.re_execute = Some("wknd-1".into());
    again.run();
    assert_eq!(names(&again), ["validate", "build", "deployProduction"]);
    // Another one is cancelled while it waits for this one.
    let ledger = &mut again.world.pipeline.as_mut().unwrap().status.as_mut().unwrap().ledger;
    let mut cancelled = ledger[0].clone();
    (cancelled.name, cancelled.uid, cancelled.release) = ("wknd-7".into(), "uid-7".into(), None);
    ledger.insert(0, cancelled);
    again.run().deployed("prod");
    assert_eq!(again.result(), reasons::FINISHED);
    let entry = &again.world.pipeline.as_ref().unwrap().status.as_ref().unwrap().ledger[0];
    assert_eq!((entry.trigger, entry.approved, entry.name.as_str()), (Trigger::ReExecute, true, "wknd-2"));

    let mut rejected = Play::new();
    rejected.until_approval().annotate(requests::REJECT, "no").run();
    let mut refused = later();
    refused.world.pipeline = rejected.world.pipeline.clone();
    refused.world.execution.spec.re_execute = Some("wknd-1".into());
    assert_eq!(refused.run().result(), reasons::FAILED);
    assert_eq!(refused.step(StepName::Validate).1, reasons::SOURCE_REFUSED);
}

#[test]
fn production_goes_back_to_a_release_that_was_approved_before() {
    let mut first = Play::new();
    first.until_approval().approved("bob").deployed("prod");
    let mut back = later();
    back.world.pipeline = first.world.pipeline.clone();
    back.world.execution.spec.roll_back_to = Some("wknd-1".into());
    back.run();
    assert_eq!(names(&back), ["validate", "build", "deployProduction"]);
    back.deployed("prod");
    assert_eq!(
        (back.result(), back.world.execution.status.as_ref().unwrap().trigger),
        (reasons::FINISHED, Trigger::RollBack)
    );

    // The history of the pipeline let go of the images: it says so, and what there is instead.
    let mut too_far = later();
    let mut pipeline = back.world.pipeline.clone().unwrap();
    let ledger = &mut pipeline.status.as_mut().unwrap().ledger;
    ledger.iter_mut().find(|entry| entry.name == "wknd-1").unwrap().images_state = Some(ImagesState::LetGo);
    too_far.world.pipeline = Some(pipeline);
    too_far.world.execution.metadata.uid = Some("uid-3".into());
    too_far.world.execution.metadata.name = Some("wknd-3".into());
    too_far.world.execution.spec.roll_back_to = Some("wknd-1".into());
    assert_eq!(too_far.run().result(), reasons::FAILED);
    let message = too_far.world.execution.status.as_ref().unwrap().steps[0].message.clone().unwrap_or_default();
    assert!(message.contains("let go of its images): choose one of wknd-2"), "{message}");

    // `cloud-manager.md` §2.9: a way back is not executed again.
    let mut again = later();
    again.world.pipeline = back.world.pipeline.clone();
    again.world.execution.metadata.uid = Some("uid-3".into());
    again.world.execution.metadata.name = Some("wknd-3".into());
    again.world.execution.spec.re_execute = Some("wknd-2".into());
    assert_eq!(again.run().result(), reasons::FAILED);
}

/// A release that nobody approved, because nobody had to, is asked for when somebody has to now.
#[test]
fn going_back_to_an_unapproved_release_needs_the_approval_that_is_required_now() {
    let mut first = Play::new();
    first.world.pipeline.as_mut().unwrap().spec.production.as_mut().unwrap().approval.required = false;
    first.run().built().deployed("stage").job_ends(JobEnd::Passed { message: String::new() }).run();
    first.deployed("prod");
    assert_eq!(first.result(), reasons::FINISHED);
    let mut back = later();
    back.world.pipeline = first.world.pipeline.clone();
    back.world.pipeline.as_mut().unwrap().spec.production.as_mut().unwrap().approval.required = true;
    back.world.execution.spec.roll_back_to = Some("wknd-1".into());
    back.run();
    assert_eq!(back.step(StepName::ApprovalProduction).0, StepState::Waiting);
    assert!(back.status("prod").target.is_none());
}

#[test]
fn a_deployment_pipeline_has_one_environment_and_a_code_quality_pipeline_none() {
    let mut play = Play::new();
    play.world.pipeline = Some(pipeline(&serde_json::json!({
        "type": "Deployment", "source": source(), "images": { "repository": "registry.example.com/wknd/images" },
        "deployment": { "environment": "stage" },
    })));
    play.run().built().deployed("stage");
    assert_eq!(play.result(), reasons::FINISHED);
    assert_eq!(
        names(&play),
        ["validate", "build", "codeQuality", "buildImage", "deploy", "smokeTest", "functionalTest"]
    );

    let mut play = Play::new();
    play.world.pipeline = Some(pipeline(&serde_json::json!({ "type": "CodeQuality", "source": source() })));
    assert_eq!(play.run().result(), reasons::FINISHED);
    assert_eq!(names(&play), ["validate", "build", "codeQuality"]);
    assert_eq!(play.done, ["keep_revision", "create_job", "remember"], "nothing is locked");
}

fn failing(severity: Severity) -> Vec<Metric> {
    vec![Metric {
        name: "coverage".into(),
        severity,
        comparator: Comparator::Gte,
        expected: "50".into(),
        actual: "48".into(),
        passed: false,
    }]
}

/// `cloud-manager.md` §2.5, §2.6: critical fails, important asks, informational is recorded; an override names every
/// failing important metric of the step that waits.
#[test]
fn an_important_failure_is_asked_about_and_overridden_by_name() {
    for (severity, state) in [
        (Severity::Critical, StepState::Failed),
        (Severity::Important, StepState::Waiting),
        (Severity::Informational, StepState::Finished),
    ] {
        let mut play = Play::new();
        play.quality = failing(severity);
        play.run();
        assert_eq!(play.step(StepName::CodeQuality).0, state, "{severity:?}");
    }
    for (value, state) in [
        ("codeQuality:coverage", StepState::Finished),
        ("codeQuality:coverage,other", StepState::Waiting),
        ("codeQuality:", StepState::Waiting),
        ("securityTest:coverage", StepState::Waiting),
        ("coverage", StepState::Waiting),
    ] {
        let mut play = Play::new();
        play.quality = failing(Severity::Important);
        play.run();
        ask(&mut play, requests::OVERRIDE, value, requests::OVERRIDDEN_BY, "eve");
        assert_eq!(play.step(StepName::CodeQuality).0, state, "{value}");
        let overrides = &play.world.execution.status.as_ref().unwrap().overrides;
        assert_eq!(overrides.len(), usize::from(state == StepState::Finished));
    }
    let mut play = Play::new();
    play.quality = failing(Severity::Important);
    play.run();
    play.world.now = play.world.now.checked_add(SignedDuration::from_hours(14 * 24)).unwrap();
    assert_eq!(play.run().result(), reasons::CANCELLED);
    assert_eq!(play.step(StepName::CodeQuality).1, reasons::TIMED_OUT);
}

/// `cloud-manager.md` §1.1: nothing comes after it, so nobody can override.
#[test]
fn a_code_quality_pipeline_is_not_overridden() {
    let mut play = Play::new();
    play.world.pipeline = Some(pipeline(&serde_json::json!({ "type": "CodeQuality", "source": source() })));
    play.quality = failing(Severity::Important);
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.world.pipeline.as_ref().unwrap().spec.type_, PipelineType::CodeQuality);
}

/// The stage approval, the schedule and the go of the support organisation, each asked for and each answered.
#[test]
fn every_wait_of_a_pipeline_comes_in_its_order() {
    let mut play = Play::new();
    let spec = &mut play.world.pipeline.as_mut().unwrap().spec;
    spec.stage.as_mut().unwrap().approval.required = true;
    let production = spec.production.as_mut().unwrap();
    production.schedule.required = true;
    production.managed.required = true;
    play.run().built().deployed("stage");
    assert_eq!(play.step(StepName::ApprovalStage).0, StepState::Waiting);
    let digest = image('e').digest().to_string();
    ask(&mut play, requests::APPROVE_STAGE, &digest, requests::APPROVED_STAGE_BY, "bob");
    play.job_ends(JobEnd::Passed { message: "1 page".into() }).run();
    play.approved("bob");
    assert_eq!(play.step(StepName::Schedule), (StepState::Waiting, reasons::AWAITING_SCHEDULE));

    ask(&mut play, requests::SCHEDULE, "2026-11-21T22:00[Europe/Zurich]", requests::SCHEDULED_BY, "dora");
    assert_eq!(play.step(StepName::Schedule), (StepState::Waiting, reasons::SCHEDULED));
    play.world.now = "2026-11-21T21:00:00Z".parse().unwrap();
    play.run();
    assert_eq!(play.step(StepName::Managed), (StepState::Waiting, reasons::AWAITING_GO));
    assert!(play.status("prod").target.is_none());
    ask(&mut play, requests::MANAGED_GO, &digest, requests::MANAGED_GO_BY, "sam");
    assert!(play.status("prod").target.is_some());
}

/// `cloud-manager.md` §2.8: the tests of security and performance are left out, approvals stay, and what was left out is
/// remembered until it passes.
#[test]
fn an_emergency_skips_tests_keeps_approvals_and_leaves_a_debt() {
    let emergency = |enabled: EmergencyMode| {
        let mut play = Play::new();
        let tests = &mut play.world.pipeline.as_mut().unwrap().spec.stage.as_mut().unwrap().tests;
        tests.security = Some(serde_json::from_value(serde_json::json!({})).unwrap());
        play.world.production.as_mut().unwrap().spec.emergency_mode = enabled;
        play.world.execution.spec.mode = Mode::Emergency;
        play.world.execution.spec.reason = Some("the shop is down".into());
        play
    };
    let mut refused = emergency(EmergencyMode::Disabled);
    assert_eq!(refused.run().result(), reasons::FAILED);
    assert_eq!(refused.step(StepName::Validate).1, reasons::EMERGENCY_NOT_ENABLED);

    let mut play = emergency(EmergencyMode::Enabled);
    play.until_approval();
    assert_eq!(play.step(StepName::SecurityTest), (StepState::Incomplete, reasons::SKIPPED_IN_EMERGENCY));
    assert_eq!(play.step(StepName::ApprovalProduction).0, StepState::Waiting);
    let status = play.world.execution.status.clone().unwrap();
    let told = &conditions::get(&status.conditions, types::EMERGENCY).unwrap().message;
    assert_eq!(told, "leaves out securityTest: the shop is down");
    play.approved("bob").deployed("prod");
    let debt = play.world.pipeline.as_ref().unwrap().status.as_ref().unwrap().debt.clone();
    assert_eq!((debt.len(), debt[0].step), (1, StepName::SecurityTest));

    let mut normal = later();
    normal.world.pipeline = play.world.pipeline.clone();
    normal.run().built().deployed("stage");
    normal.job_ends(JobEnd::Passed { message: String::new() }).run();
    normal.job_ends(JobEnd::Measured { metrics: vec![], message: "all refused".into(), report: None }).run();
    normal.approved("bob").deployed("prod");
    assert!(normal.world.pipeline.as_ref().unwrap().status.as_ref().unwrap().debt.is_empty());
}

#[test]
fn a_hold_or_a_window_puts_a_deployment_off_and_cuts_none() {
    let mut play = Play::new();
    play.world.production.as_mut().unwrap().spec.hold =
        serde_json::from_value(serde_json::json!({ "reason": "incident" })).unwrap();
    play.until_approval().approved("bob");
    assert_eq!(play.step(StepName::DeployProduction), (StepState::Waiting, reasons::HELD));
    assert!(play.status("prod").target.is_none());
    let closed: Vec<Window> = serde_json::from_value(serde_json::json!([
        { "kind": "Deny", "schedule": "* * * * *", "duration": "1h" },
    ]))
    .unwrap();
    let spec = &mut play.world.production.as_mut().unwrap().spec;
    (spec.hold, spec.windows) = (None, closed.clone());
    play.run();
    assert_eq!(play.step(StepName::DeployProduction), (StepState::Waiting, reasons::WINDOW_CLOSED));
    play.world.production.as_mut().unwrap().spec.windows.clear();
    play.run();
    assert!(play.status("prod").target.is_some());
    let spec = &mut play.world.production.as_mut().unwrap().spec;
    spec.hold = serde_json::from_value(serde_json::json!({ "reason": "late" })).unwrap();
    spec.windows = closed;
    play.run();
    assert_eq!(play.step(StepName::DeployProduction).0, StepState::Running, "a rollout that began goes on");
}

#[test]
fn others_of_the_pipeline_are_waited_for_refused_or_replaced() {
    let older = Siblings { older: Some("wknd-0".into()), newer: None };
    let mut play = Play::new();
    play.world.siblings = older.clone();
    play.run();
    assert_eq!(play.step(StepName::Validate), (StepState::Waiting, reasons::BUSY));
    play.world.siblings = Siblings::default();
    play.run();
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);

    let with = |concurrency: &str| {
        let mut play = Play::new();
        play.world.pipeline.as_mut().unwrap().spec.concurrency = serde_json::from_value(concurrency.into()).unwrap();
        play
    };
    let mut refused = with("Refuse");
    refused.world.siblings = older;
    assert_eq!(refused.run().result(), reasons::FAILED);
    assert_eq!(refused.step(StepName::Validate).1, reasons::BUSY);

    let newer = Siblings { older: None, newer: Some("wknd-9".into()) };
    let mut replaced = with("Replace");
    replaced.run().world.siblings = newer.clone();
    assert_eq!(replaced.run().result(), reasons::CANCELLED);
    assert_eq!(replaced.step(StepName::BuildImage).1, reasons::REPLACED);

    let mut waits = with("Replace");
    waits.until_approval().world.siblings = newer;
    waits.run();
    assert_eq!(waits.step(StepName::ApprovalProduction).0, StepState::Waiting, "what waits for production stays");
}

#[test]
fn a_suspended_pipeline_holds_what_has_not_begun() {
    let mut play = Play::new();
    play.world.pipeline.as_mut().unwrap().spec.suspend = true;
    play.run();
    assert_eq!((play.step(StepName::Validate), play.done.len()), ((StepState::Waiting, reasons::SUSPENDED), 1));
    play.world.pipeline.as_mut().unwrap().spec.suspend = false;
    play.run();
    assert_eq!(play.step(StepName::BuildImage).0, StepState::Running);
}
