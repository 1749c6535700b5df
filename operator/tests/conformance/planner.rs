//! What a table over all steps, all waits or all kinds of pipelines shows best. Single ways are played in the planner's
//! own tests.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::reasons,
    environment::{EmergencyMode, Lock, ReleaseImages},
    execution::{PipelineExecutionStatus, Trigger},
    names::requests,
    pipeline::{ImagesState, LedgerEntry},
    step::{
        Comparator, Metric, Severity,
        StepName::{self, *},
        StepState,
    },
};
use launchway_operator::plan::execution::{
    needs, next,
    world::{Guard, Guarded, JobEnd, World},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::planned::{self, UID, annotate, at, everything, fresh, image, job_ended, state, steps};

/// What an execution asks for besides its pipeline.
type Asked = fn() -> Value;

const NOTHING: Asked = || json!({});

/// An execution that deployed to production and succeeded.
fn entry() -> LedgerEntry {
    LedgerEntry {
        name: "wknd-0".into(),
        uid: "uid-0".into(),
        spec_hash: "0".into(),
        result: reasons::FINISHED.into(),
        release: Some(image('e')),
        images: Some(ReleaseImages { aem: image('a'), dispatcher: image('d') }),
        made_at: None,
        began_production: true,
        approved: true,
        trigger: Trigger::Manual,
        skipped: vec![],
        images_state: None,
        at: Time("2026-11-20T10:00:00Z".parse().unwrap()),
    }
}

fn with_ledger(mut world: World, ledger: Vec<LedgerEntry>) -> World {
    world.pipeline.as_mut().unwrap().status.get_or_insert_default().ledger = ledger;
    world
}

/// Deploy pages, "the following stages are involved"; matrix E1.
#[test]
fn every_kind_of_pipeline_has_its_steps_from_the_first_status() {
    let tests =
        [SmokeTest, SecurityTest, LoadTest, ReportPerformanceTest, ProductTest, FunctionalTest, UiTest, ContentAudit];
    let stage = [&[Validate, Build, CodeQuality, BuildImage, DeployStage, ApprovalStage], &tests[..]].concat();
    let production = [ApprovalProduction, Schedule, Managed, DeployProduction];
    let again = || json!({ "reExecute": "wknd-0" });
    let back = || json!({ "rollBackTo": "wknd-0" });
    let cases: [(&str, Asked, Vec<StepName>); 7] = [
        ("FullStack", NOTHING, [&stage[..], &production].concat()),
        ("StageOnly", NOTHING, stage.clone()),
        ("ProductionOnly", NOTHING, [&[Validate, Build], &production[..]].concat()),
        ("Deployment", NOTHING, [&[Validate, Build, CodeQuality, BuildImage, Deploy], &tests[..]].concat()),
        ("CodeQuality", NOTHING, vec![Validate, Build, CodeQuality]),
        ("FullStack", again, vec![Validate, Build, DeployProduction]),
        ("FullStack", back, vec![Validate, Build, DeployProduction]),
    ];
    for (type_, asked, expected) in cases {
        let world = with_ledger(fresh(&everything(type_), &asked()), vec![entry()]);
        assert_eq!(steps(&world), expected, "{type_} {}", asked());
    }
    // What a pipeline does not ask for has no step, but for the two that every tested release has.
    let mut least = everything("FullStack");
    least["stage"] = json!({ "environment": "stage" });
    least["production"] = json!({ "environment": "prod" });
    let expected = [
        Validate,
        Build,
        CodeQuality,
        BuildImage,
        DeployStage,
        SmokeTest,
        FunctionalTest,
        ApprovalProduction,
        DeployProduction,
    ];
    assert_eq!(steps(&fresh(&least, &json!({}))), expected);
}

fn failing() -> Metric {
    Metric {
        name: "coverage".into(),
        severity: Severity::Important,
        comparator: Comparator::Gte,
        expected: "50".into(),
        actual: "48".into(),
        passed: false,
    }
}

/// A full-stack execution that waits for a person at this step.
fn waiting(step: StepName) -> World {
    let mut world = at(fresh(&everything("FullStack"), &json!({})), step);
    match step {
        CodeQuality | SecurityTest | ProductTest | FunctionalTest | UiTest => {
            job_ended(
                &mut world,
                JobEnd::Measured { metrics: vec![failing()], message: "measured".into(), report: None },
            );
        }
        ReportPerformanceTest => {
            let status = world.execution.status.as_mut().unwrap();
            status.steps.iter_mut().find(|step| step.name == LoadTest).unwrap().metrics = vec![failing()].into();
        }
        _ => {}
    }
    let plan = next(&world);
    assert_eq!(state(&plan.status, step).0, StepState::Waiting, "{step:?}");
    assert!(plan.actions.is_empty(), "{step:?}: {:?}", plan.actions);
    world.execution.status = Some(plan.status);
    world
}

/// Steps that wait for a person, and how many days.
const WAITS: [(StepName, i64); 10] = [
    (CodeQuality, 14),
    (ApprovalStage, 7),
    (SecurityTest, 14),
    (ReportPerformanceTest, 14),
    (ProductTest, 14),
    (FunctionalTest, 14),
    (UiTest, 14),
    (ApprovalProduction, 14),
    (Schedule, 14),
    (Managed, 14),
];

/// "The following steps will timeout if left waiting for user feedback"; matrix E26.
#[test]
fn every_wait_ends_in_the_documents_time() {
    for (step, days) in WAITS {
        let mut world = waiting(step);
        let began = world.now;
        let until = world.execution.status.as_ref().unwrap().waiting_for.as_ref().unwrap().until.clone().unwrap();
        assert_eq!(until.0.duration_since(began), SignedDuration::from_hours(24 * days), "{step:?}");
        // The operator was away, or looked every second: it makes no difference.
        world.now = until.0.checked_sub(SignedDuration::from_secs(1)).unwrap();
        let plan = next(&world);
        assert_eq!((state(&plan.status, step).0, plan.wake), (StepState::Waiting, Some(until.0)), "{step:?}");
        world.execution.status = Some(plan.status);
        world.now = until.0;
        let ended = next(&world).status;
        assert_eq!(state(&ended, step), (StepState::Cancelled, reasons::TIMED_OUT), "{step:?}");
        assert_eq!(ended.state, reasons::CANCELLED, "{step:?}");
    }
}

/// Matrix E8: "execution CANCELLED".
#[test]
fn a_rejection_ends_every_wait_for_a_person() {
    for (step, _) in WAITS {
        let mut world = waiting(step);
        annotate(&mut world, requests::REJECT, "prices are wrong");
        annotate(&mut world, requests::REJECTED_BY, "bob");
        let ended = next(&world).status;
        assert_eq!(state(&ended, step), (StepState::Cancelled, reasons::REJECTED), "{step:?}");
        assert_eq!(ended.state, reasons::CANCELLED, "{step:?}");
    }
}

/// Matrix P13: whoever may, accepts at every gate what it asks about, and is recorded.
#[test]
fn every_gate_takes_an_override() {
    for step in StepName::GATES {
        let mut world = waiting(step);
        let asked = StepName::as_str(step);
        let wrote = json!([{ "manager": "kubectl", "operation": "Update", "time": world.now.to_string(),
            "fieldsV1": { "f:metadata": { "f:annotations": { "f:launchway.dev/override": {} } } } }]);
        world.execution.metadata.managed_fields = Some(serde_json::from_value(wrote).unwrap());
        annotate(&mut world, requests::OVERRIDE, &format!("{asked}:coverage"));
        annotate(&mut world, requests::OVERRIDDEN_BY, "mia");
        // Whether the request was checked is asked before it counts.
        assert_eq!(needs(&world).guard, Some(Guarded::Request(requests::OVERRIDE)), "{asked}");
        let since = "2026-11-01T00:00:00Z".parse().unwrap();
        world.guard = Guard::InForce { since, creations_since: since };
        let status = next(&world).status;
        assert_eq!(state(&status, step), (StepState::Finished, reasons::OVERRIDDEN), "{asked}");
        let [taken] = status.overrides.as_slice() else { panic!("{asked}: {:?}", status.overrides) };
        assert_eq!((taken.step, taken.by.as_str(), taken.metrics.as_slice()), (step, "mia", &["coverage".into()][..]));
    }
}

/// What the operator waits for, the apiserver lets people answer: the policies know the same steps.
#[test]
fn the_policies_admit_an_answer_to_every_wait() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/policy/requests.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let policies: Vec<Value> =
        serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect();
    let awaited = |request: &str| -> BTreeSet<String> {
        let wanted = |policy: &&Value| {
            policy["kind"] == "ValidatingAdmissionPolicy"
                && policy["metadata"]["name"] == format!("launchway-requests-{request}")
        };
        let variables = policies.iter().find(wanted).unwrap()["spec"]["variables"].as_array().unwrap();
        let awaited = variables.iter().find(|variable| variable["name"] == "awaited").unwrap();
        let (_, steps) = awaited["expression"].as_str().unwrap().split_once("waitsFor in [").unwrap();
        steps.trim_end_matches(']').split(", ").map(|step| step.trim_matches('\'').to_owned()).collect()
    };
    let names =
        |steps: &[StepName]| -> BTreeSet<String> { steps.iter().map(|step| step.as_str().to_owned()).collect() };
    assert_eq!(awaited("override"), names(&StepName::GATES));
    assert_eq!(awaited("reject"), names(&WAITS.map(|(step, _)| step)));
}

/// Matrix E19: safe before a deployment and after it, refused in one.
#[test]
fn a_cancellation_ends_every_step_but_a_deployment_that_began() {
    let ways = [("FullStack", steps(&fresh(&everything("FullStack"), &json!({})))), ("Deployment", vec![Deploy])];
    for (type_, steps) in ways {
        for step in steps {
            let mut world = at(fresh(&everything(type_), &json!({})), step);
            planned::cancel(&mut world);
            let ended = next(&world).status;
            assert_eq!(state(&ended, step), (StepState::Cancelled, reasons::CANCELLED), "{type_} {step:?}");
            if matches!(step, Deploy | DeployStage | DeployProduction) {
                planned::rolling(&mut world);
                let going = next(&world).status;
                assert_eq!(state(&going, step).0, StepState::Running, "{type_} {step:?} has begun");
            }
        }
    }
}

/// "Neither stage-only nor prod-only pipelines will be executed while a full-stack production pipeline is running and
/// vice-versa"; matrix P4.
#[test]
fn coupled_and_split_pipelines_exclude_each_other() {
    // Who runs has locked these; who comes is of this type; whether it waits.
    for (held, comes, waits) in [
        (&["stage", "prod"][..], "StageOnly", true),
        (&["stage", "prod"], "ProductionOnly", true),
        (&["stage", "prod"], "FullStack", true),
        (&["stage"], "FullStack", true),
        (&["prod"], "FullStack", true),
        (&["stage"], "ProductionOnly", false),
        (&["prod"], "StageOnly", false),
        (&["stage", "prod"], "CodeQuality", false),
        (&["stage", "prod"], "Deployment", false),
    ] {
        let mut world = fresh(&everything(comes), &json!({}));
        let mut source: launchway_crds::Pipeline = world.pipeline.clone().unwrap();
        source.status.get_or_insert_default().ledger = vec![entry()];
        world.source_pipeline = Some(source);
        let since = Time(world.now);
        for environment in planned::environments(&mut world) {
            if held.contains(&environment.metadata.name.as_deref().unwrap()) {
                let lock = Lock { execution: "other-7".into(), uid: "uid-7".into(), since: since.clone() };
                environment.status.get_or_insert_default().lock = Some(lock);
            }
        }
        // It takes what is free, and comes to what is not.
        for _ in 0..3 {
            let locks: Vec<_> = planned::environments(&mut world)
                .filter(|found| found.status.as_ref().is_some_and(|status| status.lock.is_none()))
                .map(|found| found.metadata.name.clone().unwrap())
                .collect();
            let plan = next(&world);
            let Some(launchway_operator::plan::execution::action::Action::Lock { environment }) = plan.actions.first()
            else {
                break;
            };
            assert!(locks.contains(environment), "{comes} takes {environment}, which is not free");
            let lock = Lock { execution: "wknd-1".into(), uid: UID.into(), since: since.clone() };
            let found = planned::environments(&mut world)
                .find(|found| found.metadata.name.as_ref() == Some(environment))
                .unwrap();
            found.status.get_or_insert_default().lock = Some(lock);
        }
        let status = next(&world).status;
        let (found, reason) = state(&status, Validate);
        assert_eq!(found == StepState::Waiting, waits, "{comes} while {held:?} are taken: {found:?}");
        if waits {
            assert_eq!(reason, reasons::ENVIRONMENT_LOCKED);
            let waiting = status.waiting_for.unwrap();
            assert!(waiting.why.contains("other-7") && waiting.command.unwrap().contains("other-7"), "{comes}");
        }
    }
}

/// The status when nothing is left to decide with these facts.
fn settled(mut world: World) -> PipelineExecutionStatus {
    loop {
        let plan = next(&world);
        if !plan.again {
            return plan.status;
        }
        world.execution.status = Some(plan.status);
    }
}

/// "This step in the pipeline is always present and cannot be skipped. However, if no test JAR is produced by the build,
/// the test passes by default"; matrix E12.
#[test]
fn a_step_without_a_test_is_incomplete_and_the_next_begins() {
    let mut pipeline = everything("FullStack");
    pipeline["stage"] = json!({ "environment": "stage" });
    let status = settled(at(fresh(&pipeline, &json!({})), SmokeTest));
    for step in [SmokeTest, FunctionalTest] {
        assert_eq!(state(&status, step), (StepState::Incomplete, reasons::NO_TEST), "{step:?}");
    }
    assert_eq!(state(&status, ApprovalProduction).0, StepState::Waiting);
}

/// Matrix E14: "never blocks".
#[test]
fn an_audit_that_breaks_stops_nothing() {
    let mut world = at(fresh(&everything("FullStack"), &json!({})), ContentAudit);
    let failed = |reason: &str| JobEnd::Failed { reason: reason.into(), message: "it broke".into(), report: None };
    job_ended(&mut world, failed(reasons::TIMED_OUT));
    let status = next(&world).status;
    assert_eq!(state(&status, ContentAudit).0, StepState::Incomplete);
    assert_eq!(state(&status, ApprovalProduction).0, StepState::Waiting);
}

/// Matrix E2: "deleted-and-recreated env with the same name is not re-linked".
#[test]
fn an_environment_that_was_made_again_is_not_deployed_to() {
    let mut world = at(fresh(&everything("FullStack"), &json!({})), DeployStage);
    world.stage = Some(planned::environment("stage", "Stage"));
    let plan = next(&world);
    assert_eq!(state(&plan.status, DeployStage), (StepState::Error, reasons::ENVIRONMENT_LOCKED));
    assert!(plan.actions.iter().all(|action| action.category() != "set_target"));
}

/// "Re-executing the production deployment step is only available for the last execution"; "not available for rollback
/// executions"; "if the last execution failed at any point prior to the production deployment step, re-execution is not
/// possible"; "regardless of whether it was successful, canceled, or unsuccessful".
#[test]
fn each_refusal_of_a_re_execution_has_its_reason() {
    let other = LedgerEntry { name: "wknd-9".into(), uid: "uid-9".into(), ..entry() };
    let back = LedgerEntry { trigger: Trigger::RollBack, ..entry() };
    let early = LedgerEntry { began_production: false, result: reasons::FAILED.into(), ..entry() };
    let rejected = LedgerEntry { began_production: false, result: reasons::CANCELLED.into(), ..entry() };
    let failed = LedgerEntry { result: reasons::FAILED.into(), ..entry() };
    let cancelled = LedgerEntry { result: reasons::CANCELLED.into(), ..entry() };
    let again = LedgerEntry { trigger: Trigger::ReExecute, ..entry() };
    let let_go = LedgerEntry { images_state: Some(ImagesState::LetGo), ..entry() };
    for (ledger, refused) in [
        (vec![], Some("no execution to do again")),
        (vec![other, entry()], Some("it is not the last execution of the pipeline, which is wknd-9")),
        (vec![back], Some("it went back to an earlier release")),
        (vec![early], Some("its deployment to production never began")),
        (vec![rejected], Some("its deployment to production never began")),
        (vec![entry()], None),
        (vec![failed], None),
        (vec![cancelled], None),
        (vec![again], None),
        (vec![let_go], Some("spec.history of the pipeline let go of its images")),
    ] {
        let told = format!("{ledger:?}");
        let world = with_ledger(fresh(&everything("FullStack"), &json!({ "reExecute": "wknd-0" })), ledger);
        let status = next(&world).status;
        let (found, reason) = state(&status, Validate);
        let message = message(&status, Validate);
        match refused {
            Some(why) => {
                assert_eq!((found, reason), (StepState::Failed, reasons::SOURCE_REFUSED), "{told}");
                assert!(message.contains(why), "{told}: {message}");
            }
            None => assert_eq!(found, StepState::Running, "{told}: {message}"),
        }
    }
}

fn message(status: &PipelineExecutionStatus, step: StepName) -> String {
    let found = status.steps.iter().find(|found| found.name == step).unwrap();
    found.message.clone().unwrap_or_default()
}

/// "The security and performance test steps are not executed. All other steps, including any configured approval steps,
/// are executed"; on a stage-only pipeline the tests of stage are left out (§2.8).
#[test]
fn an_emergency_leaves_out_these_steps_and_no_others() {
    let always = [SecurityTest, LoadTest, ReportPerformanceTest, ContentAudit];
    let stage = [SecurityTest, LoadTest, ReportPerformanceTest, ProductTest, FunctionalTest, UiTest, ContentAudit];
    for (type_, expected) in
        [("FullStack", &always[..]), ("Deployment", &always), ("StageOnly", &stage), ("ProductionOnly", &[])]
    {
        let asked = json!({ "mode": "Emergency", "reason": "the shop is down" });
        let start = || {
            let mut world = fresh(&everything(type_), &asked);
            for environment in planned::environments(&mut world) {
                environment.spec.emergency_mode = EmergencyMode::Enabled;
            }
            world
        };
        let left_out: BTreeSet<StepName> = steps(&start())
            .into_iter()
            .filter(|step| {
                let status = next(&at(start(), *step)).status;
                state(&status, *step) == (StepState::Incomplete, reasons::SKIPPED_IN_EMERGENCY)
            })
            .collect();
        assert_eq!(left_out, expected.iter().copied().collect(), "{type_}");
    }
}
