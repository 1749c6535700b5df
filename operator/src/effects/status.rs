//! Status writes: whole, and only over the version that was read.

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    context::Context,
    error::{Error, bounded},
};

use super::counted;

/// Replaces the status of an object whose `resourceVersion` is the one that was read.
///
/// # Errors
/// [`Error::Conflict`] when somebody changed the object meanwhile: read it again.
pub async fn replace<K>(context: &Context, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let meta = object.meta();
    let (name, namespace) = (meta.name.clone().unwrap_or_default(), meta.namespace.clone().unwrap_or_default());
    let api: Api<K> = Api::namespaced(context.client.clone(), &namespace);
    let written: K = counted(context, "status", async {
        bounded("write status", api.replace_status(&name, &PostParams::default(), object)).await
    })
    .await?;
    context.fresh.note(&written);
    Ok(written)
}
