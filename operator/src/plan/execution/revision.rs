//! The pipeline as it was when an execution began: what the execution plans from, whatever is edited meanwhile.
//!
//! A spec may be larger than a status should ever be, so it is kept in an immutable object of its own, named after its
//! content; the execution's status names that object and the digest of what it holds. Executions that run the same share
//! it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource;
use launchway_crds::{
    Pipeline,
    conditions::{self, reasons, types},
    digest::Sha256Digest,
    execution::PipelineExecutionStatus,
    names::short_hash,
    pipeline::{Concurrency, History, PipelineSpec},
    revision::PipelineRevision,
    trigger::PipelineTrigger,
};
use serde_json::Value;

use crate::{image::blob::Hasher, outline::Progress};

use super::{
    Plan, Verdict,
    action::Action,
    validate,
    world::{Kept, RevisionFacts, World},
};

/// Room for a pipeline's name in the name of a kept version.
const NAME_MAX: usize = 200;

/// What executions plan from. Whether one may begin, who is told and what is kept is asked of the pipeline as it is.
fn planned(spec: &PipelineSpec) -> PipelineSpec {
    PipelineSpec {
        suspend: false,
        concurrency: Concurrency::default(),
        history: History::default(),
        notifications: vec![],
        trigger: PipelineTrigger::default(),
        on_change: None,
        ..spec.clone()
    }
}

/// What is kept of a spec.
#[must_use]
pub fn data(spec: &PipelineSpec) -> Value {
    serde_json::to_value(planned(spec)).unwrap_or_default()
}

/// The digest of what is kept. Members of an object are in the order of their names, wherever it was written.
fn digest(data: &Value) -> Sha256Digest {
    Hasher::of(data.to_string().as_bytes())
}

/// The version that a pipeline is now.
#[must_use]
pub fn of(pipeline: &Pipeline) -> PipelineRevision {
    let digest = digest(&data(&pipeline.spec));
    let name = pipeline.metadata.name.as_deref().unwrap_or_default();
    // Two long names that begin alike stay apart.
    let head = if name.len() <= NAME_MAX {
        name.to_owned()
    } else {
        format!("{}-{}", name.chars().take(NAME_MAX).collect::<String>(), short_hash(name.as_bytes()))
    };
    PipelineRevision {
        generation: pipeline.metadata.generation.unwrap_or_default(),
        name: format!("{head}-{}", digest.short()),
        digest,
    }
}

/// Name of the object to look for.
#[must_use]
pub fn wanted(pipeline: &Pipeline, status: Option<&PipelineExecutionStatus>) -> Option<PipelineRevision> {
    match status {
        Some(status) if status.completion_time.is_some() => None,
        Some(PipelineExecutionStatus { pipeline_revision: Some(recorded), .. }) => Some(recorded.clone()),
        // It began before versions were kept.
        Some(status) if status.environments.is_some() => None,
        Some(_) | None => Some(of(pipeline)),
    }
}

/// The pipeline that an execution plans from, made of the pipeline as it is and of what was found of the wanted version.
#[must_use]
pub fn apply(
    mut pipeline: Pipeline,
    wanted: Option<PipelineRevision>,
    found: Option<Value>,
) -> (Pipeline, RevisionFacts) {
    let Some(revision) = wanted else { return (pipeline, RevisionFacts::default()) };
    let facts = |kept, superseded| RevisionFacts { wanted: Some(revision.clone()), kept, superseded };
    let name = &revision.name;
    let Some(found) = found else {
        let same = of(&pipeline).digest == revision.digest;
        let lost = || {
            Kept::Lost(format!(
                "ControllerRevision {name}, which holds the pipeline as it was when this execution began, was deleted, and \
                 the pipeline is another one by now: run the pipeline again"
            ))
        };
        let kept = if same { Kept::Absent } else { lost() };
        return (pipeline, facts(kept, None));
    };
    if digest(&found) != revision.digest {
        let why = format!(
            "ControllerRevision {name} does not hold the pipeline as it was when this execution began: somebody else made \
             it; delete it and run the pipeline again"
        );
        return (pipeline, facts(Kept::Lost(why), None));
    }
    match serde_json::from_value::<PipelineSpec>(found) {
        Err(error) => {
            let why = format!("ControllerRevision {name} cannot be read ({error}): run the pipeline again");
            (pipeline, facts(Kept::Lost(why), None))
        }
        Ok(spec) => {
            let changed = planned(&spec) != planned(&pipeline.spec);
            let superseded = changed.then(|| pipeline.metadata.generation.unwrap_or_default());
            let PipelineSpec { suspend, concurrency, history, notifications, trigger, on_change, .. } = pipeline.spec;
            pipeline.spec = PipelineSpec { suspend, concurrency, history, notifications, trigger, on_change, ..spec };
            (pipeline, facts(Kept::Whole, superseded))
        }
    }
}

/// Before anything else an execution's version of the pipeline is kept; one that ended before needs none.
pub(super) fn keep(world: &World, status: &PipelineExecutionStatus) -> Option<Plan> {
    let (pipeline, revision) = (world.pipeline.as_ref()?, world.revision.wanted.as_ref()?);
    if world.revision.kept != Kept::Absent || validate::remembered(world, pipeline).is_some() {
        return None;
    }
    let keep = Action::KeepRevision {
        // Only what never was in an apiserver has no name or UID.
        owner: Box::new(pipeline.controller_owner_ref(&()).unwrap_or_default()),
        spec: Box::new(pipeline.spec.clone()),
        revision: revision.clone(),
    };
    Some(Plan { actions: vec![keep], status: status.clone(), again: false, wake: None, look: None })
}

/// Says of an execution that its pipeline says something else by now; one whose pipeline was never edited has no such
/// condition.
pub(super) fn told(world: &World, all: &mut Vec<Condition>, now: &Time) {
    let generation = world.execution.metadata.generation;
    let name = &world.execution.spec.pipeline_ref.name;
    let Some(runs) = world.revision.wanted.as_ref().map(|revision| revision.generation) else { return };
    match world.revision.superseded {
        Some(is) => {
            let why = format!(
                "Pipeline {name} was edited and is at generation {is}; this execution goes on with generation {runs}, the \
                 next one runs the new"
            );
            conditions::set(all, now, generation, types::PIPELINE_CHANGED, true, reasons::APPLIES_TO_NEXT, &why);
        }
        None if conditions::get(all, types::PIPELINE_CHANGED).is_some() => {
            let why = format!("Pipeline {name} says again what it said when this execution began");
            conditions::set(all, now, generation, types::PIPELINE_CHANGED, false, reasons::UNCHANGED, &why);
        }
        None => {}
    }
}

/// Whether a change of the pipeline is news for an execution: whether it tells of that already.
#[must_use]
pub fn is_news(progress: &Progress, pipeline: &PipelineRevision) -> bool {
    progress.runs.as_ref().is_some_and(|runs| (runs.digest != pipeline.digest) != progress.tells_of_change)
}

/// The pipeline is gone, or does not ask for this step although its execution does.
pub(super) fn gone(world: &World) -> Verdict {
    let name = &world.execution.spec.pipeline_ref.name;
    Verdict::error(
        reasons::PIPELINE_DELETED,
        format!("Pipeline {name} was deleted, or made anew, while its execution ran: run it again"),
    )
}
