//! The two halves of a pipeline, with every word that people have in it: a gate that is overridden, a promotion, a
//! schedule, a hold, a pause, a release that is too old, and the way back; and the whole pipeline beside them.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use launchway_crds::{
    conditions::reasons,
    digest::Sha256Digest,
    execution::{PipelineExecutionStatus, Trigger, WaitingFor},
    step::{StepName, StepState},
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::{call, until},
    executions::{reason, release, step, told},
    failure::ensure,
    page, people,
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
/// An execution of the pipeline that is both halves.
const WHOLE: &str = "whole";
/// What production's pages say from then on.
const GREETING: &str = "Greetings from a change in between";
/// Who accepts metrics and chooses times.
const MANAGER: &str = "mary";

#[test]
fn a_release_is_tested_promoted_scheduled_held_and_taken_back() -> Outcome {
    scenario::run("split", |scenario| async move {
        let program = scenario.program("", &Options { surge: 0, ..Options::stand_in(2) }).await?;
        // Nobody visits, so that nobody has to be waited for.
        production(&program, &json!({"dispatcher": {"drainSeconds": 1}})).await?;
        program.apply(&people::binding(MANAGER, "launchway-deployment-manager")).await?;
        program.apply(&first_half(&program, &scenario.images.tester)).await?;
        program.apply(&second_half()).await?;

        let one = tested(&scenario, &program, "s1", 1).await?;
        promote(&scenario, &program, "p1").await?;
        approve(&scenario, &program, "p1").await?;
        let status = scenario.on_failure(&program, "p1", program.succeeded("p1", LONG)).await?;
        ensure(status.trigger == Trigger::Promote && release(&status)? == one, || told(&status))?;
        let source = status.source.clone().ok_or("no source is recorded")?;
        ensure(source.execution == "s1" && source.pipeline == FIRST, || format!("{source:?}"))?;
        program.serves(PRODUCTION, "Release 1").await?;

        let two = tested(&scenario, &program, "s2", 2).await?;
        let status = second(&scenario, &program).await?;
        ensure(release(&status)? == two, || told(&status))?;
        refused(&scenario, &program).await?;
        stopped(&scenario, &program).await?;

        program
            .run_spec("back", json!({"pipelineRef": {"name": SECOND}, "rollBackTo": "p1", "requestedBy": DEVELOPER}))
            .await?;
        let status = scenario.on_failure(&program, "back", program.succeeded("back", LONG)).await?;
        ensure(status.trigger == Trigger::RollBack && release(&status)? == one, || told(&status))?;
        ensure(step(&status, StepName::ApprovalProduction).is_err(), || "what was approved is asked for again".into())?;
        program.serves(PRODUCTION, "Release 1").await
    })
}

/// The second release: production changes while it waits, the whole pipeline waits for it, and it pauses half-way.
async fn second(scenario: &Scenario, program: &Program) -> Outcome<PipelineExecutionStatus> {
    production(program, &json!({"hold": {"reason": "incident 4711"}})).await?;
    promote(scenario, program, "p2").await?;
    scenario.on_failure(program, "p2", changed_meanwhile(program, "p2")).await?;
    approve(scenario, program, "p2").await?;
    let held = program.says_why("p2", StepName::DeployProduction, reasons::HELD, SOON);
    let status = scenario.on_failure(program, "p2", held).await?;
    let why = awaited(&status)?.why;
    ensure(why.contains("incident 4711"), || why.clone())?;

    program.run(WHOLE, None).await?;
    excluded(scenario, program, WHOLE, "p2").await?;
    production(program, &json!({"hold": null})).await?;
    let pauses = program.says_why("p2", StepName::DeployProduction, reasons::PAUSED, LONG);
    let status = scenario.on_failure(program, "p2", pauses).await?;
    let why = awaited(&status)?.why;
    ensure(why.contains("1 of 2 pairs"), || why.clone())?;
    println!("  p2 waits for {why}");
    excluded(scenario, program, WHOLE, "p2").await?;
    scenario.types(program, DEVELOPER, &["resume", "p2", "--yes"]).await?;
    let status = scenario.on_failure(program, "p2", program.succeeded("p2", LONG)).await?;
    greeted(program, "Release 2").await?;
    Ok(status)
}

/// An Environment takes changes while an execution waits with it: they are rolled out at once with the release that is there,
/// and the execution waits as before.
async fn changed_meanwhile(program: &Program, name: &str) -> Outcome {
    let before = awaited(&program.execution(name).await?.status.unwrap_or_default())?;
    program.greets(PRODUCTION, GREETING, SOON).await?;
    greeted(program, "Release 1").await?;
    let after = awaited(&program.execution(name).await?.status.unwrap_or_default())?;
    ensure(before == after, || format!("{name} waited with {before:?}, and waits with {after:?}"))?;
    println!("  production greets otherwise, while {name} waits for {}", after.why);
    Ok(())
}

/// Production's page has the greeting that was set while an execution waited, and is of this release.
async fn greeted(program: &Program, wanted: &str) -> Outcome {
    until(&format!("production serves {wanted} with another greeting"), SOON, || async {
        let page = program.page(PRODUCTION, PAGE).await?;
        let fits = page.contains(GREETING) && page::heading(&page) == Some(wanted);
        Ok(if fits { Ok(()) } else { Err(page) })
    })
    .await
}

/// It waits for the Environment that another execution has, and says which: neither half runs beside the whole.
async fn excluded(scenario: &Scenario, program: &Program, name: &str, by: &str) -> Outcome {
    let locked = program.says_why(name, StepName::Validate, reasons::ENVIRONMENT_LOCKED, SOON);
    let status = scenario.on_failure(program, name, locked).await?;
    let why = awaited(&status)?.why;
    ensure(why.contains(by), || format!("{name} does not wait for {by}: {why}"))?;
    let lock = program.environment(PRODUCTION).await?.status.and_then(|status| status.lock);
    ensure(lock.as_ref().is_some_and(|lock| lock.execution == by), || format!("production is locked by {lock:?}"))?;
    println!("  {name} waits: {why}");
    Ok(())
}

/// The whole pipeline has its turn, and the second half waits for it; then its release is refused: what Cloud Manager does
/// silently needs a word here.
async fn refused(scenario: &Scenario, program: &Program) -> Outcome {
    let has_its_turn = program.wait(WHOLE, "has its turn", SOON, |status| {
        step(status, StepName::Validate).is_ok_and(|step| step.state == StepState::Finished)
    });
    scenario.on_failure(program, WHOLE, has_its_turn).await?;
    program.run_spec("old", of_the_first(false)).await?;
    excluded(scenario, program, "old", WHOLE).await?;
    scenario.types(program, DEVELOPER, &["cancel", WHOLE, "--reason", "seen enough"]).await?;
    let status = scenario.on_failure(program, WHOLE, program.ended(WHOLE, SOON)).await?;
    ensure(status.state == reasons::CANCELLED, || told(&status))?;
    let status = scenario.on_failure(program, "old", program.ended("old", SOON)).await?;
    ensure(reason(&status, StepName::Build) == reasons::OLDER_RELEASE, || told(&status))
}

/// With that word it goes to production, until somebody stops it half-way.
async fn stopped(scenario: &Scenario, program: &Program) -> Outcome {
    let name = "older";
    program.run_spec(name, of_the_first(true)).await?;
    scenario.on_failure(program, name, program.awaits_approval(name, SOON)).await?;
    approve(scenario, program, name).await?;
    let work = async {
        program.says_why(name, StepName::DeployProduction, reasons::PAUSED, LONG).await?;
        scenario.types(program, DEVELOPER, &["resume", name, "--stop", "--yes"]).await?;
        program.ended(name, SOON).await
    };
    let status = scenario.on_failure(program, name, work).await?;
    let message = step(&status, StepName::DeployProduction)?.message.clone().unwrap_or_default();
    let failed = reason(&status, StepName::DeployProduction) == reasons::DEPLOYMENT_FAILED;
    ensure(failed && message.contains(&format!("stopped by {DEVELOPER}")), || told(&status))?;
    println!("  {name}: {message}");
    Ok(())
}

/// The release of the first execution, whatever came after it.
fn of_the_first(allowed: bool) -> Value {
    json!({
        "pipelineRef": {"name": SECOND}, "sourceExecution": "s1", "allowOlder": allowed, "requestedBy": DEVELOPER,
    })
}

fn awaited(status: &PipelineExecutionStatus) -> Outcome<WaitingFor> {
    status.waiting_for.clone().ok_or_else(|| Failure::new("it waits for nothing").seen(&told(status)))
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

/// Promotes the release that was tested last.
async fn promote(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    scenario.types(program, DEVELOPER, &["promote", FIRST, "--yes", "--name", name]).await?;
    scenario.on_failure(program, name, program.awaits_approval(name, SOON)).await.map(drop)
}

/// Approves, and chooses the time.
async fn approve(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    program.approve(name, &scenario.launchway).await?;
    let waits = program.says_why(name, StepName::Schedule, reasons::AWAITING_SCHEDULE, SOON);
    scenario.on_failure(program, name, waits).await?;
    scenario.types(program, MANAGER, &["schedule", name, "now"]).await
}

/// Changes these parts of production's spec and no others; what is null goes.
async fn production(program: &Program, change: &Value) -> Outcome {
    let patch = json!({"spec": change});
    call(program.environments().patch(PRODUCTION, &PatchParams::default(), &Patch::Merge(&patch))).await.map(drop)
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
                "pause": {"afterPairs": 1, "timeout": "1h"},
            },
        },
    })
}
