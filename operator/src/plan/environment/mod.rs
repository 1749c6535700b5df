//! The way of an Environment's workloads to the release it should run.
//!
//! Level-triggered: the next change is derived from what the StatefulSets and pods are now, never
//! from what was done before, so that a rollout goes on after a crash from wherever it was, and a
//! changed number of pairs or a new release in the middle of it needs no case of its own.
//!
//! A *revision* names everything in the pods' templates of a tier; author and publish share one, and that of the
//! dispatchers follows it. A dispatcher finds the publish of its pair through a Service that selects ordinal **and**
//! revision: it never serves from a publish of another release, whatever dies when.

mod all_at_once;
mod bare;
mod configuration;
mod doubt;
pub mod objects;
mod progress;
mod restore;
mod rolling;
mod services;
mod status;
pub mod watch;
pub mod world;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{reasons, truncate},
    environment::{EnvironmentSpec, EnvironmentStatus, EnvironmentType, RolloutState, RolloutStatus, Strategy, Tier},
    guard::Watch,
    names::FINALIZER,
};

pub use self::{
    configuration::configuration_name,
    services::{ServiceName, pair_service},
    status::refused,
};
use self::{
    doubt::Doubt,
    objects::{Deviation, Further, Object},
    progress::{lacks, progress},
    services::{missing_services, unneeded_services},
    world::{Content, Desired, DesiredRelease, World},
};

/// What to do about an Environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Changes, to be made in this order.
    pub changes: Vec<Change>,
    /// Status to write afterwards.
    pub status: EnvironmentStatus,
    /// When to look again even if nothing happens.
    pub wake: Option<Timestamp>,
    /// What becomes of the Environment's finalizer, before anything else.
    pub finalizer: Finalizer,
}

impl Plan {
    const fn of(status: EnvironmentStatus, wake: Option<Timestamp>) -> Self {
        Self { changes: vec![], status, wake, finalizer: Finalizer::Leave }
    }
}

/// What becomes of the finalizer that keeps an Environment while an execution has it.
///
/// It comes with the first lock and stays until the Environment is deleted: taken off after every execution it would be two
/// writes of each, and between a lock and its finalizer a deletion would find nothing in its way every time, not once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// It is as it should be.
    Leave,
    /// An execution took the Environment, for the first time.
    Add,
    /// The Environment is deleted, and nobody has it any more.
    Remove,
}

/// What the workloads of an Environment are brought to.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// What is to run.
    pub release: DesiredRelease,
    /// Where the templates of its pods come from.
    pub templates: Templates,
}

/// Where templates of pods come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Templates {
    /// They are rendered from the spec and the images' contracts, unless the cluster keeps them.
    Rendered,
    /// The cluster keeps them: what ran before comes back as it was.
    Kept,
}

/// What the workloads of an Environment are brought to, as far as it is known.
#[must_use]
pub fn aim(world: &World) -> Option<Aim> {
    let before = world.environment.status.as_ref().and_then(|status| restore::wanted(world, status));
    match (before, &world.desired) {
        // It came back, and is what is asked for.
        (Some(before), Desired::Release(desired)) if before == **desired => {
            Some(Aim { release: before, templates: Templates::Rendered })
        }
        (Some(before), _) => Some(Aim { release: before, templates: Templates::Kept }),
        (None, Desired::Release(desired)) => {
            Some(Aim { release: desired.as_ref().clone(), templates: Templates::Rendered })
        }
        (None, Desired::Nothing | Desired::Unknown(_) | Desired::Unconfigured(_)) => None,
    }
}

/// Whether a release is rolled out, or what ran before comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

/// One change of the workloads. Each can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a Service what it should be.
    Service(ServiceName),
    /// Make a StatefulSet what the desired revision says, with these numbers.
    Workload {
        /// Its tier.
        tier: Tier,
        /// Number of pods.
        replicas: i32,
        /// Pods of this ordinal and above get the desired revision.
        partition: i32,
    },
    /// Delete a Service that no pod needs any more.
    DeleteService(String),
    /// Make a further object what it should be.
    Further(Further),
    /// Delete a further object that the spec does not ask for any more.
    DeleteFurther(Further),
    /// Make the ConfigMap and the Secret with the variables of a tier.
    Configuration(Tier),
    /// Delete a ConfigMap, and the Secret of its name, that nothing refers to any more.
    DeleteConfiguration(String),
}

impl Change {
    /// Whether two changes, one planned right after the other, may be made at the same time: nothing that pods run is
    /// touched, and nothing is taken away.
    #[must_use]
    pub const fn goes_with(&self, next: &Self) -> bool {
        const fn only_adds(change: &Change) -> bool {
            match change {
                Change::Service(_) | Change::Further(_) | Change::Configuration(_) => true,
                Change::Workload { .. }
                | Change::DeleteService(_)
                | Change::DeleteFurther(_)
                | Change::DeleteConfiguration(_) => false,
            }
        }
        only_adds(self) && only_adds(next)
    }

    /// The kind of change, for metrics and logs.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Service(_) => "apply_service",
            Self::Workload { .. } => "apply_workload",
            Self::DeleteService(_) => "delete_service",
            Self::Further(_) => "apply_object",
            Self::DeleteFurther(_) => "delete_object",
            Self::Configuration(_) => "create_configuration",
            Self::DeleteConfiguration(_) => "delete_configuration",
        }
    }
}

/// How often Secrets that variables refer to are read again: nobody may watch all Secrets of a cluster for them.
const SECRETS: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);
/// How soon is looked again for what is missing.
const RETRY: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);
/// Longest message of status, in bytes.
const MESSAGE_MAX: usize = 1024;
/// The tiers of a pair.
const PAIR: [Tier; 2] = [Tier::Publish, Tier::Dispatcher];
/// What a move is told as that makes changes: it does not wait yet.
const REPLACED: &str = "pods are replaced";
/// The phase in which only numbers of pods change.
const SETTLE: &str = "Settle";
/// The phase in which the first release starts.
const START: &str = "Start";

/// What a strategy has come to.
#[derive(Debug, Default)]
struct Move {
    /// What it does now.
    phase: String,
    /// What it waits for.
    message: String,
    /// Changes to make.
    changes: Vec<Change>,
    /// Whether everything is as desired.
    complete: bool,
    /// Whether somebody has to say that it goes on.
    paused: bool,
    /// Why the rollout fails here, although every pod is ready.
    failure: Option<String>,
    /// What the metric guard watches, or has watched.
    watch: Option<Watch>,
    /// When it goes on without anybody's doing.
    until: Option<Timestamp>,
    /// Whether it depends on counters that nobody has asked for.
    unasked: bool,
}

impl Move {
    fn change(phase: impl Into<String>, changes: Vec<Change>) -> Self {
        Self { phase: phase.into(), message: REPLACED.into(), changes, ..Self::default() }
    }

    fn wait(phase: impl Into<String>, message: String) -> Self {
        Self { phase: phase.into(), message, ..Self::default() }
    }

    fn complete() -> Self {
        Self { phase: "Complete".into(), complete: true, ..Self::default() }
    }

    fn pause(phase: impl Into<String>, message: String) -> Self {
        Self { paused: true, ..Self::wait(phase, message) }
    }
}

/// The strategy of an Environment: its own, or that of its type.
#[must_use]
pub fn strategy(spec: &EnvironmentSpec) -> Strategy {
    spec.rollout.strategy.unwrap_or(match spec.type_ {
        EnvironmentType::Production => Strategy::Rolling,
        EnvironmentType::Development | EnvironmentType::Stage => Strategy::AllAtOnce,
    })
}

/// Decides what is done to an Environment next.
#[must_use]
pub fn next(world: &World) -> Plan {
    let mut plan = workloads(world);
    objects::keep(world, &mut plan);
    let held = plan.status.lock.is_some();
    let has = world.environment.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
    plan.finalizer = match (world.is_deleted(), held, has) {
        (false, true, false) => Finalizer::Add,
        (true, false, true) => Finalizer::Remove,
        (false, _, true) | (false, false, false) | (true, true, _) | (true, false, false) => Finalizer::Leave,
    };
    status::deleting(world, &mut plan.status);
    let refers = world.environment.spec.variables.iter().any(|variable| variable.secret_key_ref.is_some());
    // No watch tells of these, either: neither what is read nor the copies that somebody made anew.
    let is_copy = |deviation: &Deviation| matches!(deviation.object, Object::ConfigMap(_) | Object::Secret(_));
    if (refers || world.deviations.iter().any(is_copy)) && world.desired != Desired::Nothing {
        let at = world.now.saturating_add(SECRETS).ok();
        plan.wake = plan.wake.into_iter().chain(at).min();
    }
    plan
}

/// Whether a plan rests on the cluster not keeping something any more: it deletes configuration that no template refers
/// to, or holds a rollout that failed, for the templates of what ran before are gone. Neither can be taken back.
#[must_use]
pub fn rests_on_absence(world: &World, plan: &Plan) -> bool {
    let status = &plan.status;
    let failed = status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Failed);
    let going_back = status.restore.as_ref().map(|restore| &restore.revisions);
    let before = status.deployed.as_ref().and_then(|deployed| deployed.revisions.as_ref());
    let lost = failed && going_back.into_iter().chain(before).any(|revisions| !world.keeps(revisions));
    lost || plan.changes.iter().any(|change| matches!(change, Change::DeleteConfiguration(_)))
}

/// Decides what is done to its workloads and their Services.
fn workloads(world: &World) -> Plan {
    let mut status = status::carried(world);
    if world.is_deleted() && status.lock.is_none() {
        return Plan::of(status, None);
    }
    if let Some(before) = restore::wanted(world, &status) {
        return restore::next(world, status, &before);
    }
    if let Some(plan) = doubt::given_up(world, &status) {
        return plan;
    }
    let desired = match &world.desired {
        Desired::Nothing => {
            status::ready(
                world,
                &mut status,
                false,
                reasons::NO_RELEASE,
                "nothing was deployed yet, and no base images run (none are known, or spec.runtime.bare is Disabled): run a pipeline that deploys here",
            );
            return Plan::of(status, None);
        }
        Desired::Unknown(why) => {
            return doubt::next(world, status, Doubt { reason: reasons::REGISTRY_UNREACHABLE, why });
        }
        Desired::Unconfigured(why) => {
            return doubt::next(world, status, Doubt { reason: reasons::CONFIGURATION_MISSING, why });
        }
        Desired::Release(desired) => desired,
    };
    if let Some(until) = bare::waits(world, desired) {
        let why = format!("nothing was deployed yet: the base images start at {until}, unless a release comes first");
        status::ready(world, &mut status, false, reasons::NO_RELEASE, &why);
        return Plan::of(status, Some(until));
    }
    let stopped = status
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state == RolloutState::Failed && rollout.revision == desired.revision());
    if let Some(rollout) = stopped {
        // Whoever changes the policy afterwards means this failure, too.
        let untried = !restore::was_tried(&status, desired.revision());
        if untried && let Ok(Some(revisions)) = restore::revisions(world, &status, desired.revision()) {
            let cause = rollout.message.clone();
            let release = desired.content.release();
            return restore::begin(world, status, desired.revision(), release, revisions, &cause);
        }
        let why = format!("{} stopped: {}", rollout.phase, rollout.message);
        status::ready(world, &mut status, false, reasons::ROLLOUT_FAILED, &why);
        return Plan::of(status, None);
    }
    let taken = match strategy(&world.environment.spec) {
        _ if status.target.is_none() && rolls_nothing(world, desired) => steady(world, desired),
        // There is nothing to spare: the quickest way is the best.
        Strategy::Rolling if bare::serves_nothing(world) => all_at_once::next(world, desired),
        Strategy::Rolling => rolling::next(world, desired, Way::Forward),
        Strategy::AllAtOnce => all_at_once::next(world, desired),
    };
    if taken.complete {
        return complete(world, status, desired);
    }
    progress(world, status, desired, taken, Way::Forward)
}

/// What status tells of the rollout to a revision, there or back.
fn rollout_to<'a>(world: &'a World, revision: &str) -> Option<&'a RolloutStatus> {
    let status = world.environment.status.as_ref()?;
    let back = status.restore.as_ref().is_some_and(|restore| restore.revisions.dispatcher == revision);
    status
        .rollout
        .as_ref()
        .filter(|rollout| rollout.revision == revision || (back && rollout.state == RolloutState::RollingBack))
}

/// Services, and configuration, that must be there before pods look for them.
fn missing(world: &World, desired: &DesiredRelease, pairs: i32) -> Vec<Change> {
    let mut all = configuration::missing(world, desired);
    all.extend(missing_services(world, desired, pairs));
    all
}

/// Whether every workload is on its desired revision already, so that only numbers may have to change.
fn rolls_nothing(world: &World, desired: &DesiredRelease) -> bool {
    Tier::ALL.iter().all(|tier| {
        world.is_rolled(*tier, &desired.revisions)
            && world.workload(*tier).is_some_and(|workload| workload.replicas > 0)
    })
}

/// Numbers only: pairs are added together, and taken away dispatcher first, once the others serve.
fn steady(world: &World, desired: &DesiredRelease) -> Move {
    let pairs = world.environment.spec.publish.replicas;
    let replicas = |tier| world.workload(tier).map_or(0, |workload| workload.replicas);
    let (publish, dispatcher) = (replicas(Tier::Publish), replicas(Tier::Dispatcher));
    let resize = |tier| Change::Workload { tier, replicas: pairs, partition: 0 };
    let mut changes = missing(world, desired, pairs.max(dispatcher));
    changes.extend(keeps_otherwise(world).then_some(Change::Workload {
        tier: Tier::Author,
        replicas: 1,
        partition: 0,
    }));
    changes.extend((publish < pairs).then(|| resize(Tier::Publish)));
    changes.extend((dispatcher < pairs).then(|| resize(Tier::Dispatcher)));
    if !changes.is_empty() {
        return Move::change(SETTLE, changes);
    }
    let quiet = if starts(world, desired) { START } else { SETTLE };
    if !world.is_ready(Tier::Author, 0, &desired.revisions) {
        return Move::wait(quiet, waits_for(world, desired, &[Tier::Author], 0..1));
    }
    if let Some(ordinal) = (0..pairs).rev().find(|ordinal| !world.pair_is_ready(*ordinal, &desired.revisions)) {
        // A rollout's last pair is reached when nothing but numbers is left to change.
        let phase = if dispatcher > pairs { rolling::phase(pairs, ordinal) } else { quiet.into() };
        return Move::wait(phase, waits_for(world, desired, &PAIR, 0..pairs));
    }
    if dispatcher > pairs {
        return Move::change(SETTLE, vec![resize(Tier::Dispatcher)]);
    }
    let leaving = |tier| world.pods.iter().any(|pod| pod.tier == tier && pod.ordinal >= pairs);
    if leaving(Tier::Dispatcher) {
        return Move::wait(SETTLE, "dispatchers that are not needed any more drain".into());
    }
    if publish > pairs {
        return Move::change(SETTLE, vec![resize(Tier::Publish)]);
    }
    if leaving(Tier::Publish) {
        return Move::wait(SETTLE, "pods that are not needed any more end".into());
    }
    Move::complete()
}

/// Whether what is desired is the first that ever runs here: a first release, or base images that have not been ready yet.
fn starts(world: &World, desired: &DesiredRelease) -> bool {
    let Some(status) = &world.environment.status else { return false };
    let rollout = status.rollout.as_ref().filter(|rollout| rollout.revision == desired.revision());
    let begun = rollout.is_some_and(|rollout| rollout.phase == START && rollout.state == RolloutState::Progressing);
    status.deployed.is_none() && (status.target.is_some() || begun)
}

/// Whether the author's workload does with its volume something else than the spec says now.
fn keeps_otherwise(world: &World) -> bool {
    let wanted = world.environment.spec.author.storage.as_ref().map(|storage| storage.retain);
    world.author.as_ref().zip(wanted).is_some_and(|(author, wanted)| author.retains != wanted)
}

/// What the pods of some tiers and ordinals still lack.
fn waits_for(world: &World, desired: &DesiredRelease, tiers: &[Tier], ordinals: std::ops::Range<i32>) -> String {
    let environment = world.name();
    let mut parts = vec![];
    for ordinal in ordinals {
        for tier in tiers {
            if world.is_ready(*tier, ordinal, &desired.revisions) {
                continue;
            }
            let pod = world.pods.iter().find(|pod| pod.tier == *tier && pod.ordinal == ordinal);
            let state = match pod {
                None => "is not there yet",
                Some(pod) if pod.terminating => "ends",
                Some(pod) if pod.revision != desired.revisions.of(*tier) => "is on the previous release",
                Some(pod) => {
                    parts.push(lacks(world, pod));
                    continue;
                }
            };
            parts.push(format!("{environment}-{}-{ordinal} {state}", tier.as_str()));
        }
    }
    truncate(&parts.join("; "), MESSAGE_MAX)
}

fn complete(world: &World, mut status: EnvironmentStatus, desired: &DesiredRelease) -> Plan {
    let pairs = world.environment.spec.publish.replicas;
    let now = Time(world.now);
    let released = matches!(desired.content, Content::Release(_));
    if let Some(target) = status.target.take_if(|_| released) {
        status.deployed = Some(target.reached(status.deployed.as_ref(), now.clone()));
    }
    if let Some(deployed) = status.deployed.as_mut().filter(|_| released) {
        deployed.revisions = Some(desired.revisions.clone());
    }
    if !restore::is_unread(&status) {
        status.restore = None;
    }
    let old = status.rollout.as_ref().filter(|old| old.revision == desired.revision());
    let watch = old.and_then(|old| old.watch.clone());
    let since = match old {
        Some(old) if old.state == RolloutState::Complete => old.since.clone(),
        Some(_) | None => now,
    };
    status.rollout = Some(RolloutStatus {
        state: RolloutState::Complete,
        phase: "Complete".into(),
        since,
        revision: desired.revision().into(),
        updated: pairs,
        total: pairs,
        message: String::new(),
        message_at: None,
        watch,
    });
    let (reason, told) = match &desired.content {
        Content::Bare(_) => (reasons::BARE, "every pod runs the bare base images: nothing was deployed yet".into()),
        Content::Release(deployed) => (reasons::READY, format!("every pod runs {}", deployed.release.digest())),
    };
    match &world.configurations.missing {
        // The pods go on with the variables that they have.
        Some(why) => status::ready(world, &mut status, false, reasons::CONFIGURATION_MISSING, why),
        None => status::ready(world, &mut status, true, reason, &told),
    }
    let mut changes = unneeded_services(world, desired);
    changes.extend(configuration::unneeded(world, desired));
    Plan { changes, ..Plan::of(status, None) }
}

#[cfg(test)]
mod tests;
