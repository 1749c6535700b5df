//! Templates of pods that the cluster keeps: those of the StatefulSets, and those of their ControllerRevisions, with which
//! the StatefulSet controller itself remembers what ran before.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::PodTemplateSpec,
};
use launchway_crds::{
    Environment,
    environment::Tier,
    names::{annotations, labels},
};

use crate::plan::environment::world::{Content, DesiredRelease};

use super::{
    Release, compare, configuration,
    workload::{stateful_set, with_template},
};

/// Templates by tier and revision.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    templates: BTreeMap<(Tier, String), PodTemplateSpec>,
    /// Revision of each StatefulSet, and hash of how it was rendered.
    rendered: BTreeMap<Tier, (String, String)>,
}

impl Kept {
    /// What is kept of these StatefulSets, in their own templates and in ControllerRevisions.
    #[must_use]
    pub fn of(sets: &[&StatefulSet], mut revisions: Vec<ControllerRevision>) -> Self {
        let mut kept = Self::default();
        let ours = |revision: &ControllerRevision| {
            let mut owners = revision.metadata.owner_references.iter().flatten();
            owners.any(|owner| sets.iter().any(|set| set.metadata.uid.as_ref() == Some(&owner.uid)))
        };
        // Of several with one mark the first is what was rendered: what came later, somebody edited.
        revisions.sort_by_key(|revision| revision.metadata.creation_timestamp.as_ref().map(|at| at.0));
        for revision in revisions.iter().filter(|revision| ours(revision)) {
            let template = revision.data.as_ref().and_then(|data| data.0.pointer("/spec/template"));
            if let Some(template) = template.and_then(|found| serde_json::from_value(found.clone()).ok()) {
                kept.add(template);
            }
        }
        for set in sets {
            if let Some(spec) = &set.spec {
                kept.add(spec.template.clone());
            }
            kept.note(set);
        }
        kept
    }

    fn add(&mut self, template: PodTemplateSpec) {
        let Some(marks) = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref()) else { return };
        let (Some(revision), Some(tier)) = (marks.get(labels::REVISION), marks.get(labels::TIER)) else { return };
        let Some(tier) = Tier::ALL.into_iter().find(|known| known.as_str() == tier) else { return };
        self.templates.entry((tier, revision.clone())).or_insert(template);
    }

    fn note(&mut self, set: &StatefulSet) {
        let (marks, notes) = (set.metadata.labels.as_ref(), set.metadata.annotations.as_ref());
        let tier = marks.and_then(|all| all.get(labels::TIER));
        let tier = Tier::ALL.into_iter().find(|known| tier.is_some_and(|tier| known.as_str() == tier));
        let revision = marks.and_then(|all| all.get(labels::REVISION));
        let mark = notes.and_then(|all| all.get(annotations::RENDERED));
        if let (Some(tier), Some(revision), Some(mark)) = (tier, revision, mark) {
            self.rendered.insert(tier, (revision.clone(), mark.clone()));
        }
    }

    /// Which templates there are.
    #[must_use]
    pub fn names(&self) -> BTreeSet<(Tier, String)> {
        self.templates.keys().cloned().collect()
    }

    /// Configuration objects that any of them refers to.
    #[must_use]
    pub fn configurations(&self) -> BTreeSet<String> {
        let pods = self.templates.values().filter_map(|template| template.spec.as_ref());
        pods.flat_map(configuration::referred).collect()
    }
}

/// What the workloads of an Environment are made from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The Environment.
    pub environment: &'a Environment,
    /// What is to run.
    pub release: &'a DesiredRelease,
    /// The same with what its images promise; none if nothing may be rendered, for it is to come back as it was.
    pub rendered: Option<Release<'a>>,
    /// Templates that are kept.
    pub kept: &'a Kept,
}

impl Source<'_> {
    /// The StatefulSet of a tier; none if nothing may be rendered and the cluster does not keep its template.
    ///
    /// A template that is kept is used as it is: rendered by another version of the operator it might differ, and every pod
    /// would be replaced at once.
    #[must_use]
    pub fn workload(&self, tier: Tier, replicas: i32, partition: i32) -> Option<StatefulSet> {
        let revision = self.release.revisions.of(tier);
        let template = self.kept.templates.get(&(tier, revision.to_owned()));
        let rendered = self.rendered.as_ref().map(|release| stateful_set(release, tier, replicas, partition));
        match (rendered, template) {
            (Some(rendered), Some(template)) if !self.is_as_rendered(tier, &rendered) => {
                Some(self.kept_workload(template, tier, replicas, partition))
            }
            (Some(rendered), _) => Some(rendered),
            (None, template) => Some(self.kept_workload(template?, tier, replicas, partition)),
        }
    }

    /// Whether what is there was rendered like this: then both templates are the same, and this is the one without what the
    /// apiserver added.
    fn is_as_rendered(&self, tier: Tier, rendered: &StatefulSet) -> bool {
        let Some((revision, mark)) = self.kept.rendered.get(&tier) else { return false };
        let same = compare::marked(rendered).is_some_and(|rendered| compare::mark(&rendered) == Some(mark));
        revision == self.release.revisions.of(tier) && same
    }

    fn kept_workload(&self, template: &PodTemplateSpec, tier: Tier, replicas: i32, partition: i32) -> StatefulSet {
        let content: &Content = &self.release.content;
        with_template(self.environment, content, &self.release.revisions, template.clone(), tier, replicas, partition)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render::tests::with_release;

    fn template(revision: &str, tier: &str, map: &str) -> serde_json::Value {
        json!({
            "metadata": { "labels": { "launchway.dev/revision": revision, "launchway.dev/tier": tier } },
            "spec": { "containers": [{ "name": "main", "image": "x", "envFrom": [{ "configMapRef": { "name": map } }] }] },
        })
    }

    fn revision(owner: &str, at: &str, template: &serde_json::Value) -> ControllerRevision {
        serde_json::from_value(json!({
            "metadata": {
                "creationTimestamp": at,
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "x", "uid": owner }],
            },
            "revision": 1, "data": { "spec": { "template": template } },
        }))
        .unwrap()
    }

    #[test]
    fn what_ran_before_is_found_as_it_was_rendered_first() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": { "uid": "set" },
            "spec": { "selector": {}, "template": template("new", "publish", "b") },
        }))
        .unwrap();
        let mut edited = template("old", "publish", "a");
        edited["spec"]["containers"][0]["image"] = "edited".into();
        let kept = Kept::of(
            &[&set],
            vec![
                revision("set", "2026-11-21T11:00:00Z", &edited),
                revision("set", "2026-11-21T10:00:00Z", &template("old", "publish", "a")),
                revision("another", "2026-11-21T09:00:00Z", &template("foreign", "publish", "c")),
            ],
        );
        assert_eq!(kept.names(), ["new", "old"].map(|name| (Tier::Publish, name.to_owned())).into());
        let found = &kept.templates[&(Tier::Publish, "old".to_owned())];
        assert_eq!(found.spec.as_ref().unwrap().containers[0].image.as_deref(), Some("x"));
        assert_eq!(kept.configurations(), ["a".to_owned(), "b".to_owned()].into());
    }

    #[test]
    fn what_another_version_rendered_is_kept_and_what_this_one_rendered_is_rendered_again() {
        with_release(|release| {
            let desired = DesiredRelease {
                content: release.content.clone(),
                revisions: release.revisions(),
                configuration: release.configuration.clone(),
            };
            let own = stateful_set(release, Tier::Publish, 3, 2);
            let there = |edit: &dyn Fn(&mut serde_json::Value)| -> StatefulSet {
                let mut found = compare::marked(&own).unwrap();
                found["metadata"]["uid"] = "set".into();
                edit(&mut found);
                serde_json::from_value(found).unwrap()
            };
            let made = |found: &StatefulSet, rendered: bool| {
                let kept = Kept::of(&[found], vec![]);
                let rendered = rendered.then_some(*release);
                let source = Source { environment: release.environment, release: &desired, rendered, kept: &kept };
                source.workload(Tier::Publish, 3, 2)
            };
            // The apiserver filled something in: what is applied does not have it.
            let defaulted = there(&|found| found["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst".into());
            assert_eq!(made(&defaulted, true).unwrap(), own);
            // Another version rendered it: its template stays, word for word.
            let other = there(&|found| {
                found["metadata"]["annotations"][annotations::RENDERED] = "other".into();
                found["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst".into();
            });
            let kept = made(&other, true).unwrap();
            assert_eq!(kept.spec.as_ref().unwrap().template, other.spec.as_ref().unwrap().template);
            assert_eq!(kept.metadata, own.metadata);
            // What comes back is never rendered.
            assert_eq!(made(&other, false).unwrap(), kept);
            let source =
                Source { environment: release.environment, release: &desired, rendered: None, kept: &Kept::default() };
            assert_eq!(source.workload(Tier::Publish, 3, 2), None);
        });
    }
}
