//! When pods of Jobs were made and when their containers ended, as a watch of our own saw it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use launchway_e2e::{
    Failure, Outcome,
    cluster::{call, until},
    program::Program,
};
use tokio::task::JoinHandle;

/// A watch of pods.
pub struct Pods {
    seen: Arc<Mutex<BTreeMap<String, Seen>>>,
    task: JoinHandle<()>,
}

/// A pod.
#[derive(Clone, Debug)]
struct Seen {
    made: Timestamp,
    /// End of the first of its containers, init containers left out.
    ended: Option<Timestamp>,
}

impl Pods {
    /// Watches pods with these labels from now on, for five minutes at most.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn watch(program: &Program, labels: &str) -> Outcome<Self> {
        let api: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
        let params = WatchParams::default().labels(labels).timeout(290);
        let from = call(api.list(&ListParams::default().limit(1))).await?.metadata.resource_version;
        let stream = call(api.watch(&params, from.as_deref().unwrap_or("0"))).await?;
        let seen: Arc<Mutex<BTreeMap<String, Seen>>> = Arc::default();
        let own = seen.clone();
        let task = tokio::spawn(async move {
            let mut stream = stream.boxed();
            while let Ok(Some(event)) = stream.try_next().await {
                if let WatchEvent::Added(pod) | WatchEvent::Modified(pod) = event {
                    note(&mut own.lock().unwrap_or_else(PoisonError::into_inner), &pod);
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// From the end of each step's container to the next pod of the execution.
    ///
    /// # Errors
    /// When not all of its five Jobs were seen.
    pub fn gaps(&self, execution: &str) -> Outcome<Vec<Duration>> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own: Vec<&Seen> =
            seen.iter().filter(|(name, _)| name.starts_with(execution)).map(|(_, seen)| seen).collect();
        own.sort_by_key(|seen| seen.made);
        let gaps =
            own.windows(2).filter_map(|pair| Duration::try_from(pair[1].made.duration_since(pair[0].ended?)).ok());
        let gaps: Vec<Duration> = gaps.collect();
        if own.len() < 5 { Err(Failure::new(format!("{} of 5 Jobs were seen", own.len()))) } else { Ok(gaps) }
    }

    /// The pod of a Job, and how long it was there before its container ended.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn took(&self, job: &str, limit: Duration) -> Outcome<(String, Duration)> {
        until(&format!("a pod of {job} ends"), limit, || async {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let found = seen.iter().find(|(name, _)| name.starts_with(job));
            let ended = found.and_then(|(name, seen)| Some((name.clone(), seen.ended?.duration_since(seen.made))));
            let took = ended.and_then(|(name, took)| Some((name, Duration::try_from(took).ok()?)));
            Ok(took.ok_or_else(|| format!("{seen:?}")))
        })
        .await
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(seen: &mut BTreeMap<String, Seen>, pod: &Pod) {
    let now = Timestamp::now();
    let entry = seen.entry(pod.name_any()).or_insert(Seen { made: now, ended: None });
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut states = statuses.map(|container| container.state.as_ref().and_then(|state| state.terminated.as_ref()));
    if entry.ended.is_none() && states.any(|ended| ended.is_some()) {
        entry.ended = Some(now);
    }
}
