//! An emergency: asked for by whoever may, where it is allowed; without the long tests, with the approval; and what was
//! left out is owed until a later execution passes it.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use launchway_crds::{
    Pipeline,
    conditions::{self, reasons, types},
    digest::ImageRef,
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::{call, until},
    executions::{reason, step, told},
    failure::ensure,
    metrics::operator_gauge,
    people,
    program::{DEVELOPER, Options, PAGE, PIPELINE, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(30);
/// What an emergency leaves out.
const SKIPPED: [StepName; 4] =
    [StepName::SecurityTest, StepName::LoadTest, StepName::ReportPerformanceTest, StepName::ContentAudit];
/// The stage-only pipeline.
const HALF: &str = "first-half";
/// What an emergency leaves out where nothing but the tests follows.
const TESTS: [StepName; 7] = [
    StepName::SecurityTest,
    StepName::LoadTest,
    StepName::ReportPerformanceTest,
    StepName::ProductTest,
    StepName::FunctionalTest,
    StepName::UiTest,
    StepName::ContentAudit,
];

#[test]
fn an_emergency_skips_tests_keeps_the_approval_and_leaves_a_debt() -> Outcome {
    scenario::run("emergency", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        program.apply(&pipeline(&program)).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        let spec = emergency(PIPELINE, &artifact);

        let refused = program.run_spec("forbidden", spec.clone()).await.err().map(|failure| failure.to_string());
        let refused = refused.ok_or("an emergency was admitted without the verb `emergency`")?;
        ensure(refused.contains("emergency"), || format!("it was refused for another reason: {refused}"))?;
        program.apply(&people::binding(DEVELOPER, "launchway-emergency")).await?;
        // A role acts as soon as the apiserver's own watch has seen it.
        until("an emergency is admitted", SOON, || async {
            Ok(program.run_spec("not-enabled", spec.clone()).await.map(drop).map_err(|failure| failure.to_string()))
        })
        .await?;
        let status = program.ended("not-enabled", SOON).await?;
        ensure(reason(&status, StepName::Validate) == reasons::EMERGENCY_NOT_ENABLED, || told(&status))?;

        let mut production = program.environment_object(PRODUCTION, "Production", 1, &Options::stand_in(1));
        production["spec"]["emergencyMode"] = json!("Enabled");
        program.apply(&production).await?;
        program.run_spec("hotfix", spec).await?;
        let status = scenario
            .on_failure(&program, "hotfix", async {
                program.awaits_approval("hotfix", LONG).await?;
                let waiting = program.execution("hotfix").await?.status.unwrap_or_default();
                skipped(&waiting, &SKIPPED)?;
                shown(&program).await?;
                program.approve("hotfix", &scenario.launchway).await?;
                program.succeeded("hotfix", LONG).await
            })
            .await?;
        skipped(&status, &SKIPPED)?;
        ensure(status.approvals.len() == 1, || "it went to production without an approval".into())?;
        program.serves(PRODUCTION, "Release 1").await?;
        owes(&program, PIPELINE, &SKIPPED, "hotfix").await?;

        program.run("usual", Some(artifact.digest())).await?;
        scenario
            .on_failure(&program, "usual", async {
                program.awaits_approval("usual", LONG).await?;
                program.approve("usual", &scenario.launchway).await?;
                program.succeeded("usual", LONG).await
            })
            .await?;
        owes(&program, PIPELINE, &[], "").await?;
        on_stage(&scenario, &program, &artifact).await
    })
}

fn emergency(pipeline: &str, artifact: &ImageRef) -> Value {
    json!({
        "pipelineRef": {"name": pipeline}, "artifact": {"digest": artifact.digest()}, "requestedBy": DEVELOPER,
        "mode": "Emergency", "reason": "incident 4711",
    })
}

/// Without production behind it every test is left out but the first look at a page, where stage allows that.
async fn on_stage(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    program.apply(&half(program)).await?;
    program.run_spec("not-on-stage", emergency(HALF, artifact)).await?;
    let status = program.ended("not-on-stage", SOON).await?;
    ensure(reason(&status, StepName::Validate) == reasons::EMERGENCY_NOT_ENABLED, || told(&status))?;

    let mut stage = program.environment_object(STAGE, "Stage", 1, &Options::stand_in(1));
    stage["spec"]["emergencyMode"] = json!("Enabled");
    program.apply(&stage).await?;
    program.run_spec("half-a-fix", emergency(HALF, artifact)).await?;
    let status = scenario.on_failure(program, "half-a-fix", program.succeeded("half-a-fix", LONG)).await?;
    skipped(&status, &TESTS)?;
    ensure(step(&status, StepName::SmokeTest)?.state == StepState::Finished, || told(&status))?;
    owes(program, HALF, &TESTS, "half-a-fix").await
}

/// The tests are left out and no other step is, their reason says so, and so does the condition.
fn skipped(status: &PipelineExecutionStatus, wanted: &[StepName]) -> Outcome {
    let left_out: Vec<StepName> = status
        .steps
        .iter()
        .filter(|step| step.reason.as_deref() == Some(reasons::SKIPPED_IN_EMERGENCY))
        .map(|step| step.name)
        .collect();
    ensure(left_out == wanted, || told(status))?;
    for name in wanted {
        let step = step(status, *name)?;
        ensure(step.state == StepState::Incomplete && step.child.is_none(), || told(status))?;
    }
    let condition = conditions::get(&status.conditions, types::EMERGENCY).filter(|found| found.status == "True");
    condition.map(drop).ok_or_else(|| Failure::new("no condition tells of the emergency").seen(&told(status)))
}

/// An Event tells of it with the reason and with what is left out, and the operator counts it.
async fn shown(program: &Program) -> Outcome {
    let events: Api<Event> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    until("an Event tells of the emergency", SOON, || async {
        let all = call(events.list(&ListParams::default())).await?.items;
        let told = all.iter().filter(|event| event.reason.as_deref() == Some(reasons::EMERGENCY));
        let notes: Vec<&str> = told.filter_map(|event| event.note.as_deref()).collect();
        let wanted = "leaves out securityTest, loadTest, reportPerformanceTest, contentAudit: incident 4711";
        // Of the one that was refused there is none.
        Ok(if notes == [wanted] { Ok(()) } else { Err(format!("{notes:?}")) })
    })
    .await?;
    until("the operator counts the emergency", SOON, || async {
        let count = operator_gauge(&program.cluster, "launchway_emergency_executions").await?;
        Ok(if count > 0 { Ok(()) } else { Err("none is counted".into()) })
    })
    .await
}

/// The pipeline lists what was left out, and for which execution.
async fn owes(program: &Program, pipeline: &str, wanted: &[StepName], execution: &str) -> Outcome {
    let pipelines: Api<Pipeline> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    until(&format!("the debt of pipeline {pipeline} is as it should be"), SOON, || async {
        let debt = call(pipelines.get(pipeline)).await?.status.unwrap_or_default().debt;
        let steps: Vec<StepName> = debt.iter().map(|debt| debt.step).collect();
        let fits = steps == wanted && debt.iter().all(|debt| debt.execution == execution);
        Ok(if fits { Ok(()) } else { Err(format!("{debt:?}")) })
    })
    .await
}

/// The usual one, with the tests that an emergency leaves out; every one of them passes.
fn pipeline(program: &Program) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    // The stand-ins are no AEM: a failing rating is accepted here, as another scenario looks at gates.
    pipeline["spec"]["gates"] = json!({"importantFailures": "Continue"});
    let tests = &mut pipeline["spec"]["stage"]["tests"];
    tests["security"] = json!({"skip": OPEN});
    tests["performance"] = json!({
        "pages": [{"name": "popular", "weight": 100, "paths": [PAGE]}],
        "duration": "10s", "visitors": 1, "pagesPerMinute": 60,
    });
    tests["audit"] = json!({"image": program.images.tester, "variables": {"LAUNCHWAY_TEST_METRICS": RATED}});
    pipeline
}

/// The same up to stage, with every test that there is.
fn half(program: &Program) -> Value {
    let mut half = pipeline(program);
    half["metadata"]["name"] = json!(HALF);
    let spec = &mut half["spec"];
    spec["type"] = json!("StageOnly");
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("production");
    }
    let page = json!({"image": program.images.tester, "variables": {"LAUNCHWAY_TEST_PATH": PAGE}});
    spec["stage"]["tests"]["product"] = page.clone();
    spec["stage"]["tests"]["ui"] = page;
    half
}

/// What a content audit finds.
const RATED: &str = r#"{"format":"launchway-metrics/1","metrics":[{"name":"accessibility","severity":"informational","comparator":"GTE","expected":80,"actual":90}]}"#;

/// What the open stand-in of a dispatcher does not refuse.
const OPEN: [&str; 3] = ["dispatcher_filter_bypass", "sling_post_servlet", "sling_referrer_filter"];
