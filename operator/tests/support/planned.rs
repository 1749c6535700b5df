//! Executions for the planner, as far along as a test wants them: everything is there, and nothing went wrong.
#![allow(dead_code, clippy::unwrap_used, missing_docs, reason = "shared by several tests")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    deploy::Scope,
    digest::ImageRef,
    environment::{Lock, ReleaseImages, Runtime, Target, Urls},
    execution::{Artifact, PipelineExecutionStatus, Step},
    names::requests,
    step::{StepName, StepState},
};
use launchway_operator::plan::execution::{
    next, uses_job,
    world::{GitFacts, Guard, JobEnd, JobFacts, RevisionFacts, Siblings, World},
};
use serde_json::{Value, json};

/// UID of the execution.
pub const UID: &str = "uid-1";

pub fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

pub fn environment(name: &str, type_: &str) -> Environment {
    let mut environment: Environment = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": "wknd" }, "spec": { "type": type_ },
    }))
    .unwrap();
    let urls = Urls {
        author: format!("http://{name}-author"),
        dispatcher: format!("http://{name}-dispatcher"),
        ..Urls::default()
    };
    environment.status.get_or_insert_default().urls = Some(urls);
    environment
}

/// A pipeline of the type, with everything that pipelines of this type may ask for.
pub fn everything(type_: &str) -> Value {
    let image = image('7').to_string();
    let test = json!({ "image": image });
    let tests = json!({
        "smoke": [{ "path": "/" }], "security": {}, "product": test, "functional": test, "ui": test, "audit": test,
        "performance": { "pages": [{ "name": "popular", "weight": 100, "paths": ["/"] }] },
    });
    let artifact = json!({ "artifact": { "repository": "registry.example.com/wknd/artifacts" } });
    let images = json!({ "repository": "registry.example.com/wknd/images" });
    let stage = json!({ "environment": "stage", "approval": { "required": true }, "tests": tests });
    let production =
        json!({ "environment": "prod", "schedule": { "required": true }, "managed": { "required": true } });
    match type_ {
        "FullStack" => json!({
            "type": type_, "source": artifact, "images": images, "stage": stage, "production": production,
        }),
        "StageOnly" => json!({ "type": type_, "source": artifact, "images": images, "stage": stage }),
        "ProductionOnly" => json!({ "type": type_, "source": { "pipeline": "first" }, "production": production }),
        "Deployment" => json!({
            "type": type_, "source": artifact, "images": images,
            "deployment": { "environment": "dev", "tests": tests },
        }),
        "CodeQuality" => json!({ "type": type_, "source": artifact }),
        other => panic!("{other} is no type of a pipeline"),
    }
}

/// An execution that nobody has looked at yet.
pub fn fresh(pipeline: &Value, asked: &Value) -> World {
    let mut spec = json!({ "pipelineRef": { "name": "wknd" }, "requestedBy": "ann" });
    for (key, value) in asked.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let execution: PipelineExecution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": {
            "name": "wknd-1", "namespace": "wknd", "uid": UID, "creationTimestamp": "2026-11-21T09:59:00Z",
        },
        "spec": spec,
    }))
    .unwrap();
    let pipeline: Pipeline = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "wknd", "namespace": "wknd" }, "spec": pipeline,
    }))
    .unwrap();
    let stage = pipeline
        .spec
        .tested_on()
        .map(|(name, _)| environment(name, if pipeline.spec.stage.is_some() { "Stage" } else { "Development" }));
    let production = pipeline.spec.production.as_ref().map(|place| environment(&place.environment, "Production"));
    let guarded = "2026-11-01T00:00:00Z".parse().unwrap();
    World {
        now: "2026-11-21T10:00:00Z".parse().unwrap(),
        execution,
        pipeline: Some(pipeline),
        stage,
        production,
        source_pipeline: None,
        revision: RevisionFacts::default(),
        rival: None,
        ahead: None,
        siblings: Siblings::default(),
        artifact: None,
        git: GitFacts::default(),
        // Every Job was looked for, and there is none.
        jobs: StepName::ALL.into_iter().filter(|step| uses_job(*step)).map(|step| (step, JobFacts::Absent)).collect(),
        release: None,
        refused: vec![],
        denied: None,
        guard: Guard::InForce { since: guarded, creations_since: guarded },
        web_tiers: Some(BTreeMap::new()),
        default_runtime: Runtime { aem: Some(image('1')), dispatcher: Some(image('2')), ..Runtime::default() },
    }
}

/// Environments of a world.
pub fn environments(world: &mut World) -> impl Iterator<Item = &mut Environment> {
    [&mut world.stage, &mut world.production].into_iter().flatten()
}

/// Locks every Environment for an execution.
pub fn lock(world: &mut World, execution: &str, uid: &str) {
    let since = Time(world.now);
    for environment in environments(world) {
        let lock = Lock { execution: execution.into(), uid: uid.into(), since: since.clone() };
        environment.status.get_or_insert_default().lock = Some(lock);
    }
}

/// Names of all steps, as the first status has them.
pub fn steps(world: &World) -> Vec<StepName> {
    next(world).status.steps.iter().map(|step| step.name).collect()
}

/// The execution has come to this step: what is before it passed.
pub fn at(mut world: World, step: StepName) -> World {
    lock(&mut world, "wknd-1", UID);
    let first = next(&world).status;
    let past = |before: &Step| Step {
        state: StepState::Finished,
        started_at: Some(Time(world.now)),
        finished_at: Some(Time(world.now)),
        ..Step::new(before.name, before.environment.clone())
    };
    let place = |found: &Step| {
        if found.name < step { past(found) } else { Step::new(found.name, found.environment.clone()) }
    };
    let steps = first.steps.iter().map(place).collect();
    world.execution.status = Some(PipelineExecutionStatus {
        steps,
        step: Some(step),
        artifact: Some(Artifact { reference: image('f'), files: vec![].into() }),
        release: (step > StepName::BuildImage).then(|| image('e')),
        images: Some(ReleaseImages { aem: image('a'), dispatcher: image('d') }),
        completion_time: None,
        state: String::new(),
        conditions: vec![],
        ..first
    });
    world
}

/// The release has begun to roll out.
pub fn rolling(world: &mut World) {
    let since = Time(world.now);
    for environment in environments(world) {
        environment.status.get_or_insert_default().target = Some(Target {
            execution: "wknd-1".into(),
            uid: UID.into(),
            release: image('e'),
            images: ReleaseImages { aem: image('a'), dispatcher: image('d') },
            scope: Scope::Release,
            detach: true,
            cache: None,
            made_at: None,
            since: since.clone(),
            pause_after: None,
        });
    }
}

/// Somebody asks for something.
pub fn annotate(world: &mut World, key: &str, value: &str) {
    world.execution.metadata.annotations.get_or_insert_default().insert(key.into(), value.into());
}

/// Somebody cancels.
pub fn cancel(world: &mut World) {
    annotate(world, requests::CANCEL, "wrong branch");
    annotate(world, requests::CANCELLED_BY, "ann");
}

/// The Job of the step is over.
pub fn job_ended(world: &mut World, end: JobEnd) {
    let step = world.execution.status.as_ref().and_then(|status| status.step).unwrap();
    world.jobs.insert(step, JobFacts::Ended { name: "wknd-1-job".into(), uid: "job-1".into(), end });
}

/// State and reason of a step.
pub fn state(status: &PipelineExecutionStatus, step: StepName) -> (StepState, &str) {
    let found = status.steps.iter().find(|found| found.name == step).unwrap();
    (found.state, found.reason.as_deref().unwrap_or_default())
}
