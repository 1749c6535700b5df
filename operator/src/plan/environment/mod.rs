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
pub mod objects;
mod rolling;
mod services;
mod status;
pub mod world;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{reasons, truncate},
    environment::{EnvironmentSpec, EnvironmentStatus, EnvironmentType, RolloutState, RolloutStatus, Strategy, Tier},
};

pub use self::services::{ServiceName, pair_service};
use self::{
    objects::Further,
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
}

impl Change {
    /// Whether two changes, one planned right after the other, may be made at the same time: nothing that pods run is
    /// touched, and nothing is taken away.
    #[must_use]
    pub const fn goes_with(&self, next: &Self) -> bool {
        const fn only_adds(change: &Change) -> bool {
            match change {
                Change::Service(_) | Change::Further(_) => true,
                Change::Workload { .. } | Change::DeleteService(_) | Change::DeleteFurther(_) => false,
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
        }
    }
}

/// How long a wait is told of in the same words while something is wrong with a pod.
const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(20);
/// The same while pods only start: how far each is changes every few seconds.
const START_PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);
/// How often pods that a rollout waits for are asked what they lack.
const LOOK: jiff::SignedDuration = jiff::SignedDuration::from_secs(20);
/// The tiers of a pair.
const PAIR: [Tier; 2] = [Tier::Publish, Tier::Dispatcher];
/// The phase in which only numbers of pods change.
const SETTLE: &str = "Settle";
/// The phase in which the first release starts.
const START: &str = "Start";

/// What a strategy has come to.
#[derive(Debug)]
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
}

impl Move {
    fn change(phase: impl Into<String>, changes: Vec<Change>) -> Self {
        Self { phase: phase.into(), message: "pods are replaced".into(), changes, complete: false, paused: false }
    }

    fn wait(phase: impl Into<String>, message: String) -> Self {
        Self { phase: phase.into(), message, changes: vec![], complete: false, paused: false }
    }

    fn complete() -> Self {
        Self { phase: "Complete".into(), message: String::new(), changes: vec![], complete: true, paused: false }
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
    plan
}

/// Decides what is done to its workloads and their Services.
fn workloads(world: &World) -> Plan {
    let mut status = status::carried(world);
    let desired = match &world.desired {
        Desired::Nothing => {
            status::ready(
                world,
                &mut status,
                false,
                reasons::NO_RELEASE,
                "nothing was deployed yet, and no base images run (none are known, or spec.runtime.bare is Disabled): run a pipeline that deploys here",
            );
            return Plan { changes: vec![], status, wake: None };
        }
        Desired::Unknown(why) => {
            status::ready(world, &mut status, false, reasons::REGISTRY_UNREACHABLE, why);
            let wake = world.now.saturating_add(jiff::SignedDuration::from_secs(30)).ok();
            return Plan { changes: vec![], status, wake };
        }
        Desired::Release(desired) => desired,
    };
    if let Some(until) = bare::waits(world, desired) {
        let why = format!("nothing was deployed yet: the base images start at {until}, unless a release comes first");
        status::ready(world, &mut status, false, reasons::NO_RELEASE, &why);
        return Plan { changes: vec![], status, wake: Some(until) };
    }
    let stopped = status
        .rollout
        .as_ref()
        .filter(|rollout| rollout.state == RolloutState::Failed && rollout.revision == desired.revision());
    if let Some(rollout) = stopped {
        let why = format!("{} stopped: {}", rollout.phase, rollout.message);
        status::ready(world, &mut status, false, reasons::ROLLOUT_FAILED, &why);
        return Plan { changes: vec![], status, wake: None };
    }
    let taken = match strategy(&world.environment.spec) {
        _ if status.target.is_none() && rolls_nothing(world, desired) => steady(world, desired),
        // There is nothing to spare: the quickest way is the best.
        Strategy::Rolling if bare::serves_nothing(world) => all_at_once::next(world, desired),
        Strategy::Rolling => rolling::next(world, desired),
        Strategy::AllAtOnce => all_at_once::next(world, desired),
    };
    if taken.complete {
        return complete(world, status, desired);
    }
    progress(world, status, desired, taken)
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
    let mut changes = missing_services(world, desired, pairs.max(dispatcher));
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

/// What the pods of some tiers and ordinals still lack.
fn waits_for(world: &World, desired: &DesiredRelease, tiers: &[Tier], ordinals: std::ops::Range<i32>) -> String {
    let environment = world.environment.metadata.name.as_deref().unwrap_or_default();
    let mut parts = vec![];
    for ordinal in ordinals {
        for tier in tiers {
            if world.is_ready(*tier, ordinal, &desired.revisions) {
                continue;
            }
            let pod = world.pods.iter().find(|pod| pod.tier == *tier && pod.ordinal == ordinal);
            let state = match pod {
                None => "is not there yet".to_string(),
                Some(pod) if pod.terminating => "ends".into(),
                Some(pod) if pod.revision != desired.revisions.of(*tier) => "is on the previous release".into(),
                Some(pod) => pod.problem.clone().unwrap_or_else(|| "starts".into()),
            };
            parts.push(format!("{environment}-{}-{ordinal} {state}", tier.as_str()));
        }
    }
    truncate(&parts.join("; "), 1024)
}

fn complete(world: &World, mut status: EnvironmentStatus, desired: &DesiredRelease) -> Plan {
    let pairs = world.environment.spec.publish.replicas;
    let now = Time(world.now);
    let released = matches!(desired.content, Content::Release(_));
    if let Some(target) = status.target.take_if(|_| released) {
        status.deployed = Some(target.reached(status.deployed.as_ref(), now.clone()));
    }
    let since = match &status.rollout {
        Some(old) if old.state == RolloutState::Complete && old.revision == desired.revision() => old.since.clone(),
        _ => now,
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
    });
    let (reason, told) = match &desired.content {
        Content::Bare(_) => (reasons::BARE, "every pod runs the bare base images: nothing was deployed yet".into()),
        Content::Release(deployed) => (reasons::READY, format!("every pod runs {}", deployed.release.digest())),
    };
    status::ready(world, &mut status, true, reason, &told);
    Plan { changes: unneeded_services(world, desired), status, wake: None }
}

fn progress(world: &World, mut status: EnvironmentStatus, desired: &DesiredRelease, taken: Move) -> Plan {
    let spec = &world.environment.spec;
    let pairs = spec.publish.replicas;
    let old = status.rollout.take().filter(|old| old.revision == desired.revision());
    let going = if taken.paused { RolloutState::Paused } else { RolloutState::Progressing };
    let since = match &old {
        Some(old) if old.phase == taken.phase && old.state == going => old.since.clone(),
        _ => Time(world.now),
    };
    let deadline = since.0.saturating_add(spec.rollout.ready_timeout.signed()).unwrap_or(since.0);
    // Half-way a rollout stops waiting for a pair that is away; at the deadline it fails.
    let half = since.0.saturating_add(spec.rollout.ready_timeout.signed() / 2).unwrap_or(since.0);
    let waiting = taken.changes.is_empty();
    // Nobody asked for a release: pods died and come back, or pairs are added. That may take as long as it takes.
    let resting = status.target.is_none() && rolls_nothing(world, desired) && taken.phase != START;
    let hopeless = world
        .pods
        .iter()
        .find(|pod| pod.hopeless && pod.revision == desired.revisions.of(pod.tier) && !pod.terminating);
    let failure = match hopeless {
        // A pod that dies while a person is waited for comes back, or that person stops the rollout.
        _ if resting || taken.paused => None,
        Some(pod) if waiting => {
            let problem = pod.problem.as_deref().unwrap_or("a package failed to install");
            Some(with_log(&format!("{}: {problem}", named(world, pod)), world, Some(pod)))
        }
        _ if waiting && world.now >= deadline => {
            let told = format!("not ready within {}: {}", spec.rollout.ready_timeout, taken.message);
            let speaks =
                |pod: &&world::Pod| pod.revision == desired.revisions.of(pod.tier) && !pod.ready && pod.log.is_some();
            Some(with_log(&told, world, world.pods.iter().find(speaks)))
        }
        _ => None,
    };
    let resized = taken.changes.iter().find_map(|change| match change {
        Change::Workload { tier: Tier::Publish, replicas, .. } => Some(*replicas),
        _ => None,
    });
    // So it will be when this status is written: told now, it is not written once more.
    if let Some(replicas) = resized {
        status::paired(world, &mut status, replicas);
    }
    status.ready_replicas = status::serving(world, &taken.changes, &desired.revisions);
    let updated = (0..pairs).filter(|ordinal| world.pair_is_ready(*ordinal, &desired.revisions)).count();
    let state = if failure.is_some() { RolloutState::Failed } else { going };
    let updated = i32::try_from(updated).unwrap_or(pairs);
    let (message, at) = match failure {
        Some(failure) => (failure, Time(world.now)),
        None => steadied(world, old.as_ref(), &taken, updated),
    };
    // Words that are held back are told when their time has come.
    let held_back = (message != taken.message).then(|| at.0.saturating_add(patience(world)).ok()).flatten();
    status.rollout = Some(RolloutStatus {
        state,
        phase: taken.phase.clone(),
        since,
        revision: desired.revision().into(),
        updated,
        total: pairs,
        message: truncate(&message, 1024),
        message_at: Some(at),
    });
    let reason = match state {
        RolloutState::Failed => reasons::ROLLOUT_FAILED,
        RolloutState::Paused => reasons::PAUSED,
        RolloutState::Progressing | RolloutState::Complete if resting => reasons::DEGRADED,
        RolloutState::Progressing | RolloutState::Complete => reasons::ROLLING_OUT,
    };
    status::ready(world, &mut status, false, reason, &format!("{}: {message}", taken.phase));
    let wake = if world.now < half { half } else { deadline };
    // A package that failed changes nothing that is watched: pods that are waited for are asked.
    let look = world.now.saturating_add(LOOK).unwrap_or(wake);
    let soonest = [wake, look].into_iter().chain(held_back).min();
    let wake = (state == RolloutState::Progressing && !resting).then_some(soonest).flatten();
    Plan { changes: taken.changes, status, wake }
}

fn named(world: &World, pod: &world::Pod) -> String {
    let environment = world.environment.metadata.name.as_deref().unwrap_or_default();
    format!("{environment}-{}-{}", pod.tier.as_str(), pod.ordinal)
}

/// A cause, and the end of a pod's log behind it: the cause is what is cut when both are too long.
fn with_log(cause: &str, world: &World, pod: Option<&world::Pod>) -> String {
    let Some((pod, log)) = pod.and_then(|pod| Some((pod, pod.log.as_ref()?))) else {
        return truncate(cause, 1024);
    };
    let tail = format!("; the log of {} ends: {log}", named(world, pod));
    let room = 1024_usize.saturating_sub(tail.len()).max(256);
    truncate(&format!("{}{tail}", truncate(cause, room)), 1024)
}

/// How long words are kept: what is wrong is told soon.
fn patience(world: &World) -> jiff::SignedDuration {
    let troubled = world.pods.iter().any(|pod| pod.troubled && !pod.terminating);
    if troubled { PATIENCE } else { START_PATIENCE }
}

/// What a rollout waits for and since when that is told: what pods say changes every few seconds while they start, and
/// would be written as often.
fn steadied(world: &World, old: Option<&RolloutStatus>, taken: &Move, updated: i32) -> (String, Time) {
    let told = old.filter(|old| old.phase == taken.phase && old.updated == updated).and_then(|old| {
        let at = old.message_at.clone()?;
        let young = world.now.duration_since(at.0) < patience(world);
        (young || old.message == taken.message).then(|| (old.message.clone(), at))
    });
    told.unwrap_or_else(|| (taken.message.clone(), Time(world.now)))
}

#[cfg(test)]
mod tests;
