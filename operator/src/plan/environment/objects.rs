//! The objects of an Environment besides its workloads and their Services, and what to do when an object is not what it
//! should be.
//!
//! An object carries a hash of how it was rendered. Where that is the hash of today, every difference was made by hand:
//! it is *drift*, put back and reported. Where it is another, spec or operator changed since, and the object is brought up
//! to date without a word; workloads are not, for that would replace pods.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{self, reasons, types},
    environment::{EnvironmentSpec, EnvironmentStatus, RolloutState, Tier},
    network::NetworkPolicies,
};

use super::{
    Aim, Change, Plan, ServiceName, aim,
    world::{DesiredRelease, Pod, World},
};

/// Who comes in by a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Visitors, to the dispatchers.
    Visitors,
    /// Editors, to the author.
    Editors,
}

impl Side {
    /// The tier that they reach.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Visitors => Tier::Dispatcher,
            Self::Editors => Tier::Author,
        }
    }
}

/// An object besides workloads and Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Further {
    /// The PodDisruptionBudget of the pairs.
    Budget,
    /// The NetworkPolicy of a tier.
    Policy(Tier),
    /// An Ingress.
    Route(Side),
}

impl Further {
    /// Every object that there can be.
    pub const ALL: [Self; 6] = [
        Self::Budget,
        Self::Policy(Tier::Author),
        Self::Policy(Tier::Publish),
        Self::Policy(Tier::Dispatcher),
        Self::Route(Side::Visitors),
        Self::Route(Side::Editors),
    ];

    /// Its kind.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Budget => "PodDisruptionBudget",
            Self::Policy(_) => "NetworkPolicy",
            Self::Route(_) => "Ingress",
        }
    }

    /// Its name in an Environment.
    #[must_use]
    pub fn of(self, environment: &str) -> String {
        match self {
            Self::Budget => format!("{environment}-pairs"),
            Self::Policy(tier) => format!("{environment}-{}", tier.as_str()),
            Self::Route(side) => format!("{environment}-{}", side.tier().as_str()),
        }
    }

    /// Whether an Environment is to have it.
    #[must_use]
    pub fn wanted(self, spec: &EnvironmentSpec) -> bool {
        match self {
            // With one pair there is nothing to spare: a budget would hold up every drain of its node for ever.
            Self::Budget => spec.publish.replicas > 1,
            Self::Policy(_) => spec.network.policies == NetworkPolicies::Enabled,
            Self::Route(Side::Visitors) => spec.route.is_some(),
            Self::Route(Side::Editors) => spec.route.as_ref().is_some_and(|route| route.author.is_some()),
        }
    }
}

/// An object of an Environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A StatefulSet.
    Workload(Tier),
    /// A Service.
    Service(ServiceName),
    /// Another object.
    Further(Further),
    /// A ConfigMap with variables, by name. It never changes: somebody deleted it, and made another one.
    ConfigMap(String),
    /// A Secret with variables, by name; as the ConfigMap.
    Secret(String),
    /// A pod: read, never written.
    Pod {
        /// Its tier.
        tier: Tier,
        /// Its ordinal.
        ordinal: i32,
    },
}

impl Object {
    /// Its kind, for messages and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Workload(_) => "StatefulSet",
            Self::Service(_) => "Service",
            Self::Further(further) => further.kind(),
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
            Self::Pod { .. } => "Pod",
        }
    }

    fn name(&self, environment: &str, revision: &str) -> String {
        match self {
            Self::Workload(tier) => format!("{environment}-{}", tier.as_str()),
            Self::Service(name) => name.of(environment, revision),
            Self::Further(further) => further.of(environment),
            Self::ConfigMap(name) | Self::Secret(name) => name.clone(),
            Self::Pod { tier, ordinal } => format!("{environment}-{}-{ordinal}", tier.as_str()),
        }
    }
}

/// Why an object is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was rendered from another spec, or by another version of the operator.
    Outdated,
    /// Somebody changed these fields, which are the operator's: it puts them back.
    Edited(Vec<String>),
    /// Somebody set what the operator does not own or may not write.
    NotOurs(Vec<String>),
}

/// An object that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The object.
    pub object: Object,
    /// Why.
    pub cause: Cause,
}

/// Fields of one object that a message names.
const FIELDS_MAX: usize = 4;

struct Told<'a>(&'a Deviation, &'a str, &'a str);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(deviation, environment, revision) = self;
        let object = &deviation.object;
        write!(f, "{} {}", object.kind(), object.name(environment, revision))?;
        let (Cause::Edited(fields) | Cause::NotOurs(fields)) = &deviation.cause else { return Ok(()) };
        write!(f, ": {}", fields.iter().take(FIELDS_MAX).cloned().collect::<Vec<_>>().join(", "))?;
        match fields.len().saturating_sub(FIELDS_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Adds what keeps the objects of an Environment as they should be, and what is said of it, to a plan.
pub(super) fn keep(world: &World, plan: &mut Plan) {
    // What somebody deletes is left as it is.
    let Some(Aim { release: desired, .. }) = aim(world).filter(|_| !world.is_deleted()) else { return };
    // Base images that wait for a first release have no pods that anything would be for.
    if Tier::ALL.into_iter().all(|tier| world.workload(tier).is_none()) && plan.changes.is_empty() {
        return;
    }
    let spec = &world.environment.spec;
    let missing = Further::ALL.into_iter().filter(|object| object.wanted(spec) && !world.further.contains(object));
    let excess = world.further.iter().copied().filter(|object| !object.wanted(spec));
    let mut first: Vec<Change> = missing.map(Change::Further).collect();
    first.extend(world.deviations.iter().filter_map(|deviation| put_back(world, plan, deviation)));
    // Rules are there before the pods that they are for; what is too much goes when everything else is done.
    plan.changes.splice(0..0, first);
    plan.changes.extend(excess.map(Change::DeleteFurther));
    say(world, &desired, &drifted(world, &desired), &mut plan.status);
}

/// The change that makes an object what it should be, if there is one and the plan does not have it already.
fn put_back(world: &World, plan: &Plan, deviation: &Deviation) -> Option<Change> {
    let change = match (&deviation.object, &deviation.cause) {
        (_, Cause::NotOurs(_)) | (Object::Pod { .. } | Object::ConfigMap(_) | Object::Secret(_), _) => return None,
        // Its pods would be replaced.
        (Object::Workload(_), Cause::Outdated) => return None,
        (Object::Workload(tier), Cause::Edited(_)) => {
            let known = world.workload(*tier)?;
            Change::Workload { tier: *tier, replicas: known.replicas, partition: known.partition }
        }
        (Object::Service(name), _) => Change::Service(name.clone()),
        (Object::Further(further), _) => Change::Further(*further),
    };
    let same = |planned: &Change| match (planned, &change) {
        (Change::Workload { tier, .. }, Change::Workload { tier: other, .. }) => tier == other,
        (planned, change) => planned == change,
    };
    (!plan.changes.iter().any(same)).then_some(change)
}

/// What was changed by hand.
fn drifted(world: &World, desired: &DesiredRelease) -> Vec<Deviation> {
    let mut all: Vec<Deviation> =
        world.deviations.iter().filter(|other| other.cause != Cause::Outdated).cloned().collect();
    all.extend(numbers(world, desired));
    all.extend(world.pods.iter().filter_map(|pod| changed_pod(pod, desired)));
    all
}

/// Numbers that somebody gave to a StatefulSet: at rest they are the Environment's, and the planner makes them so.
fn numbers(world: &World, desired: &DesiredRelease) -> Vec<Deviation> {
    let status = world.environment.status.as_ref();
    let rests = status.is_some_and(|status| {
        let seen = status.observed_generation == world.environment.metadata.generation.unwrap_or_default();
        let complete = status
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.state == RolloutState::Complete && rollout.revision == desired.revision());
        seen && complete && status.target.is_none()
    });
    if !rests {
        return vec![];
    }
    let pairs = world.environment.spec.publish.replicas;
    let tiers = [(Tier::Author, 1), (Tier::Publish, pairs), (Tier::Dispatcher, pairs)];
    tiers
        .into_iter()
        .filter_map(|(tier, wanted)| {
            let known = world.workload(tier).filter(|known| known.revision == desired.revisions.of(tier))?;
            let mut fields = vec![];
            if known.replicas != wanted {
                fields.push(format!("spec.replicas is {}, should be {wanted}", known.replicas));
            }
            if known.partition != 0 {
                fields.push(format!("spec.updateStrategy.rollingUpdate.partition is {}, should be 0", known.partition));
            }
            let object = Object::Workload(tier);
            (!fields.is_empty()).then_some(Deviation { object, cause: Cause::Edited(fields) })
        })
        .collect()
}

/// A pod that does not run what was deployed.
fn changed_pod(pod: &Pod, desired: &DesiredRelease) -> Option<Deviation> {
    let wanted = match pod.tier {
        Tier::Author | Tier::Publish => &desired.content.images().aem,
        Tier::Dispatcher => &desired.content.images().dispatcher,
    };
    if pod.terminating || pod.asks.is_empty() {
        return None;
    }
    let digest = |image: &str| image.rsplit_once('@').map(|(_, digest)| digest.to_string());
    let (asked, run) = (digest(&pod.asks), digest(&pod.runs));
    let field = if pod.revision == desired.revisions.of(pod.tier) && pod.asks != wanted.to_string() {
        format!("asks for image {}, deployed was {wanted}", pod.asks)
    } else {
        // A base image may be an index, whose digest is not that of what runs.
        desired.content.release()?;
        let run = run.filter(|run| asked.as_ref().is_some_and(|asked| asked != run))?;
        format!("runs image {run}, asked for was {}", pod.asks)
    };
    let object = Object::Pod { tier: pod.tier, ordinal: pod.ordinal };
    Some(Deviation { object, cause: Cause::NotOurs(vec![field]) })
}

/// Sets the condition `Drifted`.
fn say(world: &World, desired: &DesiredRelease, drift: &[Deviation], status: &mut EnvironmentStatus) {
    let name = world.name();
    let namespace = world.environment.metadata.namespace.as_deref().unwrap_or_default();
    let told = |wanted: fn(&Cause) -> bool| {
        let all = drift.iter().filter(|deviation| wanted(&deviation.cause));
        all.map(|deviation| Told(deviation, name, &desired.revisions.aem).to_string()).collect::<Vec<_>>().join("; ")
    };
    let edited = told(|cause| matches!(cause, Cause::Edited(_)));
    let not_ours = told(|cause| matches!(cause, Cause::NotOurs(_)));
    let known = conditions::get(&status.conditions, types::DRIFTED).cloned();
    let (drifted, reason, message) = match (edited.is_empty(), not_ours.is_empty(), &known) {
        (false, true, _) => (true, reasons::EDITED, format!("changed by hand, and put back: {edited}")),
        (false, false, _) => {
            (true, reasons::EDITED, format!("changed by hand, and put back: {edited}; left alone: {not_ours}"))
        }
        (true, false, _) => (true, reasons::NOT_OURS, format!("{not_ours}. {}", remedy(drift, name, namespace))),
        (true, true, Some(known)) if known.status == "True" && known.reason == reasons::EDITED => {
            let what = known.message.trim_start_matches("changed by hand, and put back: ");
            (false, reasons::PUT_BACK, format!("put back, after somebody had changed it by hand: {what}"))
        }
        (true, true, Some(known)) if known.status == "False" && known.reason == reasons::PUT_BACK => {
            (false, reasons::PUT_BACK, known.message.clone())
        }
        (true, true, _) => (false, reasons::AS_DEPLOYED, String::new()),
    };
    let generation = world.environment.metadata.generation;
    conditions::set(&mut status.conditions, &Time(world.now), generation, types::DRIFTED, drifted, reason, &message);
}

/// What a person does about what the operator cannot put back: the first of it, the others follow in turn.
fn remedy(drift: &[Deviation], environment: &str, namespace: &str) -> String {
    let first = drift.iter().find(|deviation| matches!(deviation.cause, Cause::NotOurs(_)));
    match first.map(|deviation| &deviation.object) {
        Some(object @ Object::Pod { .. }) => format!(
            "The operator never writes pods: kubectl delete pod {} --namespace {namespace}, and its StatefulSet makes it anew",
            object.name(environment, "")
        ),
        Some(object @ (Object::ConfigMap(name) | Object::Secret(name))) => format!(
            "Pods that start get what is in it: kubectl delete {} {name} --namespace {namespace}, and the operator makes it \
             anew; then delete the pods that were started since",
            object.kind().to_lowercase()
        ),
        Some(object) => format!(
            "The operator does not own what others add: take it away with kubectl edit {} {} --namespace {namespace}",
            object.kind().to_lowercase(),
            object.name(environment, "")
        ),
        None => String::new(),
    }
}
