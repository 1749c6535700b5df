//! Everything outside of the planner, as small as it can be: objects, Jobs, people, time, and what may happen to them.
//! `rounds.rs` has the operator, which may die between any two of its writes, `environments.rs` the rollouts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use launchway_crds::{
    environment::EnvironmentStatus, execution::PipelineExecutionStatus, pipeline::PipelineStatus, step::StepName,
};
use launchway_operator::plan::execution::{Plan, world::World};

use super::environments::{idle, in_status};
use super::facts::image;
use super::frozen::Frozen;
use super::luck;
use super::promises::{Past, Promise};
use super::rounds::Round;
pub use super::shape::{Kind, PipelineShape};

/// The function under test: [`launchway_operator::plan::execution::next`], or a mutant of it.
pub type Planner = fn(&World) -> Plan;

/// What people have asked of an execution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The value of the approval.
    pub approve: Option<String>,
    pub cancel: bool,
    pub reject: bool,
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

    /// What a write of its status is refused without.
    pub fn version(&self) -> (Option<u64>, Asked) {
        (self.status.as_ref().map(Frozen::print), self.asked.clone())
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

impl Site {
    pub fn new(created: &[(&'static str, usize)]) -> Self {
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
            Event::FreeLock(name) => self.free_lock(name),
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

    /// Whether a promise was broken on the way here.
    pub fn broken(&self, promise: Promise) -> bool {
        self.past.broken.contains(&promise)
    }
}
