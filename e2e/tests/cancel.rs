//! An execution is cancelled in every step: it ends there, what it held is free, and production is as it was.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{
    conditions::reasons,
    digest::ImageRef,
    environment::RolloutState,
    execution::PipelineExecutionStatus,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    executions::{reason, step, told},
    failure::ensure,
    people,
    program::{APPROVER, DEVELOPER, Options, PAGE, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario},
};
use serde_json::{Value, json};

/// From the beginning to any step, with a build before it.
const THERE: Duration = Duration::from_secs(180);
/// From the request to the end.
const SOON: Duration = Duration::from_secs(30);
/// Who chooses times.
const MANAGER: &str = "mary";
/// Who gives the go.
const SUPPORT: &str = "sam";

#[test]
fn an_execution_can_be_cancelled_in_every_step() -> Outcome {
    scenario::run("cancel", |scenario| async move {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        for (who, role) in [(MANAGER, "launchway-deployment-manager"), (SUPPORT, "launchway-support")] {
            program.apply(&people::binding(who, role)).await?;
        }
        let site = artifacts::site(1, None).await?;
        let artifact = program.push(site.path()).await?;
        for step in StepName::ALL {
            let name = format!("at-{}", step.dashed());
            let work = cancelled_in(&scenario, &program, &name, step, &artifact);
            scenario.on_failure(&program, &name, work).await?;
            free(&program, &name).await?;
        }
        let production = program.environment(PRODUCTION).await?.status.unwrap_or_default();
        ensure(production.deployed.is_none() && production.target.is_none(), || format!("{production:?}"))?;
        artifacts::wishes(site.path(), "release=\"another\"")?;
        let another = program.push(site.path()).await?;
        before_the_next_step(&scenario, &program, &another).await?;
        too_late(&scenario, &program, &another).await
    })
}

/// Lets an execution come to the step, and cancels it there.
async fn cancelled_in(
    scenario: &Scenario,
    program: &Program,
    name: &str,
    wanted: StepName,
    artifact: &ImageRef,
) -> Outcome {
    held(program, STAGE, [StepName::Deploy, StepName::DeployStage].contains(&wanted)).await?;
    held(program, PRODUCTION, wanted == StepName::DeployProduction).await?;
    let pipeline = if wanted == StepName::Deploy { to_stage(program) } else { pipeline(program, wanted) };
    program.apply(&pipeline).await?;
    let spec = json!({
        "pipelineRef": pipeline["metadata"], "artifact": {"digest": artifact.digest()}, "requestedBy": DEVELOPER,
    });
    program.run_spec(name, spec).await?;
    for (before, who, words) in [
        (StepName::ApprovalProduction, APPROVER, ["approve", name, "--yes"].as_slice()),
        (StepName::Schedule, MANAGER, &["schedule", name, "now"]),
        (StepName::Managed, SUPPORT, &["managed-go", name, "--yes"]),
    ] {
        if before < wanted {
            program.says_why(name, before, awaited(before), THERE).await?;
            scenario.types(program, who, words).await?;
        }
    }
    program.begins(name, wanted, THERE).await?;
    scenario.types(program, DEVELOPER, &["cancel", name, "--reason", "wrong branch"]).await?;
    let status = program.ended(name, SOON).await?;
    ended_in(&status, wanted).map_err(|failure| failure.seen(&told(&status)))?;
    println!("  cancelled in {}", wanted.as_str());
    Ok(())
}

fn awaited(step: StepName) -> &'static str {
    match step {
        StepName::Schedule => reasons::AWAITING_SCHEDULE,
        StepName::Managed => reasons::AWAITING_GO,
        _ => reasons::AWAITING_APPROVAL,
    }
}

fn ended_in(status: &PipelineExecutionStatus, wanted: StepName) -> Outcome {
    let ended = step(status, wanted)?;
    let message = ended.message.clone().unwrap_or_default();
    ensure(ended.state == StepState::Cancelled && reason(status, wanted) == reasons::CANCELLED, || {
        format!("{} ended as {:?}: {message}", wanted.as_str(), ended.state)
    })?;
    ensure(message.contains("cancelled by dana: wrong branch"), || format!("nobody is named: {message}"))?;
    ensure(status.state == reasons::CANCELLED, || format!("the execution ended as {}", status.state))?;
    let later: Vec<&str> = status
        .steps
        .iter()
        .filter(|step| step.name > wanted && step.state != StepState::NotStarted)
        .map(|step| step.name.as_str())
        .collect();
    ensure(later.is_empty(), || format!("steps began after the end: {later:?}"))
}

/// Both Environments are unlocked, and no Job of the execution goes on.
async fn free(program: &Program, name: &str) -> Outcome {
    let jobs: Api<Job> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    until(&format!("nothing of {name} is left at work"), SOON, || async {
        for environment in [STAGE, PRODUCTION] {
            if let Some(lock) = program.environment(environment).await?.status.and_then(|status| status.lock) {
                return Ok(Err(format!("{environment} is locked by {}", lock.execution)));
            }
        }
        let active = call(jobs.list(&ListParams::default())).await?.items.into_iter().find(|job| {
            job.name_any().starts_with(name) && job.status.as_ref().and_then(|status| status.active).unwrap_or(0) > 0
        });
        Ok(active.map_or(Ok(()), |job| Err(format!("Job {} is active", job.name_any()))))
    })
    .await
}

/// A cancellation during the rollout to stage leaves no pod between two releases: the rollout comes to its end, and the
/// execution ends before its next step, which never begins.
async fn before_the_next_step(scenario: &Scenario, program: &Program, another: &ImageRef) -> Outcome {
    let name = "in-rollout";
    held(program, STAGE, false).await?;
    program.apply(&program.pipeline(&scenario.images.tester)).await?;
    program.run(name, Some(another.digest())).await?;
    let work = async {
        until("stage is being rolled", THERE, || async {
            let status = program.environment(STAGE).await?.status.unwrap_or_default();
            let target = status.target.as_ref().is_some_and(|target| target.execution == name);
            let rolls = status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Progressing);
            Ok(if target && rolls { Ok(()) } else { Err(format!("{:?} {:?}", status.target, status.rollout)) })
        })
        .await?;
        scenario.types(program, DEVELOPER, &["cancel", name, "--reason", "wrong branch"]).await?;
        let status = program.execution(name).await?.status.unwrap_or_default();
        ensure(step(&status, StepName::DeployStage)?.state == StepState::Running, || {
            format!("the cancellation did not come during the rollout:\n{}", told(&status))
        })?;
        program.ended(name, THERE).await
    };
    let status = scenario.on_failure(program, name, work).await?;
    ended_in(&status, StepName::SmokeTest).map_err(|failure| failure.seen(&told(&status)))?;
    let deployed = step(&status, StepName::DeployStage)?;
    let next = step(&status, StepName::SmokeTest)?;
    ensure(deployed.state == StepState::Finished && next.child.is_none(), || told(&status))?;
    let stage = program.environment(STAGE).await?.status.unwrap_or_default();
    let runs = stage.deployed.as_ref().map(|deployed| &deployed.release);
    ensure(runs.is_some() && runs == status.release.as_ref(), || format!("{stage:?}"))?;
    println!("  cancelled in a rollout: {}", deployed.message.clone().unwrap_or_default());
    free(program, name).await
}

/// A cancellation during the deployment to production comes too late: the execution finishes, and says so.
async fn too_late(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    let name = "too-late";
    held(program, PRODUCTION, false).await?;
    program.apply(&program.pipeline(&scenario.images.tester)).await?;
    program.run(name, Some(artifact.digest())).await?;
    let work = async {
        program.awaits_approval(name, THERE).await?;
        program.approve(name, &scenario.launchway).await?;
        until("production has its target", SOON, || async {
            let status = program.environment(PRODUCTION).await?.status.unwrap_or_default();
            Ok(if status.target.is_some() { Ok(()) } else { Err(format!("{status:?}")) })
        })
        .await?;
        scenario.types(program, DEVELOPER, &["cancel", name, "--reason", "second thoughts"]).await?;
        program.succeeded(name, THERE).await
    };
    let status = scenario.on_failure(program, name, work).await?;
    let message = step(&status, StepName::DeployProduction)?.message.clone().unwrap_or_default();
    ensure(message.contains("the cancellation came too late"), || format!("it does not say so: {message}"))?;
    program.serves(PRODUCTION, "Release 1").await
}

/// Holds an Environment, or lets it go.
async fn held(program: &Program, name: &str, held: bool) -> Outcome {
    let type_ = if name == STAGE { "Stage" } else { "Production" };
    let mut environment = program.environment_object(name, type_, 1, &Options::stand_in(1));
    if held {
        environment["spec"]["hold"] = json!({"reason": "so that the deployment can be cancelled"});
    }
    program.apply(&environment).await
}

/// A Pipeline that ends where its release is tested.
fn to_stage(program: &Program) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["metadata"]["name"] = json!("to-stage");
    let spec = &mut pipeline["spec"];
    spec["type"] = json!("Deployment");
    spec["deployment"] = json!({"environment": STAGE});
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("stage");
        spec.remove("production");
    }
    pipeline
}

/// A Pipeline with every step up to this one, which takes so long that it can be cancelled.
fn pipeline(program: &Program, wanted: StepName) -> Value {
    let mut pipeline = program.pipeline(&program.images.tester);
    let spec = &mut pipeline["spec"];
    let slow = format!("{PAGE}?standin-seconds=40");
    let image = json!({
        "image": program.images.tester,
        "variables": {"LAUNCHWAY_TEST_PATH": slow, "LAUNCHWAY_TEST_TIMEOUT": "60"},
    });
    if let Some(tests) = spec["stage"]["tests"].as_object_mut() {
        tests.remove("functional");
    }
    spec["stage"]["approval"] = json!({"required": wanted == StepName::ApprovalStage});
    spec["production"]["schedule"] = json!({"required": wanted >= StepName::Schedule});
    spec["production"]["managed"] = json!({"required": wanted >= StepName::Managed});
    let tests = &mut spec["stage"]["tests"];
    let load = |duration: &str| {
        json!({
            "pages": [{"name": "popular", "weight": 100, "paths": [PAGE]}],
            "duration": duration, "visitors": 1, "pagesPerMinute": 60,
            "thresholds": {"pagesPerMinute": 60000},
        })
    };
    match wanted {
        StepName::Validate => spec["suspend"] = json!(true),
        // Nobody answers there: the operator asks for five minutes.
        StepName::Build => {
            spec["source"]["artifact"]["repository"] = json!("registry.launchway-e2e.invalid:5000/x/artifacts");
        }
        StepName::SmokeTest => tests["smoke"] = json!([{"path": slow}]),
        StepName::SecurityTest => tests["security"] = json!({}),
        StepName::LoadTest => tests["performance"] = load("2m"),
        StepName::ReportPerformanceTest => {
            spec["gates"] = json!({"importantFailures": "Ask", "timeout": "1h"});
            spec["stage"]["tests"]["performance"] = load("10s");
        }
        StepName::ProductTest => tests["product"] = image,
        StepName::FunctionalTest => tests["functional"] = image,
        StepName::UiTest => tests["ui"] = image,
        StepName::ContentAudit => tests["audit"] = image,
        StepName::CodeQuality
        | StepName::BuildImage
        | StepName::Deploy
        | StepName::DeployStage
        | StepName::ApprovalStage
        | StepName::ApprovalProduction
        | StepName::Schedule
        | StepName::Managed
        | StepName::DeployProduction => {}
    }
    pipeline
}
