//! Configuration objects: made before a pod asks for them, deleted when nothing can ask for them any more.
//!
//! The variables of a tier are in a ConfigMap and a Secret of one name, which says what they contain. Neither ever
//! changes, so a pod that is started again finds what it was started with, whatever became of the Environment's spec
//! or of the Secrets that users named.

use launchway_crds::environment::Tier;

use super::{
    Change,
    world::{DesiredRelease, World},
};

/// Name of the ConfigMap, and of the Secret, with the variables of a tier.
#[must_use]
pub fn configuration_name(environment: &str, tier: Tier, hash: &str) -> String {
    format!("{environment}-{}-variables-{hash}", tier.as_str())
}

fn names(world: &World, desired: &DesiredRelease) -> Vec<(Tier, String)> {
    desired.configuration.iter().map(|(tier, hash)| (*tier, configuration_name(world.name(), *tier, hash))).collect()
}

/// What is not there, as far as its content is known.
pub(super) fn missing(world: &World, desired: &DesiredRelease) -> Vec<Change> {
    let known = &world.configurations;
    if known.missing.is_some() {
        return vec![];
    }
    names(world, desired)
        .into_iter()
        .filter(|(_, name)| !known.present.contains(name))
        .map(|(tier, _)| Change::Configuration(tier))
        .collect()
}

/// What neither a pod, nor a workload, nor a template that the cluster keeps for a way back refers to.
pub(super) fn unneeded(world: &World, desired: &DesiredRelease) -> Vec<Change> {
    let wanted = names(world, desired);
    let known = &world.configurations;
    known
        .present
        .iter()
        .filter(|name| !known.referred.contains(*name) && wanted.iter().all(|(_, wanted)| &wanted != name))
        .map(|name| Change::DeleteConfiguration(name.clone()))
        .collect()
}
