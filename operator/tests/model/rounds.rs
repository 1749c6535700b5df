//! The operator of the small world: it reads, decides, and performs its writes one after the other.
//!
//! Effects have the meaning that `effects/execution.rs` gives them: locks by compare-and-set, targets only under the
//! lock, Jobs by name, status only over the version that was read.

use std::hash::{Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{environment::Lock, step::StepName};
use launchway_operator::plan::execution::{
    Plan,
    action::Action,
    ledger::remember,
    world::{JobFacts, World},
};

use super::frozen::{Frozen, hashed};
use super::site::{Asked, Execution, Job, Planner, Site};

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
        let mut hasher = hashed(&self.plan.status);
        (&self.version, self.plan.again, format!("{:?}", self.actions)).hash(&mut hasher);
        Frozen::printed(self, hasher.finish())
    }
}

impl Site {
    /// Reads and decides. False when there is nothing to decide, so that nothing has to be written.
    pub fn observe(&mut self, planner: Planner, at: usize) -> bool {
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
    pub fn act(&mut self, planner: Planner, at: usize) -> bool {
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
}
