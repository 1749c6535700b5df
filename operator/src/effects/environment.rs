//! Effects of an Environment: its Services and StatefulSets.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Service};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use launchway_crds::{Environment, names::FIELD_MANAGER};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::environment::Change,
    render::{
        Release,
        service::service,
        workload::{self, stateful_set},
    },
};

use super::counted;

/// Makes one change for an Environment, towards a release.
///
/// # Errors
/// When the apiserver refuses or does not answer.
pub async fn perform(
    context: &Context,
    environment: &Environment,
    release: &Release<'_>,
    change: &Change,
) -> Result<(), Error> {
    let namespace = environment.namespace().unwrap_or_default();
    tracing::info!(environment = %format!("{namespace}/{}", environment.name_any()), ?change, "Changing");
    let applied = PatchParams::apply(FIELD_MANAGER).force();
    counted(context, change.category(), async {
        match change {
            Change::Service(name) => {
                let api: Api<Service> = Api::namespaced(context.client.clone(), &namespace);
                let object = service(environment, name, &release.revision());
                bounded("apply a service", api.patch(&object.name_any(), &applied, &Patch::Apply(&object))).await?;
            }
            Change::Workload { tier, replicas, partition } => {
                let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &namespace);
                let object = stateful_set(release, *tier, *replicas, *partition);
                let name = workload::name(&environment.name_any(), *tier);
                bounded("apply a workload", api.patch(&name, &applied, &Patch::Apply(&object))).await?;
            }
            Change::DeleteService(name) => {
                let api: Api<Service> = Api::namespaced(context.client.clone(), &namespace);
                let gone = async {
                    match api.delete(name, &DeleteParams::default()).await {
                        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                        other => other.map(|_| ()),
                    }
                };
                bounded("delete a service", gone).await?;
            }
        }
        Ok(())
    })
    .await
}
