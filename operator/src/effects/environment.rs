//! Effects of an Environment: its StatefulSets, Services and further objects.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::Service,
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use launchway_crds::{Environment, names::FIELD_MANAGER};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::environment::{Change, objects::Further},
    render::{
        Release,
        compare::marked,
        further::rendered,
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
    let name = environment.name_any();
    tracing::info!(environment = %format!("{namespace}/{name}"), ?change, "Changing");
    let objects = Objects { context, namespace: &namespace };
    counted(context, change.category(), async {
        match change {
            Change::Service(name) => {
                let object = service(environment, name, &release.revisions().aem);
                objects.apply::<Service>(&object.name_any(), marked(&object)).await
            }
            Change::Workload { tier, replicas, partition } => {
                let object = stateful_set(release, *tier, *replicas, *partition);
                objects.apply::<StatefulSet>(&workload::name(&name, *tier), marked(&object)).await
            }
            Change::DeleteService(name) => objects.delete::<Service>(name).await,
            Change::Further(further) => {
                let object = rendered(environment, *further);
                match further {
                    Further::Budget => objects.apply::<PodDisruptionBudget>(&further.of(&name), object).await,
                    Further::Policy(_) => objects.apply::<NetworkPolicy>(&further.of(&name), object).await,
                    Further::Route(_) => objects.apply::<Ingress>(&further.of(&name), object).await,
                }
            }
            Change::DeleteFurther(further) => match further {
                Further::Budget => objects.delete::<PodDisruptionBudget>(&further.of(&name)).await,
                Further::Policy(_) => objects.delete::<NetworkPolicy>(&further.of(&name)).await,
                Further::Route(_) => objects.delete::<Ingress>(&further.of(&name)).await,
            },
        }
    })
    .await
}

/// Objects of a namespace.
struct Objects<'a> {
    context: &'a Context,
    namespace: &'a str,
}

impl Objects<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.context.client.clone(), self.namespace)
    }

    /// Makes an object what it should be; what others added to it stays.
    async fn apply<K>(&self, name: &str, object: Option<Value>) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
    {
        // A route that the spec does not have is not planned.
        let Some(object) = object else { return Ok(()) };
        let applied = PatchParams::apply(FIELD_MANAGER).force();
        let answer = bounded("apply an object", self.api::<K>().patch(name, &applied, &Patch::Apply(&object))).await?;
        self.context.fresh.note(&answer);
        Ok(())
    }

    /// Deletes an object; that it is gone already is as good.
    async fn delete<K>(&self, name: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        let gone = async {
            match api.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            }
        };
        bounded("delete an object", gone).await
    }
}
