//! The StatefulSets of an Environment, and what they say of themselves.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::Container},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;
use launchway_crds::{
    deploy::Origin,
    digest::ImageRef,
    environment::{Deployed, ReleaseImages, Tier},
    names::{annotations, labels},
};

use super::now;
use crate::{
    plan::environment::world::{Content, Revisions, Workload},
    render::configuration::in_force,
};

/// The StatefulSets of an Environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    pub author: Option<StatefulSet>,
    pub publish: Option<StatefulSet>,
    pub dispatcher: Option<StatefulSet>,
}

impl Sets {
    pub(super) fn all(&self) -> impl Iterator<Item = (Tier, &StatefulSet)> {
        let all = [(Tier::Author, &self.author), (Tier::Publish, &self.publish), (Tier::Dispatcher, &self.dispatcher)];
        all.into_iter().filter_map(|(tier, set)| Some((tier, set.as_ref()?)))
    }

    /// Whether every tier's newest template is of its revision.
    pub(super) fn are_on(&self, revisions: &Revisions) -> bool {
        self.all().count() == Tier::ALL.len() && self.all().all(|(tier, set)| facts(set).revision == revisions.of(tier))
    }

    /// Hashes of the variables that the newest templates have.
    pub(super) fn configuration(&self, environment: &str) -> BTreeMap<Tier, String> {
        let hash = |set: &StatefulSet, tier| in_force(environment, tier, set.spec.as_ref()?.template.spec.as_ref()?);
        self.all().filter_map(|(tier, set)| Some((tier, hash(set, tier)?))).collect()
    }

    /// The deployment that brought a tier's revision, where its workload, or one that shares the revision, has it already.
    fn brought_by(&self, tier: Tier, revisions: &Revisions) -> Option<Origin> {
        let same: &[&Option<StatefulSet>] = match tier {
            Tier::Author | Tier::Publish => &[&self.author, &self.publish],
            Tier::Dispatcher => &[&self.dispatcher],
        };
        let mut all = same.iter().filter_map(|set| set.as_ref());
        origin(all.find(|set| facts(set).revision == revisions.of(tier))?)
    }

    /// What runs, by the word of those who brought it: a later execution that deploys the same again takes nothing's place.
    /// With its name workloads would be rendered otherwise than they are, and drift of them would not be seen.
    pub(super) fn as_brought(&self, content: Content, revisions: &Revisions) -> Content {
        let Content::Release(mut deployed) = content else { return content };
        let dispatcher = self.brought_by(Tier::Dispatcher, revisions).unwrap_or_else(|| deployed.dispatcher_origin());
        if let Some(aem) = self.brought_by(Tier::Publish, revisions) {
            (deployed.execution, deployed.uid) = (aem.execution, aem.uid);
        }
        deployed.web_tier = Some(dispatcher);
        Content::Release(deployed)
    }
}

/// What the planner is told of a workload.
pub(super) fn facts(set: &StatefulSet) -> Workload {
    let spec = set.spec.as_ref();
    let partition = spec
        .and_then(|spec| spec.update_strategy.as_ref())
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|rolling| rolling.partition);
    Workload {
        revision: set.labels().get(labels::REVISION).cloned().unwrap_or_default(),
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        partition: partition.unwrap_or(0),
        retains: spec
            .and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref())
            .is_none_or(|policy| policy.when_deleted.as_deref() != Some("Delete")),
    }
}

/// What the workloads say that was deployed, where status was lost.
///
/// # Errors
/// Why they cannot say it, and what to do.
pub(super) fn recovered(sets: &Sets) -> Result<Option<Deployed>, String> {
    let (Some(author), Some(publish), Some(dispatcher)) = (&sets.author, &sets.publish, &sets.dispatcher) else {
        return Ok(None);
    };
    let all = [author, publish, dispatcher];
    if all.iter().all(|set| set.annotations().get(annotations::RELEASE).is_some_and(|mark| Content::is_bare(mark))) {
        return Ok(None);
    }
    let [of_author, of_publish, of_dispatcher] = all.map(facts);
    let paired = publish_of(dispatcher).is_some_and(|host| host.ends_with(&of_publish.revision));
    let partial = [&of_author, &of_publish, &of_dispatcher].iter().any(|set| set.partition != 0);
    if partial || !paired || of_author.revision != of_publish.revision {
        return Err(
            "status was lost in the middle of a rollout: what runs is left alone until an execution deploys again"
                .into(),
        );
    }
    let found = || {
        let (aem, web_tier) = (origin(publish)?, origin(dispatcher)?);
        Some(Deployed {
            web_tier: (web_tier.release != aem.release).then_some(web_tier),
            execution: aem.execution,
            uid: aem.uid,
            release: aem.release,
            images: ReleaseImages { aem: image(publish)?, dispatcher: image(dispatcher)? },
            cache: dispatcher
                .annotations()
                .get(annotations::CACHE)
                .map(|text| serde_json::from_str(text))
                .transpose()
                .ok()?,
            made_at: None,
            at: publish.metadata.creation_timestamp.clone().unwrap_or(Time(now())),
            revisions: None,
        })
    };
    found().map(Some).ok_or_else(|| {
        "status was lost and the workloads do not say what they run: run a pipeline that deploys here".into()
    })
}

fn container(set: &StatefulSet) -> Option<&Container> {
    set.spec.as_ref()?.template.spec.as_ref()?.containers.first()
}

fn image(set: &StatefulSet) -> Option<ImageRef> {
    container(set)?.image.as_ref()?.parse().ok()
}

/// The name under which dispatchers reach their publish, which ends with the revision of it.
fn publish_of(dispatcher: &StatefulSet) -> Option<&String> {
    container(dispatcher)?.env.as_ref()?.iter().find(|variable| variable.name == "AEM_HOST")?.value.as_ref()
}

/// The deployment that a workload says its image came with.
fn origin(set: &StatefulSet) -> Option<Origin> {
    let marks = set.annotations();
    let (execution, uid) = marks.get(annotations::EXECUTION)?.split_once(' ')?;
    let release = marks.get(annotations::RELEASE)?.parse().ok()?;
    Some(Origin { execution: execution.into(), uid: uid.into(), release })
}

#[cfg(test)]
pub(super) mod tests {
    use launchway_crds::Environment;

    use super::*;
    use crate::render::{
        Contracts, Release,
        compare::marked,
        tests::{contract, deployed, environment},
        workload,
    };

    pub(in crate::observe) fn contracts() -> Contracts {
        Contracts { aem: contract("aem", "8080"), dispatcher: contract("dispatcher", "80") }
    }

    pub(in crate::observe) fn release<'a>(
        content: &'a Content,
        environment: &'a Environment,
        contracts: &'a Contracts,
    ) -> Release<'a> {
        const NONE: &BTreeMap<Tier, String> = &BTreeMap::new();
        Release { environment, content, contracts, configuration: NONE }
    }

    /// The workloads of a deployment, as they are in the cluster.
    pub(in crate::observe) fn sets(deployed: Deployed) -> Sets {
        let (environment, contracts, content) = (environment(), contracts(), Content::Release(Box::new(deployed)));
        let release = release(&content, &environment, &contracts);
        let of = |tier| {
            let set = marked(&workload::stateful_set(&release, tier, 1, 0)).unwrap();
            Some(serde_json::from_value(set).unwrap())
        };
        Sets { author: of(Tier::Author), publish: of(Tier::Publish), dispatcher: of(Tier::Dispatcher) }
    }

    #[test]
    fn a_lost_status_is_read_from_the_workloads_and_base_images_are_no_release() {
        assert_eq!(recovered(&sets(deployed())).unwrap().unwrap().images, deployed().images);
        let mut mixed = sets(deployed());
        mixed.publish = sets(Deployed { release: deployed().images.aem, ..deployed() }).publish;
        assert!(recovered(&mixed).is_err());
        let mut bare = sets(deployed());
        for set in [&mut bare.author, &mut bare.publish, &mut bare.dispatcher].into_iter().flatten() {
            set.metadata.annotations.get_or_insert_default().insert(annotations::RELEASE.into(), "bare".into());
        }
        assert_eq!(recovered(&bare).unwrap(), None);
    }
}
