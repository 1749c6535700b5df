//! Effects of a Pipeline: what its memory lets go.

use k8s_openapi::{NamespaceResourceScope, api::apps::v1::ControllerRevision};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Preconditions, PropagationPolicy},
};
use launchway_crds::{Pipeline, PipelineExecution};
use serde::de::DeserializeOwned;

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::memory::Action,
};

use super::counted;

/// Performs one action for a pipeline.
///
/// # Errors
/// When the apiserver does not answer. An object that changed or is gone is left alone: that is no error.
pub async fn perform(context: &Context, pipeline: &Pipeline, action: &Action) -> Result<(), Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    counted(context, action.category(), async {
        match action {
            Action::DeleteExecution { name, uid, version } => {
                tracing::info!(
                    namespace,
                    name,
                    pipeline = pipeline.name_any(),
                    "Deleting an execution beyond the limits"
                );
                delete::<PipelineExecution>(context, &namespace, name, uid, Some(version)).await
            }
            Action::DeleteRevision { name, uid } => {
                delete::<ControllerRevision>(context, &namespace, name, uid, None).await
            }
        }
    })
    .await
}

async fn delete<K>(
    context: &Context,
    namespace: &str,
    name: &str,
    uid: &str,
    version: Option<&String>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: Some(uid.into()), resource_version: version.cloned() }),
        ..DeleteParams::default()
    };
    let gone = async {
        match api.delete(name, &parameters).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    };
    match bounded("delete what nobody needs", gone).await {
        Err(Error::Conflict(_)) => Ok(()),
        other => other,
    }
}
