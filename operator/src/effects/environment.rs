//! Effects of an Environment: its StatefulSets, Services, configuration and further objects, and its finalizer.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Secret, Service},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use launchway_crds::{
    Environment,
    names::{FIELD_MANAGER, FINALIZER},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::environment::{Change, Finalizer, objects::Further},
    render::{
        compare::marked,
        configuration::{Configuration, is_of},
        further::rendered,
        kept::Source,
        ownership::folded,
        service::service,
        workload,
    },
};

use super::counted;

/// What an Environment's objects are made of.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// What its workloads are made from; none while it is not known how to run anything.
    pub source: Option<Source<'a>>,
    /// Variables with their values, when they can be had.
    pub configuration: Option<&'a Configuration>,
}

/// What a change needs is not there any more: facts are to be read again.
const GONE: Error = Error::Conflict("change an environment");

/// Makes one change for an Environment.
///
/// # Errors
/// When the apiserver refuses or does not answer, or what is needed for it is not there any more: facts are to be read
/// again.
pub async fn perform(
    context: &Context,
    environment: &Environment,
    material: Material<'_>,
    change: &Change,
) -> Result<(), Error> {
    let namespace = environment.namespace().unwrap_or_default();
    let name = environment.name_any();
    tracing::info!(environment = %format!("{namespace}/{name}"), ?change, "Changing");
    let objects = Objects { context, namespace: &namespace };
    counted(context, change.category(), async {
        match change {
            Change::Service(name) => {
                let object = service(environment, name, &material.source.ok_or(GONE)?.release.revisions.aem);
                objects.apply::<Service>(&object.name_any(), marked(&object)).await
            }
            Change::Workload { tier, replicas, partition } => {
                let object = material.source.and_then(|source| source.workload(*tier, *replicas, *partition));
                objects.apply::<StatefulSet>(&workload::name(&name, *tier), marked(&object.ok_or(GONE)?)).await
            }
            Change::DeleteService(name) => objects.delete::<Service>(name, None).await,
            Change::Further(further) => {
                let object = rendered(environment, *further);
                match further {
                    Further::Budget => objects.apply::<PodDisruptionBudget>(&further.of(&name), object).await,
                    Further::Policy(_) => objects.apply::<NetworkPolicy>(&further.of(&name), object).await,
                    Further::Route(_) => objects.apply::<Ingress>(&further.of(&name), object).await,
                }
            }
            Change::DeleteFurther(further) => match further {
                Further::Budget => objects.delete::<PodDisruptionBudget>(&further.of(&name), None).await,
                Further::Policy(_) => objects.delete::<NetworkPolicy>(&further.of(&name), None).await,
                Further::Route(_) => objects.delete::<Ingress>(&further.of(&name), None).await,
            },
            Change::Configuration(tier) => {
                let configuration = material.configuration.ok_or(GONE)?;
                // The ConfigMap first: whoever finds it finds the Secret that goes with it.
                let map = configuration.config_map(environment, *tier).ok_or(GONE)?;
                objects.make(environment, &map, |map| map.data.clone()).await?;
                match configuration.secret(environment, *tier) {
                    Some(secret) => objects.make(environment, &secret, |secret| secret.data.clone()).await,
                    None => Ok(()),
                }
            }
            Change::DeleteConfiguration(name) => {
                // The Secret first: whoever finds the ConfigMap looks for both.
                objects.delete_own::<Secret>(environment, name).await?;
                objects.delete_own::<ConfigMap>(environment, name).await
            }
        }
    })
    .await
}

/// Adds or removes the finalizer, over the version that was read. Says whether it wrote anything.
///
/// # Errors
/// [`Error::Conflict`] when somebody changed the Environment meanwhile; when the apiserver does not answer.
pub async fn finalize(context: &Context, environment: &Environment, finalizer: Finalizer) -> Result<bool, Error> {
    let mut all: Vec<String> = environment.metadata.finalizers.clone().unwrap_or_default();
    all.retain(|name| name != FINALIZER);
    match finalizer {
        Finalizer::Leave => return Ok(false),
        Finalizer::Add => all.push(FINALIZER.into()),
        Finalizer::Remove => {}
    }
    let api: Api<Environment> = Api::namespaced(context.client.clone(), &environment.namespace().unwrap_or_default());
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": environment.metadata.resource_version, "finalizers": all },
    });
    counted(context, "finalizer", async {
        let write = async {
            match api.patch(&environment.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(|written| context.fresh.note(&written)),
            }
        };
        bounded("write a finalizer", write).await
    })
    .await?;
    Ok(true)
}

/// A patch of ours that applies nothing.
fn ours() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
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
        let (found, applied) = match self.apply_once::<K>(name, &object).await {
            Err(refused) if refused.is_invalid() => (self.set_lists::<K>(name, &object).await.ok_or(refused)?, false),
            other => (other?, true),
        };
        let folded = self.fold(name, &found).await?;
        let answer = if applied && !folded { found } else { self.apply_once::<K>(name, &object).await? };
        self.context.fresh.note(&answer);
        Ok(())
    }

    async fn apply_once<K>(&self, name: &str, object: &Value) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let applied = PatchParams::apply(FIELD_MANAGER).force();
        bounded("apply an object", self.api::<K>().patch(name, &applied, &Patch::Apply(object))).await
    }

    /// Makes the lists of an object that is there exactly ours; none if that was not taken. Applying leaves the items that
    /// others added: with two ports of one name, the apiserver refuses it for ever. A merge patch replaces lists.
    async fn set_lists<K>(&self, name: &str, object: &Value) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let (api, ours, lists) = (self.api::<K>(), ours(), Patch::Merge(object));
        let set = bounded("set the lists of an object", api.patch(name, &ours, &lists)).await.ok()?;
        tracing::info!(name, "What somebody added to a list cannot stand beside ours: it was taken away");
        Some(set)
    }

    /// Makes everything that the operator owns of an object owned by applying, and says whether it was not so: what a merge
    /// patch left is applied away only then. One that a crash left behind is found by the next apply.
    async fn fold<K>(&self, name: &str, found: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let meta = found.meta();
        let Some(entries) = meta.managed_fields.as_deref().and_then(folded) else { return Ok(false) };
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": meta.resource_version, "managedFields": entries },
        });
        bounded("fold ownership of an object", self.api::<K>().patch(name, &ours(), &Patch::Merge(&patch))).await?;
        Ok(true)
    }

    /// Creates an object that never changes. One that is there has the same content, or it is not ours.
    async fn make<K, C>(&self, environment: &Environment, object: &K, content: impl Fn(&K) -> C) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
        C: PartialEq,
    {
        let (api, name) = (self.api::<K>(), object.name_any());
        let made = async {
            let ours = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            match api.create(&ours, object).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
                other => other.map(|_| true),
            }
        };
        if bounded("create a configuration", made).await? {
            return Ok(());
        }
        let found = bounded("read a configuration", api.get_opt(&name)).await?;
        if found.is_some_and(|found| is_of(found.meta(), environment) && content(&found) == content(object)) {
            return Ok(());
        }
        let (kind, namespace) = (K::kind(&()), self.namespace);
        Err(Error::Taken(format!(
            "{kind} {name} exists with another owner or content, and pods that start get what is in it: kubectl delete {} \
             {name} --namespace {namespace}, and the operator makes it anew",
            kind.to_lowercase()
        )))
    }

    /// Deletes a configuration, if it is this Environment's.
    async fn delete_own<K>(&self, environment: &Environment, name: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let found = bounded("read a configuration", self.api::<K>().get_metadata_opt(name)).await?;
        match found.filter(|found| is_of(found.meta(), environment)) {
            Some(own) => self.delete::<K>(name, own.uid()).await,
            None => Ok(()),
        }
    }

    /// Deletes an object, if it is still the one of this UID; that it is gone already is as good.
    async fn delete<K>(&self, name: &str, uid: Option<String>) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        let parameters = DeleteParams {
            preconditions: uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None }),
            ..DeleteParams::default()
        };
        let gone = async {
            match api.delete(name, &parameters).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            }
        };
        bounded("delete an object", gone).await
    }
}
