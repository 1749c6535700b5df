//! The two halves of a pipeline, with every word that people have in it: a gate that is overridden, a promotion, a
//! schedule, a hold, a release that is too old, and the way back.

use std::time::Duration;

use launchway_crds::{
    conditions::reasons,
    digest::Sha256Digest,
    execution::Trigger,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Outcome, artifacts,
    executions::{reason, release, step, told},
    failure::ensure,
    people,
    program::{DEVELOPER, Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(90);
/// The stage-only pipeline.
const FIRST: &str = "first-half";
/// The production-only pipeline.
const SECOND: &str = "second-half";
/// Who accepts metrics and chooses times.
const MANAGER: &str = "mary";

#[test]
fn a_release_is_tested_promoted_scheduled_held_and_taken_back() -> Outcome {
    scenario::run("split", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        program.apply(&people::binding(MANAGER, "launchway-deployment-manager")).await?;
        program.apply(&first_half(&program, &scenario.images.tester)).await?;
        program.apply(&second_half()).await?;

        let one = tested(&scenario, &program, "s1", 1).await?;
        promote(&scenario, &program, "p1").await?;
        let status = scenario.on_failure(&program, "p1", program.succeeded("p1", LONG)).await?;
        ensure(status.trigger == Trigger::Promote && release(&status)? == one, || told(&status))?;
        let source = status.source.clone().ok_or("no source is recorded")?;
        ensure(source.execution == "s1" && source.pipeline == FIRST, || format!("{source:?}"))?;
        program.serves(PRODUCTION, "Release 1").await?;

        let two = tested(&scenario, &program, "s2", 2).await?;
        held(&program, Some("incident 4711")).await?;
        promote(&scenario, &program, "p2").await?;
        let waits = program.wait("p2", "waits for the hold", SOON, |status| {
            reason(status, StepName::DeployProduction) == reasons::HELD
        });
        let execution = scenario.on_failure(&program, "p2", waits).await?;
        let waiting = execution.status.and_then(|status| status.waiting_for).ok_or("it waits for nothing")?;
        ensure(waiting.why.contains("incident 4711"), || waiting.why.clone())?;
        held(&program, None).await?;
        let status = scenario.on_failure(&program, "p2", program.succeeded("p2", LONG)).await?;
        ensure(release(&status)? == two, || told(&status))?;
        program.serves(PRODUCTION, "Release 2").await?;

        // What Cloud Manager does silently needs a word here.
        program
            .run_spec(
                "old",
                json!({"pipelineRef": {"name": SECOND}, "sourceExecution": "s1", "requestedBy": DEVELOPER}),
            )
            .await?;
        let status = scenario.on_failure(&program, "old", program.ended("old", SOON)).await?;
        ensure(reason(&status, StepName::Build) == reasons::OLDER_RELEASE, || told(&status))?;

        program
            .run_spec("back", json!({"pipelineRef": {"name": SECOND}, "rollBackTo": "p1", "requestedBy": DEVELOPER}))
            .await?;
        let status = scenario.on_failure(&program, "back", program.succeeded("back", LONG)).await?;
        ensure(status.trigger == Trigger::RollBack && release(&status)? == one, || told(&status))?;
        ensure(step(&status, StepName::ApprovalProduction).is_err(), || "what was approved is asked for again".into())?;
        program.serves(PRODUCTION, "Release 1").await
    })
}

/// Runs the first half; its load test misses a threshold, and the manager accepts that.
async fn tested(scenario: &Scenario, program: &Program, name: &str, number: u32) -> Outcome<Sha256Digest> {
    let artifact = program.push(artifacts::site(number, None).await?.path()).await?;
    let spec =
        json!({"pipelineRef": {"name": FIRST}, "artifact": {"digest": artifact.digest()}, "requestedBy": DEVELOPER});
    program.run_spec(name, spec).await?;
    let gate = StepName::ReportPerformanceTest;
    let waits =
        program.wait(name, "waits at the gate", LONG, |status| reason(status, gate) == reasons::AWAITING_OVERRIDE);
    scenario.on_failure(program, name, waits).await?;
    scenario.types(program, MANAGER, &["override", name, "--yes"]).await?;
    let status = scenario.on_failure(program, name, program.succeeded(name, SOON)).await?;
    let accepted: Vec<&str> = status.overrides.iter().map(|given| given.by.as_str()).collect();
    ensure(accepted == [MANAGER] && reason(&status, gate) == reasons::OVERRIDDEN, || told(&status))?;
    let measured = &step(&status, StepName::LoadTest)?.metrics;
    ensure(measured.iter().any(|metric| metric.name == "views_per_minute"), || format!("{measured:?}"))?;
    ensure(step(&status, StepName::SecurityTest)?.state == StepState::Finished, || told(&status))?;
    for metric in measured {
        println!("  {name} {}: {} ({} {})", metric.name, metric.actual, metric.comparator.as_str(), metric.expected);
    }
    release(&status)
}

/// Promotes, approves, and chooses the time.
async fn promote(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    scenario.types(program, DEVELOPER, &["promote", FIRST, "--yes", "--name", name]).await?;
    scenario.on_failure(program, name, program.awaits_approval(name, SOON)).await?;
    program.approve(name, &scenario.launchway).await?;
    let waits = program.wait(name, "waits for a time", SOON, |status| {
        reason(status, StepName::Schedule) == reasons::AWAITING_SCHEDULE
    });
    scenario.on_failure(program, name, waits).await?;
    scenario.types(program, MANAGER, &["schedule", name, "now"]).await
}

async fn held(program: &Program, reason: Option<&str>) -> Outcome {
    let options = Options::stand_in(1);
    let mut environment = program.environment_object(PRODUCTION, "Production", 1, &options);
    if let Some(reason) = reason {
        environment["spec"]["hold"] = json!({ "reason": reason });
    }
    program.apply(&environment).await
}

/// Stage alone, with a load test that no machine passes.
fn first_half(program: &Program, tester: &str) -> Value {
    let mut pipeline = program.pipeline(tester);
    pipeline["metadata"]["name"] = json!(FIRST);
    let spec = &mut pipeline["spec"];
    spec["type"] = json!("StageOnly");
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("production");
    }
    spec["gates"] = json!({"importantFailures": "Ask", "timeout": "1h"});
    // The open stand-in of a dispatcher has no filter, and these three find that out.
    let open = ["dispatcher_filter_bypass", "sling_post_servlet", "sling_referrer_filter"];
    spec["stage"]["tests"]["security"] = json!({"skip": open});
    spec["stage"]["tests"]["performance"] = json!({
        "pages": [{"name": "popular", "weight": 100, "paths": [PAGE]}],
        "duration": "10s", "visitors": 2, "pagesPerMinute": 300,
        "thresholds": {"pagesPerMinute": 60000},
    });
    pipeline
}

fn second_half() -> Value {
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": {"name": SECOND},
        "spec": {
            "type": "ProductionOnly",
            "source": {"pipeline": FIRST},
            "production": {
                "environment": PRODUCTION,
                "approval": {"required": true, "timeout": "1h"},
                "schedule": {"required": true, "timeout": "1h"},
            },
        },
    })
}
