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
    let (stage, production) = tokio::try_join!(read(&spec.stage.environment), read(&spec.production.environment))?;
    let doubt = [
        doubt("stage", &spec.stage.environment, stage.as_ref(), EnvironmentType::Stage),
        doubt("production", &spec.production.environment, production.as_ref(), EnvironmentType::Production),
    ]
    .into_iter()
    .flatten()
    .next();
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

fn doubt(
    field: &str,
    name: &str,
    found: Option<&Environment>,
    type_: EnvironmentType,
) -> Option<(&'static str, String)> {
    let Some(environment) = found else {
        return Some((reasons::NOT_FOUND, format!("spec.{field}.environment: Environment {name} does not exist")));
    };
    (environment.spec.type_ != type_).then(|| {
        let is = environment.spec.type_;
        (
            reasons::WRONG_ENVIRONMENT_TYPE,
            format!("spec.{field}.environment: Environment {name} is of type {is:?}, not {type_:?}"),
        )
    })
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
            object.0.as_ref().is_ok_and(|pipeline| {
                [&pipeline.spec.stage.environment, &pipeline.spec.production.environment]
                    .iter()
                    .any(|name| *name == environment)
            })
        })
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}
