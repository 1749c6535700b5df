//! Which revision each ordinal of a StatefulSet should be on, as its own status and partition say, and which it is on.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::names::labels;

use crate::{Outcome, cluster::call, program::Program};

/// Where a StatefulSet's controller notes the revision that it made a pod of.
const REVISION: &str = "controller-revision-hash";

/// What a StatefulSet says about its ordinals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Ordinals from here on are on the new revision.
    pub partition: i32,
    /// The old revision.
    pub current: String,
    /// The new one; the same while nothing rolls.
    pub update: String,
    /// How many pods it wants.
    pub replicas: i32,
}

impl Set {
    /// The revision that a pod of this ordinal is made of.
    #[must_use]
    pub fn of(&self, ordinal: i32) -> &str {
        if ordinal >= self.partition { &self.update } else { &self.current }
    }
}

/// A pod and what it was made of.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Its number in the tier.
    pub ordinal: i32,
    /// The revision.
    pub revision: String,
    /// Whether it is about to end.
    pub terminating: bool,
}

impl Program {
    /// The StatefulSets of an Environment.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sets(&self, environment: &str) -> Outcome<Vec<Set>> {
        let api: Api<StatefulSet> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let selector = ListParams::default().labels(&format!("{}={environment}", labels::ENVIRONMENT));
        Ok(call(api.list(&selector)).await?.items.iter().map(set).collect())
    }

    /// The pods of a StatefulSet.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn made_by(&self, set: &str) -> Outcome<Vec<Made>> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let found = call(api.list(&ListParams::default().labels(REVISION))).await?;
        let own = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.name == set);
        Ok(found.items.iter().filter(own).map(made).collect())
    }
}

fn set(found: &StatefulSet) -> Set {
    let status = found.status.clone().unwrap_or_default();
    let spec = found.spec.clone().unwrap_or_default();
    let rolling = spec.update_strategy.and_then(|strategy| strategy.rolling_update);
    let update = status.update_revision.unwrap_or_default();
    Set {
        name: found.name_any(),
        partition: rolling.and_then(|rolling| rolling.partition).unwrap_or(0),
        current: status.current_revision.unwrap_or_else(|| update.clone()),
        update,
        replicas: spec.replicas.unwrap_or(1),
    }
}

fn made(pod: &Pod) -> Made {
    let name = pod.name_any();
    Made {
        ordinal: name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(-1),
        name,
        uid: pod.uid().unwrap_or_default(),
        revision: pod.labels().get(REVISION).cloned().unwrap_or_default(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}
