//! Facts about a Pipeline's past.

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{Api, ResourceExt, api::ListParams, runtime::reflector::Store};
use launchway_crds::{
    Environment, Pipeline,
    names::{FIELD_MANAGER, label_value, labels},
};

use crate::{
    context::Context,
    error::{Error, bounded},
    outline::ExecutionOutline,
    plan::{
        execution::revision,
        memory::{
            has_surplus,
            world::{InUse, Revision, World},
        },
    },
};

use super::executions;

/// Executions as they are in memory.
pub type Executions = Store<ExecutionOutline>;

/// Everything that decides what is kept of a pipeline; none when it is gone, or nothing of it can be too much.
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
    let kept: Api<ControllerRevision> = Api::namespaced(context.client.clone(), namespace);
    let own = format!("{}={FIELD_MANAGER},{}={}", labels::MANAGED_BY, labels::PIPELINE, label_value(name));
    let (own, every) = (ListParams::default().labels(&own), ListParams::default());
    let (pipeline, kept) = tokio::try_join!(
        bounded("read the pipeline", all.get_opt(name)),
        bounded("list kept versions of the pipeline", kept.list(&own)),
    )?;
    let Some(pipeline) = pipeline else { return Ok(None) };
    let revisions = older(kept.items, &pipeline);
    let executions = executions.state_filter(|one| one.namespace().as_deref() == Some(namespace));
    let surplus = has_surplus(&pipeline, &executions);
    if !surplus && revisions.is_empty() {
        return Ok(None);
    }
    let in_use = if revisions.is_empty() {
        None
    } else {
        Some(InUse::by(&executions::running(context, namespace, Some(name)).await?))
    };
    let environments: Api<Environment> = Api::namespaced(context.client.clone(), namespace);
    let (pipelines, environments) = if surplus {
        tokio::try_join!(
            bounded("list pipelines", all.list(&every)),
            bounded("list environments", environments.list(&every))
        )
        .map(|(pipelines, environments)| (pipelines.items, environments.items))?
    } else {
        (vec![], vec![])
    };
    Ok(Some(World { pipeline, pipelines, environments, executions, revisions, in_use }))
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
