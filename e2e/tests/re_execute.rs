//! The deployment to production is done again: after success, failure and cancellation; and what is refused says why.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use launchway_crds::{
    conditions::reasons,
    digest::{ImageRef, Sha256Digest},
    execution::{PipelineExecutionStatus, Trigger},
    step::StepName,
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::call,
    executions::{reason, release, step, told},
    failure::ensure,
    program::{DEVELOPER, Options, PIPELINE, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario},
};
use serde_json::json;

const LONG: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(30);
/// Name of the quota that keeps new pods out.
const FULL: &str = "full";

#[test]
fn the_last_deployment_to_production_is_done_again_and_no_other() -> Outcome {
    scenario::run("re-execute", |scenario| async move {
        let options = Options { ready_timeout: "1m", ..Options::stand_in(1) };
        let program = scenario.program("", &options).await?;
        again(&program, "of-nothing", "r1").await?;
        refused(&program, "of-nothing", "has no execution to do again").await?;

        scenario.deploy(&program, "r1", 1).await?;
        let first = release(&program.ended("r1", SOON).await?)?;
        again(&program, "r1-again", "r1").await?;
        repeated(&scenario, &program, "r1-again", first).await?;
        again(&program, "not-the-last", "r1").await?;
        refused(&program, "not-the-last", "not the last execution of the pipeline, which is r1-again").await?;

        // A refused execution is the last one now, and never came to production.
        again(&program, "of-a-refused", "not-the-last").await?;
        refused(&program, "of-a-refused", "its deployment to production never began").await?;

        let second = program.push(artifacts::site(2, None).await?.path()).await?;
        let release = failed(&scenario, &program, &second).await?;
        again(&program, "r2-again", "r2").await?;
        repeated(&scenario, &program, "r2-again", release).await?;
        program.serves(PRODUCTION, "Release 2").await?;

        cancelled(&scenario, &program, &second).await?;
        again(&program, "of-a-cancelled", "r3").await?;
        refused(&program, "of-a-cancelled", "its deployment to production never began").await?;

        let release = half_way(&scenario, &program, &options).await?;
        again(&program, "r4-again", "r4").await?;
        repeated(&scenario, &program, "r4-again", release).await?;
        program.serves(PRODUCTION, "Release 3").await?;

        let back = json!({"pipelineRef": {"name": PIPELINE}, "rollBackTo": "r1", "requestedBy": DEVELOPER});
        program.run_spec("back", back).await?;
        scenario.on_failure(&program, "back", program.succeeded("back", LONG)).await?;
        program.serves(PRODUCTION, "Release 1").await?;
        again(&program, "of-the-way-back", "back").await?;
        refused(&program, "of-the-way-back", "it went back to an earlier release").await?;
        elsewhere(&program).await
    })
}

async fn again(program: &Program, name: &str, of: &str) -> Outcome {
    let spec = json!({"pipelineRef": {"name": PIPELINE}, "reExecute": of, "requestedBy": DEVELOPER});
    program.run_spec(name, spec).await.map(drop)
}

async fn refused(program: &Program, name: &str, because: &str) -> Outcome {
    let status = program.ended(name, SOON).await?;
    let message = step(&status, StepName::Validate)?.message.clone().unwrap_or_default();
    ensure(reason(&status, StepName::Validate) == reasons::SOURCE_REFUSED && message.contains(because), || {
        format!("{name} was not refused because {because}:\n{}", told(&status))
    })?;
    println!("  {name}: {message}");
    Ok(())
}

/// It deploys the same release, without a build, a test or an approval.
async fn repeated(scenario: &Scenario, program: &Program, name: &str, wanted: Sha256Digest) -> Outcome {
    let status = scenario.on_failure(program, name, program.succeeded(name, LONG)).await?;
    ensure(status.trigger == Trigger::ReExecute && release(&status)? == wanted, || told(&status))?;
    let steps: Vec<StepName> = status.steps.iter().map(|step| step.name).collect();
    ensure(steps == [StepName::Validate, StepName::Build, StepName::DeployProduction], || format!("steps: {steps:?}"))?;
    println!("  {name}: deployed {wanted} again");
    Ok(())
}

/// A deployment that fails because the namespace has no room for another pod; afterwards it has.
async fn failed(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome<Sha256Digest> {
    program.run("r2", Some(artifact.digest())).await?;
    scenario.on_failure(program, "r2", program.awaits_approval("r2", LONG)).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let pods: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let full = call(pods.list(&ListParams::default().fields("status.phase=Running"))).await?.items.len();
    program
        .apply(&json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": FULL},
            "spec": {"hard": {"pods": full.to_string()}},
        }))
        .await?;
    program.approve("r2", &scenario.launchway).await?;
    let status = scenario.on_failure(program, "r2", program.ended("r2", LONG)).await?;
    call(quotas.delete(FULL, &DeleteParams::default())).await.map(drop)?;
    ensure(reason(&status, StepName::DeployProduction) == reasons::DEPLOYMENT_FAILED, || told(&status))?;
    program.serves(PRODUCTION, "Release 1").await?;
    println!("  r2 failed: {}", step(&status, StepName::DeployProduction)?.message.clone().unwrap_or_default());
    release(&status)
}

async fn cancelled(scenario: &Scenario, program: &Program, artifact: &ImageRef) -> Outcome {
    program.run("r3", Some(artifact.digest())).await?;
    let status: PipelineExecutionStatus = scenario
        .on_failure(program, "r3", async {
            program.awaits_approval("r3", LONG).await?;
            scenario.types(program, DEVELOPER, &["cancel", "r3", "--reason", "not today"]).await?;
            program.ended("r3", SOON).await
        })
        .await?;
    ensure(status.state == reasons::CANCELLED, || told(&status))
}

/// A deployment that pauses after the first of two pairs, and is cancelled there by somebody who has looked at that pair.
async fn half_way(scenario: &Scenario, program: &Program, options: &Options) -> Outcome<Sha256Digest> {
    program.apply(&program.environment_object(PRODUCTION, "Production", 2, options)).await?;
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["spec"]["production"]["pause"] = json!({"afterPairs": 1});
    program.apply(&pipeline).await?;
    let third = program.push(artifacts::site(3, None).await?.path()).await?;
    program.run("r4", Some(third.digest())).await?;
    let work = async {
        program.awaits_approval("r4", LONG).await?;
        program.approve("r4", &scenario.launchway).await?;
        program.says_why("r4", StepName::DeployProduction, reasons::PAUSED, LONG).await?;
        scenario.types(program, DEVELOPER, &["cancel", "r4", "--reason", "the first pair looks wrong"]).await?;
        program.ended("r4", SOON).await
    };
    let status = scenario.on_failure(program, "r4", work).await?;
    let message = step(&status, StepName::DeployProduction)?.message.clone().unwrap_or_default();
    ensure(message.contains("cancelled by dana: the first pair looks wrong"), || told(&status))?;
    println!("  r4: {message}");
    release(&status)
}

/// A pipeline that ends on stage has no deployment to production to do again.
async fn elsewhere(program: &Program) -> Outcome {
    let mut pipeline = program.pipeline(&program.images.tester);
    pipeline["metadata"]["name"] = json!("stage-alone");
    pipeline["spec"]["type"] = json!("StageOnly");
    if let Some(spec) = pipeline["spec"].as_object_mut() {
        spec.remove("production");
    }
    program.apply(&pipeline).await?;
    let spec = json!({"pipelineRef": {"name": "stage-alone"}, "reExecute": "r1", "requestedBy": DEVELOPER});
    program.run_spec("of-stage", spec).await?;
    let status = program.ended("of-stage", SOON).await?;
    ensure(reason(&status, StepName::Validate) == reasons::NOT_POSSIBLE, || told(&status))?;
    let stage = program.environment(STAGE).await?.status.unwrap_or_default();
    ensure(stage.lock.is_none(), || format!("stage stays locked: {stage:?}"))
}
