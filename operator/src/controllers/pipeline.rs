//! A round of a Pipeline: whether what it refers to is there.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::{
    Environment, Pipeline,
    conditions::{self, reasons, types},
    environment::EnvironmentType,
    pipeline::{PipelineSpec, PipelineType},
};

use crate::{
    context::Context,
    effects::status,
    error::{Error, bounded},
    observe::now,
    plan::pipeline::{are_rivals, environments, rival},
};

/// Says whether a pipeline can run.
pub(super) async fn reconcile(
    context: Arc<Context>,
    namespace: String,
    name: String,
) -> Result<Option<Timestamp>, Error> {
    let pipelines: Api<Pipeline> = Api::namespaced(context.client.clone(), &namespace);
    let Some(mut pipeline) = bounded("read the pipeline", pipelines.get_opt(&name)).await? else { return Ok(None) };
    let all: Api<Environment> = Api::namespaced(context.client.clone(), &namespace);
    let read = async |name: &str| bounded("read an environment", all.get_opt(name)).await;
    let spec = &pipeline.spec;
    let mut doubts = vec![];
    for (field, name, fits) in places(spec) {
        doubts.extend(doubt(field, name, read(name).await?.as_ref(), fits));
    }
    if let Some(source) = &spec.source.pipeline {
        let found = bounded("read the source pipeline", pipelines.get_opt(source)).await?;
        doubts.extend(source_doubt(source, found.as_ref()));
    }
    if doubts.is_empty() && environments(spec).next().is_some() {
        let others = bounded("list pipelines", pipelines.list(&ListParams::default())).await?.items;
        doubts
            .extend(rival(&pipeline, &others).map(|(older, environment)| rival_doubt(&pipeline, &older, &environment)));
    }
    let doubt = doubts.into_iter().next();
    let (reason, message) = doubt.unwrap_or((reasons::READY, "its environments are there".into()));
    let ready = reason == reasons::READY;
    let generation = pipeline.metadata.generation;
    let old = pipeline.status.clone();
    let known = pipeline.status.get_or_insert_default();
    known.observed_generation = generation.unwrap_or_default();
    let at = Time(now());
    conditions::set(&mut known.conditions, &at, generation, types::READY, ready, reason, &message);
    conditions::set(&mut known.conditions, &at, generation, types::RECONCILING, false, reason, "");
    conditions::set(&mut known.conditions, &at, generation, types::STALLED, !ready, reason, &message);
    if old != pipeline.status {
        status::replace(&context, &pipeline).await?;
    }
    Ok(None)
}

/// A field, the Environment that it names, and the types that fit there.
type Place<'a> = (&'static str, &'a str, &'static [EnvironmentType]);

fn places(spec: &PipelineSpec) -> Vec<Place<'_>> {
    use EnvironmentType::{Development, Production, Stage};
    let stage = spec.stage.as_ref().map(|stage| ("stage", stage.environment.as_str(), [Stage].as_slice()));
    let deployment = spec.deployment.as_ref();
    let deployment =
        deployment.map(|place| ("deployment", place.environment.as_str(), [Development, Stage].as_slice()));
    let production = spec.production.as_ref();
    let production = production.map(|place| ("production", place.environment.as_str(), [Production].as_slice()));
    [stage, deployment, production].into_iter().flatten().collect()
}

fn doubt(
    field: &str,
    name: &str,
    found: Option<&Environment>,
    fits: &[EnvironmentType],
) -> Option<(&'static str, String)> {
    let Some(environment) = found else {
        return Some((reasons::NOT_FOUND, format!("spec.{field}.environment: Environment {name} does not exist")));
    };
    (!fits.contains(&environment.spec.type_)).then(|| {
        let is = environment.spec.type_;
        (
            reasons::WRONG_ENVIRONMENT_TYPE,
            format!("spec.{field}.environment: Environment {name} is of type {is:?}, not {fits:?}"),
        )
    })
}

fn source_doubt(name: &str, found: Option<&Pipeline>) -> Option<(&'static str, String)> {
    match found {
        None => Some((reasons::NOT_FOUND, format!("spec.source.pipeline: Pipeline {name} does not exist"))),
        Some(source) if source.spec.type_ != PipelineType::StageOnly => Some((
            reasons::INVALID,
            format!("spec.source.pipeline: Pipeline {name} is of type {:?}, not StageOnly", source.spec.type_),
        )),
        Some(_) => None,
    }
}

fn rival_doubt(pipeline: &Pipeline, older: &str, environment: &str) -> (&'static str, String) {
    let type_ = pipeline.spec.type_;
    (
        reasons::PIPELINE_EXISTS,
        format!(
            "Pipeline {older} is of type {type_:?} for Environment {environment} too: delete one of them; until then their \
             executions take turns"
        ),
    )
}

/// Pipelines that may be in the way of one that changed, or may not be any more.
pub(super) fn rivals(
    store: &Store<DeserializeGuard<Pipeline>>,
    changed: &DeserializeGuard<Pipeline>,
) -> Vec<ObjectRef<DeserializeGuard<Pipeline>>> {
    let Ok(pipeline) = &changed.0 else { return vec![] };
    let same = |other: &DeserializeGuard<Pipeline>| {
        other.namespace() == changed.namespace()
            && other.name_any() != changed.name_any()
            && other.0.as_ref().is_ok_and(|other| are_rivals(&other.spec, &pipeline.spec))
    };
    store.state().iter().filter(|other| same(other)).map(|other| ObjectRef::from_obj(other.as_ref())).collect()
}

/// Pipelines that name an Environment.
pub(super) fn concerned(
    store: &Store<DeserializeGuard<Pipeline>>,
    namespace: &str,
    environment: &str,
) -> Vec<ObjectRef<DeserializeGuard<Pipeline>>> {
    store
        .state()
        .iter()
        .filter(|object| object.namespace().as_deref() == Some(namespace))
        .filter(|object| {
            object
                .0
                .as_ref()
                .is_ok_and(|pipeline| places(&pipeline.spec).iter().any(|(_, name, _)| *name == environment))
        })
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}
