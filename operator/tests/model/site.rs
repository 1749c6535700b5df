//! Everything outside of the planner, as small as it can be: objects, Jobs, people, time, and an operator that reads,
//! plans, acts, and may die between any two of its writes.
//!
//! Effects have the meaning that `effects/execution.rs` gives them: locks by compare-and-set, targets only under the
//! lock, Jobs by name, status only over the version that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    environment::{EnvironmentStatus, Lock, RolloutState, RolloutStatus, Urls},
    execution::PipelineExecutionStatus,
    pipeline::PipelineStatus,
    restore::{Restore, Revisions},
    step::StepName,
};
use launchway_operator::plan::execution::{
    Plan,
    action::Action,
    ledger::remember,
    world::{JobFacts, World},
};

use serde::Serialize;

use super::facts::image;
use super::luck;
use super::promises::{Past, Promise};
pub use super::shape::{Kind, PipelineShape};

/// The function under test: [`launchway_operator::plan::execution::next`], or a mutant of it.
pub type Planner = fn(&World) -> Plan;

/// Something large that many states share. Compared by the hash of what it is as JSON, which is taken once.
#[derive(Clone)]
pub struct Frozen<T> {
    value: Arc<T>,
    print: u64,
}

impl<T> Frozen<T> {
    pub fn new(value: T) -> Self
    where
        T: Serialize,
    {
        let mut hasher = Written(DefaultHasher::new());
        serde_json::to_writer(&mut hasher, &value).unwrap();
        Self { value: Arc::new(value), print: hasher.0.finish() }
    }

    pub fn get(&self) -> &T {
        &self.value
    }
}

/// Hashes what is written.
struct Written(DefaultHasher);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> PartialEq for Frozen<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl<T> Eq for Frozen<T> {}

impl<T> Hash for Frozen<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// What people have asked of an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The value of the approval.
    pub approve: Option<String>,
    pub cancel: bool,
    pub reject: bool,
}

/// A round that the operator is in the middle of: what it decided from facts that may be old by now.
#[derive(Clone, Debug)]
pub struct Round {
    actions: Vec<Action>,
    /// Version of the execution that was read.
    version: (Option<u64>, Asked),
    plan: Plan,
}

impl Round {
    fn freeze(self) -> Frozen<Self> {
        let mut hasher = Written(DefaultHasher::new());
        serde_json::to_writer(&mut hasher, &self.plan.status).unwrap();
        let mut hasher = hasher.0;
        (&self.version, self.plan.again, format!("{:?}", self.actions)).hash(&mut hasher);
        Frozen { value: Arc::new(self), print: hasher.finish() }
    }
}

/// One object of kind `PipelineExecution`, gone ones included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Execution {
    pub name: &'static str,
    pub uid: &'static str,
    pub pipeline: usize,
    /// Seconds since the beginning, as the apiserver wrote it down.
    pub created: i64,
    pub exists: bool,
    pub asked: Asked,
    pub status: Option<Frozen<PipelineExecutionStatus>>,
    pub round: Option<Frozen<Round>>,
}

impl Execution {
    pub fn ended(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.get().completion_time.is_some())
    }

    /// The step that it is at.
    pub fn at(&self) -> Option<StepName> {
        self.status
            .as_ref()
            .filter(|status| status.get().completion_time.is_none())
            .and_then(|status| status.get().step)
    }

    fn version(&self) -> (Option<u64>, Asked) {
        (self.status.as_ref().map(|status| status.print), self.asked.clone())
    }
}

/// One Job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// UID of the execution that made it.
    pub owner: &'static str,
    /// None while it works; then whether it did what it was for.
    pub passed: Option<bool>,
}

/// The state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// Seconds since the beginning.
    pub now: i64,
    pub executions: Vec<Execution>,
    pub environments: BTreeMap<&'static str, Frozen<EnvironmentStatus>>,
    pub ledgers: Vec<Frozen<PipelineStatus>>,
    /// Whether each pipeline has been edited.
    pub edited: Vec<bool>,
    /// Versions of pipelines that are kept: index of the pipeline, and whether it is the edited one.
    pub kept: BTreeSet<(usize, bool)>,
    /// By execution's name and step: the name of a Job.
    pub jobs: BTreeMap<(&'static str, StepName), Job>,
    pub registry_away: bool,
    /// Whether the apiserver refuses Jobs.
    pub jobs_refused: bool,
    pub guard_missing: bool,
    pub past: Past,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The operator reads the facts about an execution and decides.
    Observe(usize),
    /// It performs the next action of that decision, or writes the status if none is left.
    Act(usize),
    /// It dies and starts again: what it had in mind is lost.
    Crash,
    /// A Job ends.
    JobEnds(&'static str, StepName, bool),
    /// Jobs whose execution is gone are collected.
    Collect,
    /// A rollout ends.
    RolloutEnds(&'static str, bool),
    /// A rollout fails, and what ran before comes back.
    GoesBack(&'static str),
    /// It came back.
    WentBack(&'static str),
    /// An Environment's controller takes away a lock whose holder is gone or has ended.
    FreeLock(&'static str),
    /// Somebody approves what the execution waits with.
    Approve(usize),
    /// Somebody set an approval of something else.
    ApproveOther(usize),
    Reject(usize),
    Cancel(usize),
    Delete(usize),
    /// The operator lets go what a pipeline's limits, none of any kind, do not keep.
    Tidy(usize),
    /// Somebody edits a pipeline, or takes the edit back.
    Edit(usize),
    /// Somebody creates an execution of this name and pipeline.
    Create(&'static str, usize),
    /// Time passes, in seconds; a clock may go back, too.
    Pass(i64),
    RegistryAway(bool),
    JobsRefused(bool),
    GuardMissing(bool),
    /// Something that goes well: the first that can, from this one on in the list of all that might.
    Lucky(usize),
}

/// UIDs in the order in which objects are created: there are no more.
const UIDS: [&str; 8] = ["uid-0", "uid-1", "uid-2", "uid-3", "uid-4", "uid-5", "uid-6", "uid-7"];

/// UIDs of executions that an Environment's status names.
fn in_status(status: &EnvironmentStatus) -> impl Iterator<Item = String> {
    let deployed = status.deployed.as_ref().map(|deployed| deployed.uid.clone());
    let target = status.target.as_ref().map(|target| target.uid.clone());
    let lock = status.lock.as_ref().map(|lock| lock.uid.clone());
    [deployed, target, lock].into_iter().flatten()
}

impl Site {
    pub fn new(created: &[(&'static str, usize)]) -> Self {
        let idle = |name: &str| {
            let urls = Urls {
                author: format!("http://{name}-author"),
                dispatcher: format!("http://{name}-dispatcher"),
                ..Default::default()
            };
            Frozen::new(EnvironmentStatus { urls: Some(urls), ..EnvironmentStatus::default() })
        };
        let mut site = Self {
            now: 0,
            executions: vec![],
            environments: ["stage", "stage2", "prod"].into_iter().map(|name| (name, idle(name))).collect(),
            ledgers: vec![Frozen::new(PipelineStatus::default()); Self::PIPELINES.len()],
            edited: vec![false; Self::PIPELINES.len()],
            kept: BTreeSet::new(),
            jobs: BTreeMap::new(),
            registry_away: false,
            jobs_refused: false,
            guard_missing: false,
            past: Past::default(),
        };
        for (name, pipeline) in created {
            site.create(name, *pipeline, 0);
        }
        site
    }

    fn create(&mut self, name: &'static str, pipeline: usize, created: i64) {
        if self.executions.iter().any(|execution| execution.exists && execution.name == name) {
            return;
        }
        let Some(uid) = UIDS.get(self.executions.len()) else { return };
        self.executions.push(Execution {
            name,
            uid,
            pipeline,
            created,
            exists: true,
            asked: Asked::default(),
            status: None,
            round: None,
        });
    }

    /// Deletes what is beyond the limits: nothing that has not ended, and nothing that an Environment tells of.
    fn tidy(&mut self, pipeline: usize) -> bool {
        let surplus = self.surplus(pipeline);
        let told: Vec<String> = self.environments.values().flat_map(|found| in_status(found.get())).collect();
        for gone in self.executions.iter_mut().filter(|one| surplus.iter().any(|uid| uid == one.uid)) {
            assert!(gone.exists && gone.ended(), "{} is deleted and has not ended", gone.name);
            assert!(!told.iter().any(|uid| uid == gone.uid), "{} is deleted and an Environment runs it", gone.name);
            gone.exists = false;
        }
        !surplus.is_empty()
    }

    pub fn now(&self) -> Timestamp {
        Self::at(self.now)
    }

    /// A moment, so many seconds after the beginning.
    pub fn at(seconds: i64) -> Timestamp {
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        start.checked_add(SignedDuration::from_secs(seconds)).unwrap()
    }

    /// Lets something happen; false when it cannot happen now.
    pub fn happen(&mut self, planner: Planner, event: &Event) -> bool {
        match *event {
            Event::Observe(at) => self.observe(planner, at),
            Event::Act(at) => self.act(planner, at),
            Event::Crash => {
                let busy = self.executions.iter().any(|execution| execution.round.is_some());
                for execution in &mut self.executions {
                    execution.round = None;
                }
                busy
            }
            Event::JobEnds(name, step, passed) => self.job_ends(name, step, passed),
            Event::Collect => {
                let before = self.jobs.len();
                let alive = |uid: &str| self.executions.iter().any(|one| one.exists && one.uid == uid);
                let keep: Vec<_> = self.jobs.iter().filter(|(_, job)| alive(job.owner)).map(|(key, _)| *key).collect();
                self.jobs.retain(|key, _| keep.contains(key));
                self.jobs.len() < before
            }
            Event::RolloutEnds(name, well) => self.rollout_ends(name, well),
            Event::GoesBack(name) => self.goes_back(name),
            Event::WentBack(name) => self.went_back(name),
            Event::FreeLock(name) => {
                let runs = self.environments[name].get().lock.as_ref().is_none_or(|lock| {
                    self.executions.iter().any(|one| one.exists && one.uid == lock.uid && !one.ended())
                });
                !runs && self.edit(name, |status| status.lock.take().is_some())
            }
            Event::Approve(at) => {
                let Some(execution) = self.executions.get_mut(at).filter(|one| one.exists) else { return false };
                let released = execution.status.as_ref().and_then(|status| status.get().release.clone());
                let (Some(StepName::ApprovalProduction), Some(release), None) =
                    (execution.at(), released, &execution.asked.approve)
                else {
                    return false;
                };
                execution.asked.approve = Some(release.digest().to_string());
                self.past.approved(execution.uid, &release.digest());
                true
            }
            Event::ApproveOther(at) => self.ask(at, |asked| {
                asked.approve.is_none() && {
                    asked.approve = Some(image('7').digest().to_string());
                    true
                }
            }),
            Event::Reject(at) => self.ask(at, |asked| !std::mem::replace(&mut asked.reject, true)),
            Event::Cancel(at) => self.ask(at, |asked| !std::mem::replace(&mut asked.cancel, true)),
            Event::Delete(at) => {
                let found = self.executions.get_mut(at).filter(|one| one.exists);
                found.map(|one| one.exists = false).is_some()
            }
            Event::Tidy(pipeline) => self.tidy(pipeline),
            Event::Edit(pipeline) => self.edited.get_mut(pipeline).map(|edited| *edited = !*edited).is_some(),
            Event::Create(name, pipeline) => {
                let before = self.executions.len();
                // One of a name that was there is a second younger than it. Another may be seen late and be as old as all.
                let again = self.executions.iter().any(|one| one.name == name);
                self.create(name, pipeline, i64::from(again));
                self.executions.len() > before
            }
            Event::Pass(seconds) => {
                self.now += seconds;
                true
            }
            Event::JobsRefused(refused) => std::mem::replace(&mut self.jobs_refused, refused) != refused,
            Event::RegistryAway(away) => std::mem::replace(&mut self.registry_away, away) != away,
            Event::Lucky(from) => {
                let events = luck::fortunate(self);
                (0..events.len()).any(|at| self.happen(planner, &events[(from + at) % events.len()]))
            }
            Event::GuardMissing(missing) => std::mem::replace(&mut self.guard_missing, missing) != missing,
        }
    }

    fn ask(&mut self, at: usize, change: impl FnOnce(&mut Asked) -> bool) -> bool {
        self.executions.get_mut(at).filter(|one| one.exists && !one.ended()).is_some_and(|one| change(&mut one.asked))
    }

    fn job_ends(&mut self, name: &'static str, step: StepName, passed: bool) -> bool {
        let Some(job) = self.jobs.get_mut(&(name, step)).filter(|job| job.passed.is_none()) else {
            return false;
        };
        job.passed = Some(passed);
        if passed && step == StepName::SmokeTest {
            let runs = self
                .executions
                .iter()
                .find(|one| one.uid == job.owner)
                .and_then(|one| Self::PIPELINES[one.pipeline].stage);
            let deployed = runs.and_then(|stage| self.environments[stage].get().deployed.clone());
            if let Some(deployed) = deployed {
                self.past.tested(job.owner, &deployed.release.digest());
            }
        }
        true
    }

    fn rollout_ends(&mut self, name: &'static str, well: bool) -> bool {
        let now = Time(self.now());
        let old = self.environments[name].get().clone();
        let changed = self.edit(name, |status| {
            let over = [RolloutState::Failed, RolloutState::RollingBack, RolloutState::RolledBack];
            if status.rollout.as_ref().is_some_and(|rollout| over.contains(&rollout.state)) {
                return false;
            }
            if !well {
                status.rollout = status.target.as_ref().map(|_| failed(&now));
                return status.target.is_some();
            }
            let Some(target) = status.target.take() else { return false };
            status.deployed = Some(target.reached(status.deployed.as_ref(), now));
            true
        });
        let asked = old.target.and_then(|target| self.executions.iter().find(|one| one.uid == target.uid));
        let runs = self.environments[name].get().deployed.clone();
        if let (true, Some(asked), Some(runs)) = (changed && well, asked, runs) {
            self.past.deployed(&Self::PIPELINES[asked.pipeline], old.deployed.as_ref(), &runs);
        }
        changed
    }

    fn goes_back(&mut self, name: &'static str) -> bool {
        let now = Time(self.now());
        self.edit(name, |status| {
            let (Some(target), None) = (&status.target, &status.rollout) else { return false };
            status.restore = Some(Restore {
                execution: Some(target.execution.clone()),
                uid: Some(target.uid.clone()),
                release: Some(target.release.clone()),
                failed: "r".into(),
                revisions: Revisions { aem: "before".into(), dispatcher: "before".into() },
                cause: "publish-0: failed".into(),
                since: now.clone(),
            });
            status.rollout = Some(RolloutStatus { state: RolloutState::RollingBack, ..failed(&now) });
            true
        })
    }

    fn went_back(&mut self, name: &'static str) -> bool {
        let mut uid = None;
        let changed = self.edit(name, |status| {
            let Some(rollout) = status.rollout.as_mut().filter(|it| it.state == RolloutState::RollingBack) else {
                return false;
            };
            rollout.state = RolloutState::RolledBack;
            uid = status.target.take().map(|target| target.uid);
            true
        });
        if let Some(uid) = uid {
            self.past.went_back(uid);
        }
        changed
    }

    fn edit(&mut self, name: &'static str, change: impl FnOnce(&mut EnvironmentStatus) -> bool) -> bool {
        let mut status = self.environments[name].get().clone();
        let changed = change(&mut status);
        if changed {
            self.environments.insert(name, Frozen::new(status));
        }
        changed
    }

    /// Reads and decides. False when there is nothing to decide, so that nothing has to be written.
    fn observe(&mut self, planner: Planner, at: usize) -> bool {
        let Some(execution) = self.executions.get(at).filter(|one| one.exists && one.round.is_none()) else {
            return false;
        };
        // Rounds of one name never overlap: the controller's key is namespace and name.
        let busy = |one: &Execution| one.name == execution.name && one.round.is_some();
        if self.executions.iter().any(busy) {
            return false;
        }
        let world = self.world(planner, at);
        self.decide(planner, at, &world)
    }

    fn decide(&mut self, planner: Planner, at: usize, world: &World) -> bool {
        let plan = planner(world);
        self.past.planned(planner, world, &plan);
        let rests = plan.actions.is_empty() && world.execution.status.as_ref() == Some(&plan.status);
        if rests {
            self.past.rests(world, &plan);
            return false;
        }
        let round = Round { actions: plan.actions.clone(), version: self.executions[at].version(), plan };
        self.executions[at].round = Some(round.freeze());
        true
    }

    /// Performs one write of a round that was decided earlier.
    fn act(&mut self, planner: Planner, at: usize) -> bool {
        let Some(mut round) =
            self.executions.get(at).and_then(|one| one.round.as_ref()).map(|round| round.get().clone())
        else {
            return false;
        };
        if round.plan.actions.is_empty() {
            self.executions[at].round = None;
            self.write(at, &round);
            return true;
        }
        let action = round.actions.remove(0);
        if let (Action::CreateJob { step, .. }, true) = (&action, self.jobs_refused) {
            return self.refused(planner, at, *step);
        }
        self.perform(at, action);
        // When the last action is done the facts are read again: what the round decided on status is not written.
        self.executions[at].round = (!round.actions.is_empty()).then(|| round.freeze());
        true
    }

    /// The round decides again with what the apiserver said.
    fn refused(&mut self, planner: Planner, at: usize, step: StepName) -> bool {
        self.executions[at].round = None;
        let mut world = self.world(planner, at);
        // It may be another step by now, or the Job of before.
        if world.jobs.get(&step) != Some(&JobFacts::Absent) {
            return true;
        }
        world.jobs.insert(step, JobFacts::Refused { why: "exceeded quota".into() });
        self.decide(planner, at, &world);
        true
    }

    fn write(&mut self, at: usize, round: &Round) {
        let execution = &mut self.executions[at];
        if !execution.exists || execution.version() != round.version {
            return;
        }
        let old = execution.status.replace(Frozen::new(round.plan.status.clone()));
        let execution = self.executions[at].clone();
        self.past.wrote(
            &execution,
            old.as_ref().map(Frozen::get),
            &round.plan.status,
            &self.ledgers[execution.pipeline],
        );
        self.past.exclusive(&self.executions);
    }

    fn perform(&mut self, at: usize, action: Action) {
        let Execution { name, uid, pipeline, .. } = self.executions[at];
        let place = |wanted: &str| self.environments.keys().copied().find(|name| *name == wanted).unwrap();
        let now = self.now();
        match action {
            Action::KeepRevision { revision, .. } => {
                self.kept.insert((pipeline, revision.generation == 2));
            }
            Action::Lock { environment } => {
                self.edit(place(&environment), |status| {
                    let free = status.lock.is_none();
                    if free {
                        status.lock = Some(Lock { execution: name.into(), uid: uid.into(), since: Time(now) });
                    }
                    free
                });
            }
            Action::Unlock { environment } => {
                self.edit(place(&environment), |status| {
                    let own = status.lock.as_ref().is_some_and(|lock| lock.uid == uid);
                    if own {
                        status.lock = None;
                    }
                    own
                });
            }
            Action::SetTarget { environment, target } => {
                let place = place(&environment);
                let digest = target.release.digest();
                let changed = self.edit(place, |status| {
                    let held = status.lock.as_ref().is_some_and(|lock| lock.uid == target.uid);
                    let change = held && status.target.as_ref() != Some(target.as_ref());
                    if change {
                        status.target = Some(*target);
                        status.rollout = None;
                        status.restore = None;
                    }
                    change
                });
                if changed {
                    // What the ledger says is the planner's own word: what ended is counted here.
                    let before = self.executions.iter().any(|one| one.name == name && one.uid != uid && one.ended());
                    self.past.targeted(uid, &Self::PIPELINES[pipeline], place, &digest, before);
                }
            }
            // No pipeline of the model pauses.
            Action::Resume { .. } | Action::Stop { .. } => {}
            Action::CreateJob { step, .. } => {
                let key = (name, step);
                if !self.jobs.contains_key(&key) {
                    self.past.job_made(uid, step);
                    self.jobs.insert(key, Job { owner: uid, passed: None });
                }
            }
            Action::DeleteJob { name: _, uid: job } => {
                self.jobs.retain(|(_, step), found| format!("{}-{}", found.owner, step.dashed()) != job);
            }
            Action::Remember { entry, tests, .. } => {
                let mut known = self.ledgers[pipeline].get().clone();
                if remember(&mut known, &entry, &tests) {
                    self.ledgers[pipeline] = Frozen::new(known);
                }
            }
        }
    }

    /// Whether a promise was broken on the way here.
    pub fn broken(&self, promise: Promise) -> bool {
        self.past.broken.contains(&promise)
    }
}

fn failed(since: &Time) -> RolloutStatus {
    serde_json::from_value(serde_json::json!({
        "state": "Failed", "phase": "AllAtOnce", "since": since, "revision": "r", "updated": 0, "total": 1,
        "message": "publish-0: failed",
    }))
    .unwrap()
}
