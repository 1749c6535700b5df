//! Lists that are read once for a batch of Environments of one namespace.
//!
//! An operator that starts looks at every Environment, and each look takes seven lists. What an apiserver charges for is the
//! request, so where many Environments of a namespace wait (`controllers/turns.rs`), some of them become a batch: whichever
//! is looked at first lists a kind for all of them, and each takes what is its own.
//!
//! # What is promised
//!
//! Nobody gets what is older than what a list of its own had to show ([`super::fresh`]): a list that is behind what is known of
//! its kind in the namespace, because somebody wrote since, is not used, nor read again. Whoever finds that,
//! that it has taken its part already, or that the list failed, asks for itself: one Environment's end is never another's.
//! A batch is gone from memory when the last of its Environments has been looked at.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{ConfigMap, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{ResourceExt, api::PartialObjectMeta};
use launchway_crds::names::labels;
use tokio::sync::OnceCell;

use super::fresh::Listed;
use crate::error::Error;

/// The batches under way, by namespace and name of each of their Environments.
#[derive(Debug, Default)]
pub struct Batches(Mutex<HashMap<(String, String), Arc<Batch>>>);

impl Batches {
    /// These Environments of a namespace are looked at next.
    pub fn open(&self, namespace: &str, names: Vec<String>) {
        let keys: Vec<_> = names.iter().map(|name| (namespace.to_owned(), name.clone())).collect();
        let batch = Arc::new(Batch { names, ..Batch::default() });
        self.all().extend(keys.into_iter().map(|key| (key, batch.clone())));
    }

    /// An Environment has been looked at.
    pub fn close(&self, namespace: &str, name: &str) {
        self.all().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The batch that an Environment is in.
    pub(super) fn of(&self, namespace: &str, name: &str) -> Option<Arc<Batch>> {
        self.all().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    #[cfg(test)]
    pub(crate) fn has(&self, namespace: &str, name: &str) -> bool {
        self.of(namespace, name).is_some()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Batch>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Environments of one namespace, and what was read for all of them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    names: Vec<String>,
    workloads: List<StatefulSet>,
    pods: List<Pod>,
    services: List<Service>,
    budgets: List<PodDisruptionBudget>,
    policies: List<NetworkPolicy>,
    revisions: List<ControllerRevision>,
    configurations: List<PartialObjectMeta<ConfigMap>>,
}

/// A kind of which a batch has a list.
pub(super) trait InBatch: ResourceExt + Sized {
    /// That list.
    fn list(batch: &Batch) -> &List<Self>;
}

macro_rules! in_batch {
    ($($kind:ty: $list:ident),+ $(,)?) => {
        $(impl InBatch for $kind {
            fn list(batch: &Batch) -> &List<Self> {
                &batch.$list
            }
        })+
    };
}

in_batch! {
    StatefulSet: workloads,
    Pod: pods,
    Service: services,
    PodDisruptionBudget: budgets,
    NetworkPolicy: policies,
    ControllerRevision: revisions,
    PartialObjectMeta<ConfigMap>: configurations,
}

/// A list of one kind, once it was asked for; nothing, where that failed.
#[derive(Debug)]
pub(super) struct List<K>(OnceCell<Option<Parts<K>>>);

impl<K> Default for List<K> {
    fn default() -> Self {
        Self(OnceCell::new())
    }
}

/// What of a list was not taken yet, by the Environment that it belongs to.
#[derive(Debug)]
struct Parts<K> {
    version: Option<u64>,
    left: Mutex<HashMap<String, Vec<K>>>,
}

impl<K: ResourceExt> Parts<K> {
    fn new(names: &[String], listed: Listed<K>) -> Self {
        let mut left: HashMap<String, Vec<K>> = names.iter().map(|name| (name.clone(), vec![])).collect();
        for object in listed.items {
            if let Some(own) = object.labels().get(labels::ENVIRONMENT).and_then(|owner| left.get_mut(owner)) {
                own.push(object);
            }
        }
        Self { version: listed.version, left: Mutex::new(left) }
    }
}

impl Batch {
    /// What an Environment has of a kind, if a list for all of them is at hand or can be had, and is new enough. `read` gets
    /// the selector, which ends as `also` says.
    pub(super) async fn take<K, F>(
        &self,
        environment: &str,
        also: &str,
        is_new: impl FnOnce(Option<u64>) -> bool,
        read: impl FnOnce(String) -> F,
    ) -> Option<Vec<K>>
    where
        K: InBatch,
        F: Future<Output = Result<Listed<K>, Error>>,
    {
        let list = K::list(self).0.get_or_init(|| async {
            let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
            let listed = read(selector(&names, also)).await;
            let listed = listed.inspect_err(|error| tracing::debug!(%error, "A list for a batch failed"));
            listed.ok().map(|listed| Parts::new(&self.names, listed))
        });
        let parts = list.await.as_ref().filter(|parts| is_new(parts.version))?;
        parts.left.lock().unwrap_or_else(PoisonError::into_inner).remove(environment)
    }
}

/// Selects what belongs to these Environments, and `also`.
pub(super) fn selector(environments: &[&str], also: &str) -> String {
    match environments {
        [one] => format!("{}={one}{also}", labels::ENVIRONMENT),
        several => format!("{} in ({}){also}", labels::ENVIRONMENT, several.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kube::core::ObjectMeta;

    use super::*;

    fn service(name: &str, environment: &str) -> Service {
        let own = [(labels::ENVIRONMENT.to_owned(), environment.to_owned())];
        let metadata = ObjectMeta { name: Some(name.into()), labels: Some(own.into()), ..ObjectMeta::default() };
        Service { metadata, ..Service::default() }
    }

    fn batch() -> (Batches, Arc<Batch>) {
        let batches = Batches::default();
        batches.open("wknd", vec!["a".into(), "b".into(), "c".into()]);
        let batch = batches.of("wknd", "a").unwrap();
        (batches, batch)
    }

    fn names(found: Option<Vec<Service>>) -> Option<Vec<String>> {
        found.map(|found| found.iter().map(ResourceExt::name_any).collect())
    }

    #[tokio::test]
    async fn a_kind_is_listed_once_and_everybody_takes_what_is_theirs_once() {
        let (_, batch) = batch();
        let asked = Cell::new(0);
        let read = |selector: String| {
            assert_eq!(selector, "launchway.dev/environment in (a,b,c),more");
            asked.set(asked.get() + 1);
            let items = vec![service("a-0", "a"), service("b-0", "b"), service("a-1", "a"), service("d-0", "d")];
            async { Ok(Listed { items, version: Some(7) }) }
        };
        let take = |environment| batch.take::<Service, _>(environment, ",more", |version| version == Some(7), read);
        let (a, b, c) = tokio::join!(take("a"), take("b"), take("c"));
        assert_eq!(names(a).unwrap(), ["a-0", "a-1"]);
        assert_eq!(names(b).unwrap(), ["b-0"]);
        assert_eq!(names(c).unwrap(), [""; 0], "it has none, and that is an answer");
        assert_eq!(names(take("a").await), None, "a second look is one's own");
        assert_eq!(names(take("d").await), None, "it is not of the batch");
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn a_list_that_is_too_old_or_failed_is_nobodys() {
        let (_, old) = batch();
        let read = |_| async { Ok(Listed { items: vec![service("a-0", "a")], version: Some(7) }) };
        assert_eq!(names(old.take::<Service, _>("a", "", |version| version > Some(7), read).await), None);
        assert_eq!(names(old.take::<Service, _>("a", "", |_| true, read).await).unwrap(), ["a-0"], "it is still there");
        let (_, failed) = batch();
        let refused = |_| async { Err(Error::Conflict("list services")) };
        assert_eq!(names(failed.take::<Service, _>("a", "", |_| true, refused).await), None);
        assert_eq!(names(failed.take::<Service, _>("b", "", |_| true, read).await), None, "nor is it asked for again");
    }

    #[test]
    fn a_batch_is_gone_with_the_last_of_its_environments() {
        let (batches, held) = batch();
        let batch = Arc::downgrade(&held);
        drop(held);
        for name in ["a", "b"] {
            batches.close("wknd", name);
            assert!(batches.of("wknd", name).is_none());
            assert!(batch.upgrade().is_some(), "c was not looked at yet");
        }
        batches.close("wknd", "c");
        assert!(batch.upgrade().is_none() && batches.all().is_empty());
    }
}
