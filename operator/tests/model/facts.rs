//! What the operator reads of a site: the facts of one execution, as `observe/execution.rs` puts them together.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    common::Span,
    digest::ImageRef,
    environment::{ReleaseImages, Runtime},
    execution::{ArtifactFile, Environments},
    names::{child_name, requests},
    revision::PipelineRevision,
    step::StepName,
};
use launchway_operator::outline::ExecutionOutline;
use launchway_operator::plan::execution::{
    needs, queue, revision, route, uses_job,
    world::{
        Fault, FoundArtifact, FoundRelease, GitFacts, Guard, JobEnd, JobFacts, JobPod, ReleaseDigests, Siblings, World,
    },
};
use launchway_operator::plan::memory;

use serde_json::Value;

use super::frozen::Frozen;
use super::site::{Execution, Kind, PipelineShape, Planner, Site};

pub fn image(letter: char) -> ImageRef {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

/// The images that the build of an execution makes: each its own.
fn images(uid: &str) -> ReleaseImages {
    let at = uid.bytes().last().unwrap_or_default() % 5;
    ReleaseImages { aem: image(char::from(b'0' + at)), dispatcher: image(char::from(b'5' + at)) }
}

/// What the build of an execution makes: each one its own.
pub fn release(uid: &str) -> ImageRef {
    let at = uid.bytes().last().unwrap_or_default() % 6;
    image(char::from(b'a' + at))
}

/// Objects before anything happened to them: made once, for they are asked for millions of times.
static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| Templates {
    environments: ["stage", "stage2", "prod"].into_iter().map(|name| (name, environment(name))).collect(),
    pipelines: Site::PIPELINES.iter().enumerate().map(|(at, shape)| versions(at, shape)).collect(),
    execution: serde_json::from_value(serde_json::json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "namespace": "wknd" }, "spec": { "pipelineRef": { "name": "" }, "requestedBy": "ann" },
    }))
    .unwrap(),
    annotator: annotator(),
    runtime: Runtime { aem: Some(image('8')), dispatcher: Some(image('9')), ..Default::default() },
    artifact: artifact(),
});

struct Templates {
    environments: BTreeMap<&'static str, Environment>,
    /// As it is at first, and as it is edited.
    pipelines: Vec<[Version; 2]>,
    execution: PipelineExecution,
    annotator: ManagedFieldsEntry,
    runtime: Runtime,
    artifact: FoundArtifact,
}

fn environment(name: &str) -> Environment {
    let type_ = if name.starts_with("stage") { "Stage" } else { "Production" };
    serde_json::from_value(serde_json::json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": "wknd" }, "spec": { "type": type_ },
    }))
    .unwrap()
}

fn annotator() -> ManagedFieldsEntry {
    serde_json::from_value(serde_json::json!({
        "manager": "kubectl", "operation": "Update", "time": "2026-11-21T09:00:00Z",
        "fieldsV1": { "f:metadata": { "f:annotations": { "f:launchway.dev/approve-production": {} } } },
    }))
    .unwrap()
}

fn pipeline(shape: &PipelineShape) -> Pipeline {
    let stage =
        shape.stage.map(|stage| serde_json::json!({ "environment": stage, "tests": { "smoke": [{ "path": "/" }] } }));
    let production = shape.production.map(|production| serde_json::json!({ "environment": production }));
    let artifact = serde_json::json!({ "artifact": { "repository": "registry.example.com/wknd/artifacts" } });
    let mut spec = serde_json::json!({ "concurrency": shape.concurrency, "history": { "succeeded": 0, "failed": 0 } });
    let (type_, source) = match shape.kind {
        Kind::FullStack => ("FullStack", artifact),
        Kind::StageOnly => ("StageOnly", artifact),
        Kind::ProductionOnly { source } => ("ProductionOnly", serde_json::json!({ "pipeline": name_of(source) })),
        Kind::WebTier => ("WebTier", artifact),
    };
    (spec["type"], spec["source"]) = (type_.into(), source);
    if stage.is_some() || shape.kind == Kind::WebTier {
        spec["images"] = serde_json::json!({ "repository": "registry.example.com/wknd/images" });
    }
    for (field, value) in [("stage", stage), ("production", production)] {
        if let Some(value) = value {
            spec[field] = value;
        }
    }
    serde_json::from_value(serde_json::json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": { "namespace": "wknd" }, "spec": spec,
    }))
    .unwrap()
}

/// One of the texts of a pipeline.
struct Version {
    pipeline: Pipeline,
    revision: PipelineRevision,
    data: Value,
}

/// A pipeline and the same after an edit that changes what an execution does and when it gives up.
fn versions(at: usize, shape: &PipelineShape) -> [Version; 2] {
    [false, true].map(|edited| {
        let mut pipeline = pipeline(shape);
        pipeline.metadata.name = Some(name_of(at));
        pipeline.metadata.generation = Some(1 + i64::from(edited));
        if edited {
            if let Some(stage) = &mut pipeline.spec.stage {
                stage.tests.smoke[0].path = "/other".into();
            }
            if let Some(production) = &mut pipeline.spec.production {
                production.approval.timeout = Span::from_secs(7 * 24 * 3600);
            }
        }
        Version { revision: revision::of(&pipeline), data: revision::data(&pipeline.spec), pipeline }
    })
}

/// Hours that an execution which runs this version waits for an approval.
pub fn approval_hours(pipeline: usize, runs: &PipelineRevision) -> i64 {
    if TEMPLATES.pipelines[pipeline][1].revision.digest == runs.digest { 7 * 24 } else { 14 * 24 }
}

fn name_of(pipeline: usize) -> String {
    format!("pipeline-{pipeline}")
}

impl Site {
    fn pipeline(&self, index: usize) -> Pipeline {
        let mut pipeline = TEMPLATES.pipelines[index][usize::from(self.edited[index])].pipeline.clone();
        pipeline.status = Some(self.ledgers[index].get().clone());
        pipeline
    }

    fn object(&self, execution: &Execution) -> PipelineExecution {
        let mut object = TEMPLATES.execution.clone();
        object.metadata.name = Some(execution.name.to_owned());
        object.metadata.uid = Some(execution.uid.to_owned());
        object.metadata.creation_timestamp = Some(Time(Self::at(execution.created)));
        object.spec.pipeline_ref.name = name_of(execution.pipeline);
        object.status = execution.status.as_ref().map(|status| status.get().clone());
        let mut annotations = BTreeMap::new();
        if let Some(value) = &execution.asked.approve {
            annotations.insert(requests::APPROVE_PRODUCTION.to_owned(), value.clone());
            annotations.insert(requests::APPROVED_BY.to_owned(), "bob".to_owned());
            object.metadata.managed_fields = Some(vec![TEMPLATES.annotator.clone()]);
        }
        for (asked, key) in [(execution.asked.cancel, requests::CANCEL), (execution.asked.reject, requests::REJECT)] {
            if asked {
                annotations.insert(key.to_owned(), "a reason".to_owned());
            }
        }
        object.metadata.annotations = Some(annotations);
        object
    }

    /// UIDs of executions that may be deleted, by the facts that `observe/memory.rs` reads.
    pub fn surplus(&self, pipeline: usize) -> Vec<String> {
        let there = self.executions.iter().filter(|one| one.exists);
        let environments = self.environments.iter().map(|(name, status)| {
            let mut found = TEMPLATES.environments[name].clone();
            found.status = Some(status.get().clone());
            found
        });
        let world = memory::world::World {
            pipeline: self.pipeline(pipeline),
            pipelines: (0..Self::PIPELINES.len()).map(|at| self.pipeline(at)).collect(),
            environments: environments.collect(),
            executions: there.map(|one| Arc::new(ExecutionOutline::of(&self.object(one)))).collect(),
            revisions: vec![],
            in_use: None,
        };
        let deleted = memory::next(&world).into_iter().filter_map(|action| match action {
            memory::Action::DeleteExecution { uid, .. } => Some(uid),
            memory::Action::DeleteRevision { .. } => None,
        });
        deleted.collect()
    }

    /// The facts about an execution, as `observe/execution.rs` reads them for a planner: each may ask for others.
    pub fn world(&self, planner: Planner, index: usize) -> World {
        let execution = &self.executions[index];
        let shape = &Self::PIPELINES[execution.pipeline];
        let found = |name: &'static str| {
            let mut found = TEMPLATES.environments[name].clone();
            found.status = Some(self.environments[name].get().clone());
            found
        };
        let status = execution.status.as_ref().map(Frozen::get);
        let live = self.pipeline(execution.pipeline);
        let wanted = revision::wanted(&live, status);
        let kept = wanted.as_ref().and_then(|wanted| self.kept_version(execution.pipeline, wanted));
        let (pipeline, revision) = revision::apply(live, wanted, kept);
        let source = match shape.kind {
            Kind::ProductionOnly { source } => Some(self.pipeline(source)),
            Kind::FullStack | Kind::StageOnly | Kind::WebTier => None,
        };
        let mut world = World {
            now: self.now(),
            execution: self.object(execution),
            pipeline: Some(pipeline),
            revision,
            stage: shape.stage.map(found),
            production: shape.production.map(found),
            source_pipeline: source,
            rival: None,
            ahead: None,
            siblings: Siblings::default(),
            artifact: None,
            git: GitFacts::default(),
            jobs: BTreeMap::new(),
            release: None,
            refused: vec![],
            denied: None,
            guard: Guard::NotLookedAt,
            web_tiers: None,
            default_runtime: TEMPLATES.runtime.clone(),
        };
        let needs = needs(&world);
        if needs.queue || needs.siblings {
            self.look_around(&mut world, needs.queue, needs.siblings);
        }
        if needs.artifact && execution.status.as_ref().is_none_or(|status| status.get().artifact.is_none()) {
            world.artifact = Some(self.answer(TEMPLATES.artifact.clone()));
        }
        if needs.guard.is_some() {
            let since = "2026-11-01T00:00:00Z".parse().unwrap();
            world.guard = if self.guard_missing {
                Guard::Missing("the binding".into())
            } else {
                Guard::InForce { since, creations_since: since }
            };
        }
        if needs.web_tiers {
            world.web_tiers = Some(self.web_tiers());
        }
        let mut look = needs.job.or_else(|| planner(&world).look);
        while let Some(step) = look {
            if !uses_job(step) {
                world.web_tiers = Some(self.web_tiers());
                look = planner(&world).look;
                continue;
            }
            let job = self.job(execution, step);
            if let JobFacts::Ended { end: JobEnd::Built { release }, .. } = &job {
                let found =
                    FoundRelease { release: release.release.clone(), images: release.images.clone(), files: vec![] };
                world.release = Some(self.answer(found));
            }
            world.jobs.insert(step, job);
            look = planner(&world).look;
        }
        world
    }

    fn kept_version(&self, pipeline: usize, wanted: &PipelineRevision) -> Option<Value> {
        let versions = &TEMPLATES.pipelines[pipeline];
        let at = versions.iter().position(|version| version.revision.name == wanted.name)?;
        self.kept.contains(&(pipeline, at == 1)).then(|| versions[at].data.clone())
    }

    /// A pipeline of type WebTier is there as soon as somebody ran it.
    fn web_tiers(&self) -> BTreeMap<String, String> {
        let shapes = self.executions.iter().map(|one| (one.pipeline, &Self::PIPELINES[one.pipeline]));
        shapes
            .filter(|(_, shape)| shape.kind == Kind::WebTier)
            .filter_map(|(index, shape)| Some((shape.production?.to_owned(), name_of(index))))
            .collect()
    }

    fn answer<T>(&self, found: T) -> Result<T, Fault> {
        if self.registry_away { Err(Fault::Unreachable("no answer".into())) } else { Ok(found) }
    }

    /// Who else wants the same. Everybody who is there from the beginning was created in the same second.
    fn look_around(&self, world: &mut World, queue: bool, siblings: bool) {
        let there = self.executions.iter().filter(|one| one.exists);
        let all: Vec<_> = there.map(|one| ExecutionOutline::of(&self.object(one))).collect();
        let recorded = world.execution.status.as_ref().and_then(|status| status.environments.clone());
        let named = || world.pipeline.as_ref().map(|it| route::environments(&it.spec, &world.execution.spec));
        let wanted: Environments = recorded.or_else(named).unwrap_or_default();
        if queue {
            world.ahead = queue::ahead(&all, world, &wanted);
        }
        if siblings {
            world.siblings = queue::siblings(&all, world);
        }
    }

    fn job(&self, execution: &Execution, step: StepName) -> JobFacts {
        let name = child_name(execution.name, step.dashed());
        let Some(job) = self.jobs.get(&(execution.name, step)) else { return JobFacts::Absent };
        if job.owner != execution.uid {
            return JobFacts::Foreign { name };
        }
        let uid = format!("{}-{}", job.owner, step.dashed());
        let end = match (job.passed, step) {
            (None, _) => return JobFacts::Active { name, uid, pod: JobPod::Works },
            (Some(true), StepName::BuildImage) => JobEnd::Built {
                release: ReleaseDigests { release: release(job.owner), images: images(job.owner), report: image('0') },
            },
            (Some(true), StepName::CodeQuality) => {
                JobEnd::Measured { metrics: vec![], message: "checked".into(), report: None }
            }
            (Some(true), _) => JobEnd::Passed { message: "1 page".into() },
            (Some(false), _) => JobEnd::Failed { reason: "TestFailed".into(), message: "no".into(), report: None },
        };
        JobFacts::Ended { name, uid, end }
    }
}

fn artifact() -> FoundArtifact {
    let file = ArtifactFile {
        name: "all.zip".into(),
        sha256: image('f').digest(),
        size: 1,
        kind: None,
        id: None,
        reason: None,
    };
    FoundArtifact { reference: image('f'), files: vec![file] }
}
