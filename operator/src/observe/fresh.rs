//! Lists that know of everything this process knows of, and wait for no more.
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
    sync::{Mutex, PoisonError},
};

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::{ListParams, VersionMatch},
};
use serde::de::DeserializeOwned;

use crate::{
    context::Context,
    error::{Error, bounded},
};

/// The newest version of each kind that a watch or an answer showed.
#[derive(Debug, Default)]
pub struct Freshness(Mutex<HashMap<Cow<'static, str>, u64>>);

impl Freshness {
    /// Remembers the version of an object. A version that is no number, which no Kubernetes apiserver gives, is left alone:
    /// numbers of one kind may be compared.
    pub fn note<K: Resource<DynamicType = ()>>(&self, object: &K) {
        self.note_version::<K>(object.meta().resource_version.as_deref());
    }

    fn note_version<K: Resource<DynamicType = ()>>(&self, version: Option<&str>) {
        let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) else { return };
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(K::kind(&())).or_default();
        *newest = version.max(*newest);
    }

    fn params<K: Resource<DynamicType = ()>>(&self, plain: ListParams) -> ListParams {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&K::kind(&())) {
            Some(version) => plain.at(&version.to_string()).matching(VersionMatch::NotOlderThan),
            None => plain,
        }
    }

    fn forget<K: Resource<DynamicType = ()>>(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&K::kind(&()));
    }
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
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let mut page = context.fresh.params::<K>(which);
    let mut all = vec![];
    loop {
        let found = bounded(doing, api.list(&page)).await;
        if found.is_err() {
            context.fresh.forget::<K>();
        }
        let found = found?;
        context.fresh.note_version::<K>(found.metadata.resource_version.as_deref());
        all.extend(found.items);
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

    use crate::effects::wire::{apiserver, lines, refusal};

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
}
