//! Which pods a Service sends visitors to, and since when, as a watch of its EndpointSlices saw it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::{Api, ResourceExt, api::WatchEvent};

use crate::{
    Outcome,
    program::Program,
    watched::{Moment, Watched},
};

/// A watch of the endpoints of a Service.
pub struct Endpoints(Watched<Noted>);

/// When a pod was in a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// It came; of a pod that was in the Service before the watch, when that was written last.
    pub came: Moment,
    /// It left for the last time, if it did.
    pub left: Option<Moment>,
}

#[derive(Clone, Default)]
struct Noted {
    /// Pods that get visitors now, by slice.
    now: BTreeMap<String, BTreeSet<String>>,
    /// By the pod's UID.
    stays: BTreeMap<String, Stay>,
}

impl Endpoints {
    /// Watches the endpoints of a Service.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn watch(program: &Program, service: &str) -> Outcome<Self> {
        let api: Api<EndpointSlice> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        Watched::begin(api, &format!("kubernetes.io/service-name={service}"), "0", note).await.map(Self)
    }

    /// The stays that were seen so far, by the pod's UID.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<String, Stay> {
        self.0.noted().stays
    }
}

fn note(noted: &mut Noted, event: &WatchEvent<EndpointSlice>) {
    let (slice, exists) = match event {
        WatchEvent::Added(slice) | WatchEvent::Modified(slice) => (slice, true),
        WatchEvent::Deleted(slice) => (slice, false),
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return,
    };
    let moment = Moment::now(slice);
    let serving: BTreeSet<String> = slice.endpoints.iter().flatten().filter(|_| exists).filter_map(pod).collect();
    let before = noted.now.insert(slice.name_any(), serving.clone()).unwrap_or_default();
    for came in serving.difference(&before) {
        noted.stays.entry(came.clone()).or_insert(Stay { came: moment, left: None }).left = None;
    }
    for left in before.difference(&serving) {
        if let Some(stay) = noted.stays.get_mut(left) {
            stay.left = Some(moment);
        }
    }
}

/// The pod of an endpoint that gets visitors: one that ends does not, even while it still answers.
fn pod(endpoint: &Endpoint) -> Option<String> {
    let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
    endpoint.target_ref.as_ref().filter(|_| ready)?.uid.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(noted: &mut Noted, version: u32, ready: &[(&str, bool)]) -> Outcome {
        let endpoints: Vec<_> = ready
            .iter()
            .map(|(uid, ready)| json!({"addresses": [], "conditions": {"ready": ready}, "targetRef": {"uid": uid}}))
            .collect();
        let slice = json!({
            "metadata": {"name": "slice", "resourceVersion": version.to_string()},
            "addressType": "IPv4", "endpoints": endpoints,
        });
        let slice = serde_json::from_value(slice).map_err(|error| error.to_string())?;
        note(noted, &WatchEvent::Modified(slice));
        Ok(())
    }

    #[test]
    fn a_pod_that_is_not_ready_any_more_has_left_and_may_come_again() -> Outcome {
        let mut noted = Noted::default();
        told(&mut noted, 1, &[("a", true), ("b", true)])?;
        told(&mut noted, 2, &[("a", false), ("b", true), ("c", false)])?;
        told(&mut noted, 3, &[("c", true)])?;
        let stay = |came, left: Option<u64>| Some(Stay { came: Moment::of(came), left: left.map(Moment::of) });
        let of = |noted: &Noted, uid: &str| noted.stays.get(uid).copied();
        assert_eq!(of(&noted, "a"), stay(1, Some(2)));
        assert_eq!(of(&noted, "b"), stay(1, Some(3)));
        assert_eq!(of(&noted, "c"), stay(3, None));
        told(&mut noted, 4, &[("a", true), ("c", true)])?;
        assert_eq!(of(&noted, "a"), stay(1, None), "it was away for a moment");
        Ok(())
    }
}
