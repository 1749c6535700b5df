//! What each Kubernetes object looks like: pure functions from specs and releases to objects.
//!
//! Nothing here reads the cluster or decides when an object is applied; [`crate::plan`] does.

pub mod budget;
pub mod build_around;
pub mod build_job;
pub mod compare;
pub mod configuration;
pub mod deviation;
pub mod execution;
pub mod further;
pub mod ingress;
pub mod job;
pub mod kept;
mod meta;
pub mod network_policy;
pub mod ownership;
mod pod;
mod probe;
pub mod revision;
pub mod scan_job;
pub mod service;
mod spread;
pub mod test_job;
pub mod whole;
pub mod workload;

use std::collections::BTreeMap;

use launchway_crds::{
    Environment,
    environment::{AuthorTier, EnvironmentSpec, Tier},
    names::short_hash,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    image::contract::{Probe, RuntimeContract},
    plan::environment::world::{Content, Revisions},
};

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
    /// What it should run, and who deploys it.
    pub content: &'a Content,
    /// What the images promise.
    pub contracts: &'a Contracts,
    /// Hashes of the variables that its pods get, of the tiers that have any.
    pub configuration: &'a BTreeMap<Tier, String>,
}

impl Release<'_> {
    /// Hashes of everything that reaches the pods of a tier: a change of one is rolled out, and nothing else is.
    ///
    /// Author and publish share one. That of the dispatchers covers it, for a dispatcher names its publish by revision.
    #[must_use]
    pub fn revisions(&self) -> Revisions {
        let EnvironmentSpec {
            type_,
            runtime,
            author,
            publish,
            dispatcher,
            rollout,
            emergency_mode: _,
            hold: _,
            windows: _,
            // Their content is in the hashes of the configuration.
            variables: _,
            route: _,
            network: _,
        } = &self.environment.spec;
        let secrets = runtime.as_ref().map(|runtime| &runtime.image_pull_secrets);
        let of =
            |tiers: &[Tier]| -> Vec<&String> { tiers.iter().filter_map(|tier| self.configuration.get(tier)).collect() };
        let aem = serde_json::json!([
            TEMPLATE_FORMAT,
            self.content.mark(Tier::Publish),
            self.content.images().aem,
            contract_parts(&self.contracts.aem),
            type_,
            secrets,
            author_parts(author),
            publish.resources,
            of(&[Tier::Author, Tier::Publish]),
        ]);
        let aem = short_hash(aem.to_string().as_bytes());
        let dispatcher = serde_json::json!([
            aem,
            self.content.mark(Tier::Dispatcher),
            self.content.images().dispatcher,
            contract_parts(&self.contracts.dispatcher),
            dispatcher,
            (!dispatcher.warm_up.is_empty()).then_some(rollout.ready_timeout),
            self.content.cache(),
            of(&[Tier::Dispatcher]),
        ]);
        Revisions { dispatcher: short_hash(dispatcher.to_string().as_bytes()), aem }
    }
}

/// What of the author reaches its pod: not what becomes of its volume.
fn author_parts(author: &AuthorTier) -> Value {
    let mut parts = serde_json::json!(author);
    if let Some(storage) = parts.get_mut("storage").and_then(Value::as_object_mut) {
        storage.retain(|field, _| !["retain", "olderReleases"].contains(&field.as_str()));
    }
    parts
}

/// What of a contract reaches a pod, where it stood before there were probes by HTTP: commands of probes among the commands.
/// It is hashed, so that an operator which can do more than the one before it leaves the pods of the same image as they are.
fn contract_parts(contract: &RuntimeContract) -> Value {
    let mut parts = serde_json::json!(contract);
    let probes = &contract.probes;
    for (name, probe) in [("ready", Some(&probes.ready)), ("live", probes.live.as_ref())] {
        if let Some(Probe::Command(command)) = probe {
            parts["commands"][name] = serde_json::json!(command);
            if let Some(probes) = parts["probes"].as_object_mut() {
                probes.remove(name);
            }
        }
    }
    if probes.ports().next().is_none()
        && let Some(parts) = parts.as_object_mut()
    {
        parts.remove("probes");
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests;
