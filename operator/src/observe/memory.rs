//! Facts about a Pipeline's past.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, ResourceExt, api::ListParams, core::DeserializeGuard, runtime::reflector::Store};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    names::{FIELD_MANAGER, label_value, labels},
};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::{
        execution::revision,
        memory::world::{Execution, InUse, Revision, World},
    },
};

/// Executions as they are in memory.
pub type Executions = Store<DeserializeGuard<PipelineExecution>>;

/// Everything that decides what is kept of a pipeline; none when it is gone.
///
/// Executions come from memory: there may be thousands, and what is deleted of them is deleted as it was seen or not at
/// all.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn world(
    context: &Context,
    executions: &Executions,
    namespace: &str,
    name: &str,
) -> Result<Option<World>, Error> {
    let all: Api<Pipeline> = Api::namespaced(context.client.clone(), namespace);
    let environments: Api<Environment> = Api::namespaced(context.client.clone(), namespace);
    let kept: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace);
    let own = format!("{}={FIELD_MANAGER},{}={}", labels::MANAGED_BY, labels::PIPELINE, label_value(name));
    let (every, own) = (ListParams::default(), ListParams::default().labels(&own));
    let (pipelines, environments, kept) = tokio::try_join!(
        bounded("list pipelines", all.list(&every)),
        bounded("list environments", environments.list(&every)),
        bounded("list kept versions of the pipeline", kept.list(&own)),
    )?;
    let Some(pipeline) = pipelines.items.iter().find(|pipeline| pipeline.name_any() == name).cloned() else {
        return Ok(None);
    };
    let revisions = older(kept.items, &pipeline);
    let in_use = match revisions.as_slice() {
        [] => None,
        _ => Some(in_use(context, namespace, name).await?),
    };
    Ok(Some(World {
        pipeline,
        pipelines: pipelines.items,
        environments: environments.items,
        executions: of_namespace(&executions.state(), namespace),
        revisions,
        in_use,
    }))
}

/// Versions of a pipeline that are not what it is now.
fn older(kept: Vec<ControllerRevision>, pipeline: &Pipeline) -> Vec<Revision> {
    let present = revision::of(pipeline).name;
    kept.into_iter()
        .filter(|kept| kept.name_any() != present)
        // A long name's label is no proof.
        .filter(|kept| kept.owner_references().iter().any(|owner| Some(&owner.uid) == pipeline.metadata.uid.as_ref()))
        .map(|kept| Revision { name: kept.name_any(), uid: kept.uid().unwrap_or_default() })
        .collect()
}

/// Which versions executions run, read live: what is in memory may not tell of one that has just begun.
async fn in_use(context: &Context, namespace: &str, name: &str) -> Result<InUse, Error> {
    let api: Api<PipelineExecution> = Api::namespaced(context.client.clone(), namespace);
    let own = ListParams::default().fields(&format!("spec.pipelineRef.name={name}"));
    let found = bounded("list executions of the pipeline", api.list(&own)).await?;
    Ok(InUse::by(&found.items))
}

fn of_namespace(all: &[Arc<DeserializeGuard<PipelineExecution>>], namespace: &str) -> Vec<Execution> {
    all.iter()
        .filter(|object| object.namespace().as_deref() == Some(namespace))
        .filter_map(|object| object.0.as_ref().ok())
        .map(Execution::of)
        .collect()
}
