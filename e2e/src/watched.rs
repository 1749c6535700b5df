//! Watches of a scenario's own: what they saw, and when.

use std::{
    cmp::Ordering,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::{Outcome, cluster::call};

/// Seconds after which a watch begins anew: the apiserver's client gives up a little later.
const LONGEST: u32 = 290;

/// When something happened.
///
/// Moments are ordered by the resource versions of what they changed, which one etcd gives in the order of its writes:
/// two watches may be told of two writes in the other order.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    version: u64,
    /// When the watch was told; to be trusted to some milliseconds.
    pub at: Timestamp,
}

impl Moment {
    /// The moment of a write, told of now.
    pub(crate) fn now(written: &impl ResourceExt) -> Self {
        let version = written.resource_version().and_then(|version| version.parse().ok());
        Self { version: version.unwrap_or_default(), at: Timestamp::now() }
    }

    /// A moment of a test's own.
    #[cfg(test)]
    pub(crate) fn of(version: u64) -> Self {
        Self { version, at: Timestamp::UNIX_EPOCH }
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        self.version.cmp(&other.version)
    }
}

/// A watch, and what was noted of its events so far. It ends with the value.
pub(crate) struct Watched<S> {
    noted: Arc<Mutex<S>>,
    task: JoinHandle<()>,
}

impl<S: Clone + Default + Send + 'static> Watched<S> {
    /// Watches objects with these labels from a resource version on: of `0` what is there is told first.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub(crate) async fn begin<K>(
        api: Api<K>,
        labels: &str,
        from: &str,
        note: fn(&mut S, &WatchEvent<K>),
    ) -> Outcome<Self>
    where
        K: Clone + Debug + DeserializeOwned + ResourceExt + Send + Sync + 'static,
    {
        let params = WatchParams::default().labels(labels).timeout(LONGEST);
        let mut stream = call(api.watch(&params, from)).await?.boxed();
        let mut from = from.to_string();
        let noted: Arc<Mutex<S>> = Arc::default();
        let own = noted.clone();
        let task = tokio::spawn(async move {
            loop {
                while let Ok(Some(event)) = stream.try_next().await {
                    match &event {
                        WatchEvent::Added(seen) | WatchEvent::Modified(seen) | WatchEvent::Deleted(seen) => {
                            from = seen.resource_version().unwrap_or(from);
                        }
                        WatchEvent::Bookmark(_) => {}
                        // The apiserver does not remember so far back: what follows is not seen, and missed.
                        WatchEvent::Error(_) => return,
                    }
                    note(&mut own.lock().unwrap_or_else(PoisonError::into_inner), &event);
                }
                let Ok(next) = call(api.watch(&params, &from)).await else { return };
                stream = next.boxed();
            }
        });
        Ok(Self { noted, task })
    }

    /// What was noted so far.
    pub(crate) fn noted(&self) -> S {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
