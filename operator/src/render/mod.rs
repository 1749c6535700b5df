//! What each Kubernetes object looks like: pure functions from specs and releases to objects.
//!
//! Nothing here reads the cluster or decides when an object is applied; [`crate::plan`] does.

pub mod budget;
pub mod build_around;
pub mod build_job;
pub mod compare;
pub mod deviation;
pub mod execution;
pub mod further;
pub mod ingress;
pub mod job;
mod meta;
pub mod network_policy;
mod pod;
pub mod revision;
pub mod scan_job;
pub mod service;
mod spread;
pub mod test_job;
pub mod whole;
pub mod workload;

use launchway_crds::{
    Environment,
    environment::{EnvironmentSpec, ReleaseImages},
    names::short_hash,
};
use serde::{Deserialize, Serialize};

use crate::{image::contract::RuntimeContract, plan::environment::world::Content};

/// Bumped when pods of an unchanged release and spec have to be replaced by an upgrade of the
/// operator. Everything else about the templates may change without touching what runs.
const TEMPLATE_FORMAT: u32 = 2;

/// What the images of a release promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracts {
    /// Of the AEM image.
    pub aem: RuntimeContract,
    /// Of the dispatcher image.
    pub dispatcher: RuntimeContract,
}

/// A release, or the bare base images, with all that is needed to run it on an Environment.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The Environment.
    pub environment: &'a Environment,
    /// What the images are.
    pub content: &'a Content,
    /// Its images.
    pub images: &'a ReleaseImages,
    /// What they promise.
    pub contracts: &'a Contracts,
    /// Name and UID of the execution that deploys it; empty for bare base images.
    pub execution: &'a str,
}

impl Release<'_> {
    /// Hash of everything that reaches a pod: a change of it is rolled out, and nothing else is.
    #[must_use]
    pub fn revision(&self) -> String {
        let EnvironmentSpec {
            type_,
            runtime,
            author,
            publish,
            dispatcher,
            rollout: _,
            emergency_mode: _,
            hold: _,
            windows: _,
            variables,
            route: _,
            network: _,
        } = &self.environment.spec;
        let secrets = runtime.as_ref().map(|runtime| &runtime.image_pull_secrets);
        let parts = serde_json::json!([
            TEMPLATE_FORMAT,
            self.content.mark(),
            self.images,
            self.contracts,
            type_,
            secrets,
            author,
            publish.resources,
            dispatcher,
            variables,
        ]);
        short_hash(parts.to_string().as_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests;
