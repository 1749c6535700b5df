//! What the Job of a build needs around it: the pipeline's cache, and that nobody connects to its pod.

use k8s_openapi::api::{core::v1::PersistentVolumeClaim, networking::v1::NetworkPolicy};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use launchway_crds::{PipelineExecution, names::FIELD_MANAGER};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::execution::action::Sources,
    render::build_around::{cache, isolation},
};

/// Makes what is not there yet. A cache that exists stays as it is: it is the pipeline's, not this build's.
pub(super) async fn prepare(context: &Context, execution: &PipelineExecution, sources: &Sources) -> Result<(), Error> {
    let namespace = execution.namespace().unwrap_or_default();
    let policies: Api<NetworkPolicy> = Api::namespaced(context.client.clone(), &namespace);
    let policy = isolation(&namespace);
    let applied = PatchParams::apply(FIELD_MANAGER).force();
    bounded("apply the isolation of builds", policies.patch(&policy.name_any(), &applied, &Patch::Apply(&policy)))
        .await?;
    if let Some(claim) = cache(&namespace, sources) {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &namespace);
        let made = async {
            match claims.create(&PostParams::default(), &claim).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                other => other.map(|_| ()),
            }
        };
        bounded("create the cache of a pipeline", made).await?;
    }
    Ok(())
}
