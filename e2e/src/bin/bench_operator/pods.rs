//! What happens to pods, with the moments at which a watch of our own saw it: what statuses say has whole seconds.

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
    /// By UID: one name has several pods in its time.
    seen: Arc<Mutex<BTreeMap<String, Life>>>,
    task: JoinHandle<()>,
}

/// A pod's life, as far as it was seen.
#[derive(Clone, Debug)]
pub struct Life {
    /// The pod's name.
    pub name: String,
    /// Created; none of one that was there before the watch.
    pub made: Option<Timestamp>,
    /// Ready for the first time.
    pub ready: Option<Timestamp>,
    /// End of the first of its containers, init containers left out.
    pub ended: Option<Timestamp>,
    /// End of the last of them.
    pub over: Option<Timestamp>,
    /// Told to end.
    pub leaves: Option<Timestamp>,
    /// Deleted.
    pub gone: Option<Timestamp>,
}

/// From the end of a step to the next pod, as a watch sees both.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// Since its first container ended: of a test that is the one of the test, and the one that fetches its report goes on.
    pub first: Duration,
    /// Since its last container ended.
    pub last: Duration,
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
        let seen: Arc<Mutex<BTreeMap<String, Life>>> = Arc::default();
        let own = seen.clone();
        let task = tokio::spawn(async move {
            let mut stream = stream.boxed();
            while let Ok(Some(event)) = stream.try_next().await {
                note(&mut own.lock().unwrap_or_else(PoisonError::into_inner), &event);
            }
        });
        Ok(Self { seen, task })
    }

    /// What was seen so far.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What lies between each step's end and the next pod of the execution; what a person said between them left out.
    ///
    /// # Errors
    /// When not all of its five Jobs were seen.
    pub fn gaps(&self, execution: &str, said: Timestamp) -> Outcome<Vec<Gap>> {
        let mut own: Vec<Life> = self.lives().into_iter().filter(|life| life.name.starts_with(execution)).collect();
        own.sort_by_key(|life| life.made);
        if own.len() < 5 {
            return Err(Failure::new(format!("{} of 5 Jobs were seen", own.len())));
        }
        let gap = |pair: &[Life]| {
            let (ended, over, made) = (pair[0].ended?, pair[0].over?, pair[1].made?);
            let since = |moment| Duration::try_from(made.duration_since(moment)).ok();
            let waited = ended < said && said < made;
            (!waited).then_some(Gap { first: since(ended)?, last: since(over)? })
        };
        Ok(own.windows(2).filter_map(gap).collect())
    }

    /// The pod of a Job, and how long it was there before its container ended.
    ///
    /// # Errors
    /// When that takes longer than `limit`.
    pub async fn took(&self, job: &str, limit: Duration) -> Outcome<(String, Duration)> {
        until(&format!("a pod of {job} ends"), limit, || async {
            let lives = self.lives();
            let found = lives.iter().find(|life| life.name.starts_with(job));
            let ended = found.and_then(|life| Some((life.name.clone(), life.ended?.duration_since(life.made?))));
            let took = ended.and_then(|(name, took)| Some((name, Duration::try_from(took).ok()?)));
            Ok(took.ok_or_else(|| format!("{lives:?}")))
        })
        .await
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(seen: &mut BTreeMap<String, Life>, event: &WatchEvent<Pod>) {
    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = event else { return };
    let now = Timestamp::now();
    let unknown =
        Life { name: pod.name_any(), made: None, ready: None, ended: None, over: None, leaves: None, gone: None };
    let life = seen.entry(pod.uid().unwrap_or_default()).or_insert(unknown);
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
