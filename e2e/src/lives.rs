//! What happens to pods, with the moments at which a watch saw it: what statuses say has whole seconds.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, WatchEvent},
};

use crate::{
    Outcome,
    cluster::call,
    program::Program,
    watched::{Moment, Watched},
};

/// A watch of pods. By UID: one name has several pods in its time.
pub struct Lives(Watched<BTreeMap<String, Life>>);

/// A pod's life, as far as it was seen.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// The pod's name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Created; none of one that was there before the watch.
    pub made: Option<Moment>,
    /// Ready for the first time.
    pub ready: Option<Moment>,
    /// End of the first of its containers, init containers left out.
    pub ended: Option<Moment>,
    /// End of the last of them.
    pub over: Option<Moment>,
    /// Told to end.
    pub leaves: Option<Moment>,
    /// Deleted.
    pub gone: Option<Moment>,
}

impl Lives {
    /// Watches pods with these labels from now on.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn watch(program: &Program, labels: &str) -> Outcome<Self> {
        let api: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        let from = call(api.list(&ListParams::default().limit(1))).await?.metadata.resource_version;
        Watched::begin(api, labels, from.as_deref().unwrap_or("0"), note).await.map(Self)
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Life> {
        self.0.noted().into_values().collect()
    }
}

fn note(seen: &mut BTreeMap<String, Life>, event: &WatchEvent<Pod>) {
    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = event else { return };
    let now = Moment::now(pod);
    let uid = pod.uid().unwrap_or_default();
    let unknown = Life { name: pod.name_any(), uid: uid.clone(), ..Life::default() };
    let life = seen.entry(uid).or_insert(unknown);
    let status = pod.status.clone().unwrap_or_default();
    let ready =
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let containers = status.container_statuses.unwrap_or_default();
    let ended = containers.iter().filter(|found| found.state.as_ref().is_some_and(|state| state.terminated.is_some()));
    let ended = ended.count();
    let happened = [
        (&mut life.made, matches!(event, WatchEvent::Added(_))),
        (&mut life.ready, ready),
        (&mut life.ended, ended > 0),
        (&mut life.over, ended > 0 && ended == containers.len()),
        (&mut life.leaves, pod.metadata.deletion_timestamp.is_some()),
        (&mut life.gone, matches!(event, WatchEvent::Deleted(_))),
    ];
    for (moment, happened) in happened {
        if happened && moment.is_none() {
            *moment = Some(now);
        }
    }
}
