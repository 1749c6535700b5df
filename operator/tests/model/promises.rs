//! What must hold whatever happens: invariants I1 to I9, and what the documents promise of memory and Jobs.
//!
//! I3 (pods are only read) needs no state: no action of the planner names a pod, `structure.rs` forbids the rest and finds a
//! seeded write, and the role in the chart lets nobody write one (`e2e/tests/chart.rs`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use launchway_crds::{
    conditions::reasons,
    deploy::Scope,
    digest::Sha256Digest,
    environment::{Deployed, RolloutState},
    execution::{PipelineExecutionStatus, Step},
    pipeline::{PipelineStatus, PipelineType},
    step::{StepName, StepState},
};
use launchway_operator::plan::execution::{
    Plan,
    action::Action,
    world::{JobFacts, World},
};

use super::facts::approval_hours;
use super::frozen::Frozen;
use super::site::{Execution, Kind, PipelineShape, Planner, Site};

/// A promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// I1: production gets a release only after stage's tests passed with it and a person approved it.
    Proof,
    /// I2: of the executions that go to one Environment, one is past `validate`.
    Exclusive,
    /// I4: an execution makes one release, of one artifact, by one version of its pipeline.
    OneRelease,
    /// I5: steps go forward, in order; what ended stays ended.
    Forward,
    /// I6: the same facts give the same plan.
    SamePlan,
    /// I7: a deadline is the recorded beginning plus the time that the pipeline gives.
    Deadline,
    /// I8: who waits is woken: by an event that will come, or by the clock.
    Woken,
    /// I9: what was written is not written again while nothing happens.
    Settled,
    /// Each Job of an execution is made once.
    JobOnce,
    /// An execution that is created again after it ended deploys nothing, nor does one whose release went back.
    NotAgain,
    /// The ledger tells of an execution what its status tells.
    Ledger,
    /// Where a web-tier pipeline is, it replaces the dispatcher image alone, and nobody else does.
    Parts,
}

impl Promise {
    /// Its name, as reports have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proof => "Proof",
            Self::Exclusive => "Exclusive",
            Self::OneRelease => "OneRelease",
            Self::Forward => "Forward",
            Self::SamePlan => "SamePlan",
            Self::Deadline => "Deadline",
            Self::Woken => "Woken",
            Self::Settled => "Settled",
            Self::JobOnce => "JobOnce",
            Self::NotAgain => "NotAgain",
            Self::Ledger => "Ledger",
            Self::Parts => "Parts",
        }
    }
}

/// What happened so far, as far as promises are about it, and which of them were broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Past {
    approved: BTreeSet<(&'static str, Sha256Digest)>,
    tested: BTreeSet<(&'static str, Sha256Digest)>,
    jobs: BTreeMap<(&'static str, StepName), u8>,
    /// Executions whose release failed and was taken back.
    went_back: BTreeSet<String>,
    pub broken: BTreeSet<Promise>,
}

impl Past {
    fn hold(&mut self, promise: Promise, holds: bool) {
        if !holds {
            self.broken.insert(promise);
        }
    }

    /// A person approved a release.
    pub fn approved(&mut self, uid: &'static str, release: &Sha256Digest) {
        self.approved.insert((uid, *release));
    }

    /// Tests of an execution passed on a stage that ran this release.
    pub fn tested(&mut self, uid: &'static str, release: &Sha256Digest) {
        self.tested.insert((uid, *release));
    }

    /// The release of an execution failed, and what ran before came back.
    pub fn went_back(&mut self, uid: String) {
        self.went_back.insert(uid);
    }

    /// A Job was made.
    pub fn job_made(&mut self, uid: &'static str, step: StepName) {
        let count = self.jobs.entry((uid, step)).or_default();
        *count = count.saturating_add(1).min(2);
        let once = *count == 1;
        self.hold(Promise::JobOnce, once);
    }

    /// An Environment got a target. `again`: an older execution of this name ended before.
    pub fn targeted(
        &mut self,
        uid: &'static str,
        pipeline: &PipelineShape,
        place: &str,
        release: &Sha256Digest,
        again: bool,
    ) {
        let key = (uid, *release);
        // Production-only pipelines take what another execution tested.
        let tested = match pipeline.kind {
            Kind::ProductionOnly { .. } => self.tested.iter().any(|(_, tested)| tested == release),
            Kind::FullStack | Kind::StageOnly => self.tested.contains(&key),
            // A dispatcher alone has no stage before it: a person's word is the proof.
            Kind::WebTier => true,
        };
        let proved = !place.starts_with("prod") || (tested && self.approved.contains(&key));
        self.hold(Promise::Proof, proved);
        self.hold(Promise::NotAgain, !again && !self.went_back.contains(uid));
    }

    /// A plan was made. Once its status is written and nothing happens, the planner has nothing to add.
    pub fn planned(&mut self, planner: Planner, world: &World, plan: &Plan) {
        self.hold(Promise::SamePlan, planner(world) == *plan);
        self.hold(Promise::Parts, plan.actions.iter().all(|action| is_in_scope(world, action)));
        if plan.actions.is_empty() && !plan.again {
            let mut written = world.clone();
            written.execution.status = Some(plan.status.clone());
            let again = planner(&written);
            self.hold(Promise::Settled, again.actions.is_empty() && again.status == plan.status);
        }
    }

    /// A rollout ended well: what ran, what runs, and who asked for it.
    pub fn deployed(&mut self, pipeline: &PipelineShape, before: Option<&Deployed>, now: &Deployed) {
        let kept = pipeline.kind != Kind::WebTier || before.is_some_and(|before| before.images.aem == now.images.aem);
        let left = now.web_tier.is_none()
            || pipeline.kind == Kind::WebTier
            || before.is_some_and(|before| before.images.dispatcher == now.images.dispatcher);
        self.hold(Promise::Parts, kept && left);
    }

    /// An execution rests: nothing is to be done and nothing to be written.
    pub fn rests(&mut self, world: &World, plan: &Plan) {
        self.hold(
            Promise::Woken,
            plan.status.completion_time.is_some() || plan.wake.is_some() || event_comes(world, plan),
        );
    }

    /// A status was written.
    pub fn wrote(
        &mut self,
        execution: &Execution,
        old: Option<&PipelineExecutionStatus>,
        new: &PipelineExecutionStatus,
        pipeline: &Frozen<PipelineStatus>,
    ) {
        let fresh = PipelineExecutionStatus::default();
        let old = old.unwrap_or(&fresh);
        self.hold(Promise::Forward, forward(old, new));
        let kept = |old: Option<&launchway_crds::digest::ImageRef>, new: Option<&launchway_crds::digest::ImageRef>| {
            old.is_none() || old == new
        };
        let one = kept(old.release.as_ref(), new.release.as_ref())
            && kept(old.artifact.as_ref().map(|it| &it.reference), new.artifact.as_ref().map(|it| &it.reference))
            && new.approvals.starts_with(&old.approvals)
            && (old.pipeline_revision.is_none() || old.pipeline_revision == new.pipeline_revision);
        self.hold(Promise::OneRelease, one);
        self.hold(Promise::Deadline, new.steps.iter().all(|step| deadline_holds(execution, old, new, step)));
        if new.completion_time.is_some()
            && ![reasons::ALREADY_EXECUTED, reasons::NAME_REUSED].contains(&new.state.as_str())
        {
            let entry = pipeline.get().ledger.iter().find(|entry| entry.uid == execution.uid);
            self.hold(
                Promise::Ledger,
                entry.is_some_and(|entry| entry.result == new.state && entry.release == new.release),
            );
        }
    }

    /// Who is past `validate` has its Environments alone.
    pub fn exclusive(&mut self, executions: &[Execution]) {
        let mut taken = BTreeSet::new();
        for execution in
            executions.iter().filter(|one| one.exists && one.at().is_some_and(|at| at > StepName::Validate))
        {
            let shape = &Site::PIPELINES[execution.pipeline];
            let alone = [shape.stage, shape.production].into_iter().flatten().all(|place| taken.insert(place));
            self.hold(Promise::Exclusive, alone);
        }
    }
}

/// Whether a target brings what its pipeline may bring to the Environment, and no more.
fn is_in_scope(world: &World, action: &Action) -> bool {
    let Action::SetTarget { environment, target } = action else { return true };
    let type_ = world.pipeline.as_ref().map(|pipeline| pipeline.spec.type_);
    target.scope
        == if type_ == Some(PipelineType::WebTier) {
            Scope::Dispatcher
        } else if world.web_tiers.as_ref().is_some_and(|owners| owners.contains_key(environment)) {
            Scope::Aem
        } else {
            Scope::Release
        }
}

fn forward(old: &PipelineExecutionStatus, new: &PipelineExecutionStatus) -> bool {
    let kept = |step: &Step| {
        let found = new.steps.iter().find(|other| other.name == step.name);
        found.is_some_and(|found| {
            let began = step.started_at.is_none() || step.started_at == found.started_at;
            began && (!step.state.is_terminal() || step == found)
        })
    };
    let in_order = new.steps.windows(2).all(|pair| pair[1].state == StepState::NotStarted || pair[0].state.lets_pass());
    let over = old.completion_time.is_none() || (old.completion_time == new.completion_time && old.state == new.state);
    old.steps.iter().all(kept) && in_order && over
}

/// The approval's deadline follows from when the step began and from the pipeline as it was when the execution began,
/// however often and late it is looked at and whatever was edited meanwhile.
fn deadline_holds(
    execution: &Execution,
    old: &PipelineExecutionStatus,
    new: &PipelineExecutionStatus,
    step: &Step,
) -> bool {
    let Some(deadline) = &step.deadline else { return true };
    if step.name != StepName::ApprovalProduction {
        return true;
    }
    let before = old.steps.iter().find(|other| other.name == step.name).and_then(|other| other.deadline.as_ref());
    let (Some(started), Some(runs)) = (&step.started_at, &new.pipeline_revision) else { return false };
    let hours = approval_hours(execution.pipeline, runs);
    before.is_none_or(|before| before == deadline)
        && started.0.checked_add(SignedDuration::from_hours(hours)).is_ok_and(|until| until == deadline.0)
}

/// Whether something outside will change that the execution's controller watches: an Environment, a Job, or another execution.
fn event_comes(world: &World, plan: &Plan) -> bool {
    let uid = world.execution.metadata.uid.as_deref().unwrap_or_default();
    let Some(step) = plan.status.steps.iter().find(|step| !step.state.is_terminal()) else { return false };
    let environments = [&world.stage, &world.production];
    let mut statuses = environments.iter().filter_map(|found| found.as_ref()?.status.as_ref());
    if step.reason.as_deref() == Some(reasons::BUSY) {
        return world.siblings.older.is_some();
    }
    if step.reason.as_deref() == Some(reasons::ENVIRONMENT_LOCKED) {
        return world.ahead.is_some()
            || statuses.any(|status| status.lock.as_ref().is_some_and(|lock| lock.uid != uid));
    }
    match step.name {
        StepName::DeployStage | StepName::DeployProduction => statuses.any(|status| {
            let rolls = status.rollout.as_ref().is_none_or(|rollout| rollout.state != RolloutState::Failed);
            rolls && status.target.as_ref().is_some_and(|target| target.uid == uid)
        }),
        _ => matches!(world.jobs.get(&step.name), Some(JobFacts::Active { .. })),
    }
}
