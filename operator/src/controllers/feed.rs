//! One watch of a kind for everybody who wants to know of its changes.
//!
//! kube's own shared streams tell of no deletion, and wait for the slowest listener. Here a deletion is told, after the
//! object has left the store, and so is one that happened while there was no watch.

use std::{collections::HashMap, fmt::Debug, sync::Arc};

use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::observe::fresh::Freshness;

/// How many objects one answer of a list may hold: while it is read, the whole answer is in memory.
const PAGE: u32 = 100;

/// How kinds are watched.
pub(super) fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

/// A kind's objects in memory, and who is told of their changes.
pub(super) struct Feed<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    store: Store<K>,
    listeners: Vec<Listener<K>>,
}

/// Somebody who wants to know.
struct Listener<K> {
    about: About,
    hears: UnboundedSender<Arc<K>>,
}

/// What somebody wants to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    /// Everything.
    All,
    /// Not of changes of status alone.
    Specs,
    /// Not of what a list found to be there.
    Changes,
}

/// What is told of an object.
#[derive(Clone, Copy)]
enum News {
    /// A list found it. Whether its spec is another one than was known.
    Found { new_spec: bool },
    /// It was created or changed. Whether its spec is another one now.
    Changed { new_spec: bool },
    /// It is gone.
    Gone,
}

impl News {
    const fn concerns(self, about: About) -> bool {
        match (about, self) {
            (About::All, _) | (_, Self::Gone) | (About::Changes, Self::Changed { .. }) => true,
            (About::Changes, Self::Found { .. }) => false,
            (About::Specs, Self::Found { new_spec } | Self::Changed { new_spec }) => new_spec,
        }
    }
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        let (store, writer) = reflector::store();
        Self { writer, store, listeners: vec![] }
    }

    /// The objects. One that is told of and is not in here was deleted.
    pub(super) fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Every object that was created, changed or deleted from now on, and first of all those that are there.
    pub(super) fn changes(&mut self) -> impl Stream<Item = Arc<K>> + Send + use<K> {
        self.listen(About::All)
    }

    /// Every object that is created, changed or deleted from now on. Of a list that is read anew only what is gone is told.
    pub(super) fn later_changes(&mut self) -> impl Stream<Item = Arc<K>> + Send + use<K> {
        self.listen(About::Changes)
    }

    /// The same without changes that leave the spec as it is.
    pub(super) fn changes_of_specs(&mut self) -> impl Stream<Item = Arc<K>> + Send + use<K> {
        self.listen(About::Specs)
    }

    fn listen(&mut self, about: About) -> UnboundedReceiver<Arc<K>> {
        let (hears, changes) = unbounded();
        self.listeners.push(Listener { about, hears });
        changes
    }

    /// Watches for ever, and notes how new each object is: what is read because of it must not be older. Dropped, it ends
    /// the streams of those who listen.
    pub(super) async fn run(mut self, api: Api<K>, fresh: &Freshness)
    where
        K: DeserializeOwned,
    {
        let mut events = std::pin::pin!(watcher(api, config()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    note(fresh, &event);
                    self.take(&event);
                }
                Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "Watch broke off, it begins again"),
            }
        }
    }

    fn take(&mut self, event: &Event<K>) {
        match event {
            Event::Apply(changed) => {
                let key = ObjectRef::from_obj(changed);
                let old = self.store.get(&key);
                self.writer.apply_watcher_event(event);
                if let Some(changed) = self.store.get(&key) {
                    self.tell(&changed, News::Changed { new_spec: is_new_spec(old.as_deref(), &changed) });
                }
            }
            Event::Delete(gone) => {
                self.writer.apply_watcher_event(event);
                self.tell(&Arc::new(gone.clone()), News::Gone);
            }
            Event::InitDone => {
                let before: HashMap<_, _> =
                    self.store.state().into_iter().map(|old| (ObjectRef::from_obj(old.as_ref()), old)).collect();
                self.writer.apply_watcher_event(event);
                for there in self.store.state() {
                    let old = before.get(&ObjectRef::from_obj(there.as_ref()));
                    self.tell(&there, News::Found { new_spec: is_new_spec(old.map(AsRef::as_ref), &there) });
                }
                let gone = before.into_iter().filter(|(key, _)| self.store.get(key).is_none());
                gone.for_each(|(_, gone)| self.tell(&gone, News::Gone));
            }
            Event::Init | Event::InitApply(_) => self.writer.apply_watcher_event(event),
        }
    }

    fn tell(&self, object: &Arc<K>, news: News) {
        for listener in self.listeners.iter().filter(|listener| news.concerns(listener.about)) {
            // Nobody listens any more when the operator ends.
            let _ = listener.hears.unbounded_send(object.clone());
        }
    }
}

fn note<K: Resource<DynamicType = ()>>(fresh: &Freshness, event: &Event<K>) {
    match event {
        Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) => fresh.note(object),
        Event::Init | Event::InitDone => {}
    }
}

/// Whether an object is another one than before, or asks for something else.
fn is_new_spec<K: Resource>(old: Option<&K>, new: &K) -> bool {
    let (old, new) = (old.map(Resource::meta), new.meta());
    old.is_none_or(|old| (&old.uid, old.generation) != (&new.uid, new.generation))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn map(name: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        (map.metadata.name, map.metadata.namespace) = (Some(name.into()), Some("wknd".into()));
        map
    }

    /// Names of what is told at once.
    fn told(changes: &mut (impl Stream<Item = Arc<ConfigMap>> + Unpin)) -> Vec<String> {
        let mut names = vec![];
        while let Some(Some(changed)) = changes.next().now_or_never() {
            names.push(changed.metadata.name.clone().unwrap());
        }
        names.sort();
        names
    }

    #[test]
    fn everybody_hears_of_everything_once_the_store_knows_it() {
        let mut feed = Feed::<ConfigMap>::new();
        let (mut one, mut other) = (feed.changes(), feed.changes());
        feed.take(&Event::Init);
        feed.take(&Event::InitApply(map("a")));
        feed.take(&Event::InitApply(map("b")));
        assert!(told(&mut one).is_empty(), "the store is not whole yet");
        feed.take(&Event::InitDone);
        feed.take(&Event::Apply(map("c")));
        assert_eq!(told(&mut one), ["a", "b", "c"]);
        assert_eq!(told(&mut other), ["a", "b", "c"]);
        feed.take(&Event::Delete(map("b")));
        assert!(feed.store().get(&ObjectRef::from_obj(&map("b"))).is_none());
        assert_eq!(told(&mut one), ["b"], "a deletion is told");
    }

    #[test]
    fn who_asks_for_specs_hears_of_no_status() {
        let mut feed = Feed::<ConfigMap>::new();
        let mut specs = feed.changes_of_specs();
        let version = |generation| {
            let mut map = map("a");
            map.metadata.generation = Some(generation);
            map
        };
        for event in [Event::Init, Event::InitApply(version(1)), Event::InitDone, Event::Apply(version(1))] {
            feed.take(&event);
        }
        assert_eq!(told(&mut specs), ["a"], "once, when it was new");
        feed.take(&Event::Apply(version(2)));
        assert_eq!(told(&mut specs), ["a"]);
        for event in [Event::Init, Event::InitApply(version(2)), Event::InitDone] {
            feed.take(&event);
        }
        assert!(told(&mut specs).is_empty(), "another list of the same");
        feed.take(&Event::Delete(version(2)));
        assert_eq!(told(&mut specs), ["a"]);
    }

    #[test]
    fn who_asks_for_later_changes_hears_of_no_list_but_of_what_it_lacks() {
        let mut feed = Feed::<ConfigMap>::new();
        let mut later = feed.later_changes();
        for event in [Event::Init, Event::InitApply(map("a")), Event::InitApply(map("b")), Event::InitDone] {
            feed.take(&event);
        }
        assert!(told(&mut later).is_empty());
        feed.take(&Event::Apply(map("b")));
        assert_eq!(told(&mut later), ["b"]);
        for event in [Event::Init, Event::InitApply(map("b")), Event::InitDone] {
            feed.take(&event);
        }
        assert_eq!(told(&mut later), ["a"]);
    }

    #[test]
    fn what_went_while_nobody_watched_is_told_too() {
        let mut feed = Feed::<ConfigMap>::new();
        for event in [Event::Init, Event::InitApply(map("a")), Event::InitApply(map("b")), Event::InitDone] {
            feed.take(&event);
        }
        let mut changes = feed.changes();
        for event in [Event::Init, Event::InitApply(map("b")), Event::InitDone] {
            feed.take(&event);
        }
        assert_eq!(told(&mut changes), ["a", "b"]);
        assert!(feed.store().get(&ObjectRef::from_obj(&map("a"))).is_none());
    }
}
