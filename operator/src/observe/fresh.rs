//! Reads that know of everything this process knows of, and wait for no more.
//!
//! # Why not plain lists
//!
//! An apiserver answers a plain list from its watch cache once that cache has caught up with the whole store. Where nothing
//! of the listed kind was written since, it learns so from a report that it asks etcd for every 100 ms: a list right after a
//! write of *another* kind, which is what a controller does all day, costs up to that. A list that is "not older than" a
//! version of its own kind is answered as soon as that version is in the cache, which it is when a watch told us of it.
//!
//! # What is promised
//!
//! A list shows every change that a watch of this process has told of, and every write that this process had an answer to.
//! A process that knows nothing yet of a kind asks plainly, and so sees what its predecessor wrote. What that list was as new
//! as is known from then on: of a kind of which there are no objects no watch ever tells anything.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::{GetParams, ListParams, VersionMatch},
};
use serde::de::DeserializeOwned;

use super::batch::{self, InBatch};
use crate::{
    context::Context,
    error::{Error, bounded},
};

/// The newest version of each kind that a watch or an answer showed.
#[derive(Debug, Default)]
pub struct Freshness(Mutex<HashMap<Cow<'static, str>, Known>>);

/// What is known of a kind.
#[derive(Debug, Default)]
struct Known {
    /// The newest version of an object or of a list; none after the apiserver had nothing that new.
    newest: Option<u64>,
    /// The newest version of an object of each namespace.
    objects: HashMap<String, u64>,
}

impl Freshness {
    /// Remembers the version of an object. A version that is no number, which no Kubernetes apiserver gives, is left alone:
    /// numbers of one kind may be compared.
    pub fn note<K: Resource<DynamicType = ()>>(&self, object: &K) {
        let meta = object.meta();
        let Some(version) = number(meta.resource_version.as_deref()) else { return };
        let mut known = self.known();
        let known = known.entry(K::kind(&())).or_default();
        known.newest = known.newest.max(Some(version));
        let Some(namespace) = meta.namespace.as_deref() else { return };
        match known.objects.get_mut(namespace) {
            Some(newest) => *newest = version.max(*newest),
            None => drop(known.objects.insert(namespace.to_owned(), version)),
        }
    }

    fn note_list<K: Resource<DynamicType = ()>>(&self, version: Option<u64>) {
        let Some(version) = version else { return };
        let mut known = self.known();
        let known = known.entry(K::kind(&())).or_default();
        known.newest = known.newest.max(Some(version));
    }

    fn newest<K: Resource<DynamicType = ()>>(&self) -> Option<String> {
        self.known().get(&K::kind(&()))?.newest.map(|newest| newest.to_string())
    }

    fn params<K: Resource<DynamicType = ()>>(&self, plain: ListParams) -> ListParams {
        match self.newest::<K>() {
            Some(newest) => plain.at(&newest).matching(VersionMatch::NotOlderThan),
            None => plain,
        }
    }

    /// Whether a list of this version shows all that is known of a kind in a namespace.
    fn is_shown_by<K: Resource<DynamicType = ()>>(&self, namespace: &str, version: u64) -> bool {
        let known = self.known();
        let newest = known.get(&K::kind(&())).and_then(|known| known.objects.get(namespace));
        newest.is_none_or(|newest| *newest <= version)
    }

    /// Lets the next read be a plain one. What was told of each namespace stays: a list that is older shows less.
    fn forget<K: Resource<DynamicType = ()>>(&self) {
        if let Some(known) = self.known().get_mut(&K::kind(&())) {
            known.newest = None;
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Cow<'static, str>, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

/// Objects as they were at a version.
pub(super) struct Listed<K> {
    pub items: Vec<K>,
    /// None where the apiserver gives no number.
    pub version: Option<u64>,
}

/// Lists objects of a namespace, not older than what is known of their kind: page by page where `which` has a limit.
///
/// # Errors
/// When the apiserver does not answer, or has nothing that new: its store may have been restored from a backup. The next
/// list is a plain one then.
pub(super) async fn list<K>(
    context: &Context,
    doing: &'static str,
    namespace: &str,
    which: ListParams,
) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    listed(context, doing, namespace, which).await.map(|listed| listed.items)
}

/// Reads an object, not older than what is known of its kind; none where it is not there.
///
/// # Errors
/// As [`list`].
pub(super) async fn get<K>(
    context: &Context,
    doing: &'static str,
    namespace: &str,
    name: &str,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let version = context.fresh.newest::<K>().map_or_else(GetParams::default, |newest| GetParams::at(&newest));
    let read = async {
        match api.get_with(name, &version).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            found => found.map(Some),
        }
    };
    let found = bounded(doing, read).await.inspect_err(|_| context.fresh.forget::<K>())?;
    if let Some(found) = &found {
        context.fresh.note(found);
    }
    Ok(found)
}

/// Lists what an Environment's label is on, not older than what is known of its kind: out of the list of a batch of
/// Environments, where it is in one.
///
/// # Errors
/// As [`list`].
pub(super) async fn of_environment<K>(
    context: &Context,
    doing: &'static str,
    namespace: &str,
    environment: &str,
) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + InBatch + Clone + Debug + DeserializeOwned,
{
    if let Some(batch) = context.batches.of(namespace, environment) {
        let read = |of_all: String| listed(context, doing, namespace, ListParams::default().labels(&of_all));
        let is_new =
            |version: Option<u64>| version.is_some_and(|version| context.fresh.is_shown_by::<K>(namespace, version));
        if let Some(own) = batch.take(environment, "", is_new, read).await {
            return Ok(own);
        }
    }
    list(context, doing, namespace, ListParams::default().labels(&batch::selector(&[environment], ""))).await
}

async fn listed<K>(
    context: &Context,
    doing: &'static str,
    namespace: &str,
    which: ListParams,
) -> Result<Listed<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let mut page = context.fresh.params::<K>(which);
    let mut all = Listed { items: vec![], version: None };
    loop {
        let found = bounded(doing, api.list(&page)).await;
        if found.is_err() {
            context.fresh.forget::<K>();
        }
        let found = found?;
        all.version = number(found.metadata.resource_version.as_deref());
        context.fresh.note_list::<K>(all.version);
        all.items.extend(found.items);
        // What follows is of the version that the first page was of.
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, Service};
    use kube::core::{ObjectMeta, PartialObjectMetaExt};
    use serde_json::json;

    use crate::effects::wire::{apiserver, gone, lines, refusal};

    use super::*;

    fn pod(version: &str) -> Pod {
        Pod {
            metadata: ObjectMeta { resource_version: Some(version.into()), ..ObjectMeta::default() },
            ..Pod::default()
        }
    }

    #[tokio::test]
    async fn pages_are_put_together_and_after_a_refusal_is_asked_plainly() {
        let page = |name: &str, next: &str| {
            let items = json!([{ "metadata": { "name": name } }]);
            (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": { "continue": next }, "items": items }))
        };
        let answers = vec![page("a", "token"), page("b", ""), refusal(504, "Timeout"), page("c", "")];
        let (context, script) = apiserver(answers);
        context.fresh.note(&pod("7"));
        let ask = || list::<Pod>(&context, "list pods", "wknd", ListParams::default().limit(1));
        assert_eq!(ask().await.unwrap().len(), 2);
        assert!(ask().await.is_err());
        assert_eq!(ask().await.unwrap().len(), 1);
        let (pods, new) = ("GET /api/v1/namespaces/wknd/pods", "resourceVersion=7&resourceVersionMatch=NotOlderThan");
        let asked = [
            format!("{pods}?limit=1&{new}"),
            format!("{pods}?limit=1&continue=token"),
            format!("{pods}?limit=1&{new}"),
            format!("{pods}?limit=1"),
        ];
        assert_eq!(lines(&script.asked()), asked);
    }

    #[tokio::test]
    async fn of_what_is_not_there_the_second_list_waits_no_more() {
        let none = |version: &str| {
            let metadata = json!({ "resourceVersion": version });
            (200, json!({ "kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": [] }))
        };
        let (context, script) = apiserver(vec![none("41"), none("43"), none("43")]);
        for _ in 0..3 {
            assert!(list::<Pod>(&context, "list pods", "wknd", ListParams::default()).await.unwrap().is_empty());
        }
        let (pods, exact) = ("GET /api/v1/namespaces/wknd/pods", "resourceVersionMatch=NotOlderThan");
        let newer = |version: u32| format!("{pods}?resourceVersion={version}&{exact}");
        assert_eq!(lines(&script.asked()), [pods.to_string(), newer(41), newer(43)]);
    }

    #[tokio::test]
    async fn one_object_is_read_not_older_than_what_is_known_and_after_a_refusal_plainly() {
        let there =
            (200, json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "a", "resourceVersion": "9" } }));
        let (context, script) = apiserver(vec![there.clone(), gone(), refusal(504, "Timeout"), there]);
        let ask = || get::<Pod>(&context, "read a pod", "wknd", "a");
        assert!(ask().await.unwrap().is_some());
        assert!(ask().await.unwrap().is_none());
        assert!(ask().await.is_err());
        assert!(ask().await.unwrap().is_some());
        let pod = "GET /api/v1/namespaces/wknd/pods/a";
        let newer = format!("{pod}?resourceVersion=9");
        assert_eq!(lines(&script.asked()), [pod, &newer, &newer, pod]);
    }

    #[tokio::test]
    async fn a_batch_is_asked_once_and_what_changed_since_alone() {
        let pods = |version: &str, of: &[&str]| {
            let pod =
                |name: &&str| json!({ "metadata": { "name": name, "labels": { "launchway.dev/environment": name } } });
            let items: Vec<_> = of.iter().map(pod).collect();
            (
                200,
                json!({ "kind": "PodList", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items }),
            )
        };
        let (context, script) = apiserver(vec![pods("41", &["a", "b", "c"]), pods("53", &["c"]), pods("54", &["a"])]);
        context.batches.open("wknd", ["a", "b", "c"].map(String::from).into());
        let within = |namespace: &str, version: &str| {
            let mut pod = pod(version);
            pod.metadata.namespace = Some(namespace.into());
            context.fresh.note(&pod);
        };
        let ask = async |environment: &str| {
            let found = of_environment::<Pod>(&context, "list pods", "wknd", environment).await.unwrap();
            found.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>()
        };
        within("wknd", "40");
        assert_eq!(ask("a").await, ["a"]);
        within("elsewhere", "52");
        assert_eq!(ask("b").await, ["b"], "nothing is known of this namespace that it does not show");
        within("wknd", "42");
        assert_eq!(ask("c").await, ["c"]);
        context.batches.close("wknd", "a");
        assert_eq!(ask("a").await, ["a"]);
        let (own, new) = ("launchway.dev%2Fenvironment", "&resourceVersionMatch=NotOlderThan");
        let line = |selector: &str, version: u32| {
            format!("GET /api/v1/namespaces/wknd/pods?labelSelector={own}{selector}&resourceVersion={version}{new}")
        };
        assert_eq!(lines(&script.asked()), [line("+in+%28a%2Cb%2Cc%29", 40), line("%3Dc", 52), line("%3Da", 53)]);
    }

    #[test]
    fn a_list_is_as_new_as_the_newest_version_seen_of_its_kind() {
        let fresh = Freshness::default();
        assert_eq!(fresh.params::<Pod>(ListParams::default()), ListParams::default());
        for version in ["9", "101", "17", "later", ""] {
            fresh.note(&pod(version));
        }
        let asked = fresh.params::<Pod>(ListParams::default().labels("a=b"));
        assert_eq!(asked.resource_version.as_deref(), Some("101"));
        assert_eq!(asked.version_match, Some(VersionMatch::NotOlderThan));
        assert_eq!(asked.label_selector.as_deref(), Some("a=b"));
        assert_eq!(fresh.params::<Service>(ListParams::default()), ListParams::default());
        // Watches tell of metadata alone.
        fresh.note(&pod("102").metadata.into_response_partial::<Pod>());
        assert_eq!(fresh.params::<Pod>(ListParams::default()).resource_version.as_deref(), Some("102"));
        fresh.forget::<Pod>();
        assert_eq!(fresh.params::<Pod>(ListParams::default()), ListParams::default());
    }

    #[test]
    fn a_list_that_is_behind_stays_so_after_a_read_that_failed() {
        let fresh = Freshness::default();
        let mut seen = pod("105");
        seen.metadata.namespace = Some("wknd".into());
        fresh.note(&seen);
        fresh.forget::<Pod>();
        assert!(!fresh.is_shown_by::<Pod>("wknd", 100));
        assert!(fresh.is_shown_by::<Pod>("wknd", 105) && fresh.is_shown_by::<Pod>("elsewhere", 100));
    }
}
