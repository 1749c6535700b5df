//! A round of a Pipeline: whether what it refers to is there.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, ResourceExt,
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
};

/// Says whether a pipeline can run.
pub(super) async fn reconcile(
    context: Arc<Context>,
    namespace: String,
    name: String,
) -> Result<Option<Timestamp>, Error> {
    let pipelines: Api<Pipeline> = Api::namespaced(context.client.clone(), &namespace);
    let Some(mut pipeline) = bounded("read the pipeline", pipelines.get_opt(&name)).await? else { return Ok(None) };
    let environments: Api<Environment> = Api::namespaced(context.client.clone(), &namespace);
    let read = async |name: &str| bounded("read an environment", environments.get_opt(name)).await;
    let spec = &pipeline.spec;
    let mut doubts = vec![];
    for (field, name, fits) in places(spec) {
        doubts.extend(doubt(field, name, read(name).await?.as_ref(), fits));
    }
    if let Some(source) = &spec.source.pipeline {
        let found = bounded("read the source pipeline", pipelines.get_opt(source)).await?;
        doubts.extend(source_doubt(source, found.as_ref()));
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
