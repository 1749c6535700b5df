//! Services of an Environment: which there are, which are missing, and which nobody needs any more.

use launchway_crds::environment::Tier;

use super::{
    Change,
    world::{DesiredRelease, World},
};

/// A Service of an Environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceName {
    /// The governing Service of a tier's StatefulSet: its pods' DNS names.
    Pods(Tier),
    /// Where editors reach the author.
    Author,
    /// Where visitors reach the dispatchers.
    Dispatcher,
    /// Where the dispatcher of a pair reaches its own publish, and no other release of it.
    Pair {
        /// Ordinal of the pair.
        ordinal: i32,
    },
}

impl ServiceName {
    /// Every Service of an Environment with so many pairs.
    pub fn all(pairs: i32) -> impl Iterator<Item = Self> {
        let fixed = [
            Self::Pods(Tier::Author),
            Self::Pods(Tier::Publish),
            Self::Pods(Tier::Dispatcher),
            Self::Author,
            Self::Dispatcher,
        ];
        fixed.into_iter().chain((0..pairs).map(|ordinal| Self::Pair { ordinal }))
    }

    /// The Service's name in an Environment.
    #[must_use]
    pub fn of(&self, environment: &str, revision: &str) -> String {
        match self {
            Self::Pods(tier) => format!("{environment}-{}-pods", tier.as_str()),
            Self::Author => format!("{environment}-author"),
            Self::Dispatcher => format!("{environment}-dispatcher"),
            Self::Pair { ordinal } => pair_service(environment, &ordinal.to_string(), revision),
        }
    }
}

/// Name of the Service of a pair. The ordinal is a text so that a pod's template can leave it to the kubelet.
#[must_use]
pub fn pair_service(environment: &str, ordinal: &str, revision: &str) -> String {
    format!("{}{ordinal}-{revision}", pair_prefix(environment))
}

fn pair_prefix(environment: &str) -> String {
    format!("{environment}-pair-")
}

/// Services that must be there before pods look for them.
pub(super) fn missing_services(world: &World, desired: &DesiredRelease, pairs: i32) -> Vec<Change> {
    let environment = world.name();
    ServiceName::all(pairs)
        .filter(|name| !world.services.contains(&name.of(environment, &desired.revisions.aem)))
        .map(Change::Service)
        .collect()
}

/// Services of pairs and revisions that no longer exist.
pub(super) fn unneeded_services(world: &World, desired: &DesiredRelease) -> Vec<Change> {
    let environment = world.name();
    let wanted: Vec<String> = (0..world.environment.spec.publish.replicas)
        .map(|ordinal| ServiceName::Pair { ordinal }.of(environment, &desired.revisions.aem))
        .collect();
    world
        .services
        .iter()
        .filter(|name| name.starts_with(&pair_prefix(environment)) && !wanted.contains(name))
        .map(|name| Change::DeleteService(name.clone()))
        .collect()
}
