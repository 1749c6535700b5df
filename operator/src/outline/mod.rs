//! What the operator keeps in memory of objects that there may be thousands of: enough to know whom a change concerns.
//!
//! A finished execution is about ten kilobytes of JSON, several times that as typed values; in outline it is one. Nothing
//! is decided on an outline alone that the apiserver would not refuse if it were out of date: rounds read what they decide
//! on. An outline is read from the same JSON as the object, never buffers it, and never fails because of a field that
//! this version does not know: the round that reads the whole object says what is wrong with it.

mod environment;
mod execution;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

pub use self::{
    environment::EnvironmentOutline,
    execution::{End, ExecutionOutline, Progress},
};

/// Metadata without what grows: managed fields, annotations, labels.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

impl From<Identity> for ObjectMeta {
    fn from(found: Identity) -> Self {
        Self {
            name: found.name,
            namespace: found.namespace,
            uid: found.uid,
            resource_version: found.resource_version,
            generation: found.generation,
            creation_timestamp: found.creation_timestamp,
            deletion_timestamp: found.deletion_timestamp,
            ..Self::default()
        }
    }
}

/// The same of an object that is there as a whole.
fn identity(whole: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: whole.name.clone(),
        namespace: whole.namespace.clone(),
        uid: whole.uid.clone(),
        resource_version: whole.resource_version.clone(),
        generation: whole.generation,
        creation_timestamp: whole.creation_timestamp.clone(),
        deletion_timestamp: whole.deletion_timestamp.clone(),
        ..ObjectMeta::default()
    }
}

fn lean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Identity::deserialize(deserializer).map(ObjectMeta::from)
}

/// A small part of an object, or its default where this version cannot read it.
fn lenient<'de, T: DeserializeOwned + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Says of an outline which kind of object it is read from.
macro_rules! outline_of {
    ($outline:ty, $whole:ty) => {
        impl kube::Resource for $outline {
            type DynamicType = ();
            type Scope = k8s_openapi::NamespaceResourceScope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                <$whole as kube::Resource>::kind(&())
            }

            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                <$whole as kube::Resource>::group(&())
            }

            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                <$whole as kube::Resource>::version(&())
            }

            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                <$whole as kube::Resource>::plural(&())
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
use outline_of;

#[cfg(test)]
mod tests;
