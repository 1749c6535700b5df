//! The way of one execution through its steps.
//!
//! [`next`] looks at the facts and says what to do and what status to write. It goes on from step to
//! step as far as the facts reach, so that one status write can tell of several steps; it stops
//! where a later effect must not happen before the record of an earlier one is safe ([`Plan::again`]).
//!
//! Order of a round, kept by [`crate::controllers::execution`]: actions first, then observe and plan
//! again; status only when there is nothing left to do. Every action can be repeated, so a crash
//! between an action and the status that tells of it costs nothing.

pub mod action;
mod approval;
mod calendar;
mod deploy;
mod finish;
mod gate;
pub mod git;
mod jobs;
pub mod ledger;
mod outbox;
mod pause;
mod prepare;
pub mod queue;
pub mod refusal;
mod requested;
pub mod revision;
pub mod route;
mod schedule;
mod source;
pub mod status;
mod validate;
pub mod web_tier;
pub mod world;

use jiff::Timestamp;
use launchway_crds::{
    Environment, PipelineExecution,
    conditions::reasons,
    execution::{Child, PipelineExecutionStatus, Step, WaitingFor},
    names::requests,
    step::{StepName, StepState},
};

use self::{
    action::Action,
    world::{Guard, Guarded, JobFacts, Needs, World},
};

/// What to do about an execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Effects, to be performed in this order.
    pub actions: Vec<Action>,
    /// Status to write when no action is left.
    pub status: PipelineExecutionStatus,
    /// Whether to plan again at once after the status was written.
    pub again: bool,
    /// When to look again even if nothing happens.
    pub wake: Option<Timestamp>,
    /// A step whose Job has to be looked at before anything can be decided: add it to [`World::jobs`] and plan again. Where a
    /// step deploys, [`World::web_tiers`] is what is missing.
    /// Nothing else of such a plan counts.
    pub look: Option<StepName>,
}

/// What a step has come to.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// It works, or waits for something that the operator does by itself.
    Running {
        message: String,
        child: Option<Child>,
        deadline: Option<Timestamp>,
        wake: Option<Timestamp>,
        actions: Vec<Action>,
    },
    /// What it did is taken back.
    RollingBack { message: String },
    /// It waits for somebody or something outside.
    /// `warn`: when it is told that nobody has answered yet and that the time runs out.
    Waiting {
        reason: &'static str,
        waiting: Box<WaitingFor>,
        warn: Option<Timestamp>,
        wake: Option<Timestamp>,
        actions: Vec<Action>,
    },
    /// The next step may begin. `persist`: not before the record of this one is written.
    Passed { state: StepState, reason: &'static str, message: String, persist: bool },
    /// The execution ends here.
    Ended { state: StepState, reason: String, message: String, actions: Vec<Action> },
    /// Nothing can be said before its Job, or who has the dispatcher, was looked at.
    Unseen,
}

impl Verdict {
    fn running(message: impl Into<String>) -> Self {
        Self::Running { message: message.into(), child: None, deadline: None, wake: None, actions: vec![] }
    }

    fn acting(message: impl Into<String>, actions: Vec<Action>) -> Self {
        Self::Running { message: message.into(), child: None, deadline: None, wake: None, actions }
    }

    fn retrying(message: impl Into<String>, wake: Timestamp) -> Self {
        Self::Running { message: message.into(), child: None, deadline: None, wake: Some(wake), actions: vec![] }
    }

    fn finished(message: impl Into<String>) -> Self {
        Self::Passed { state: StepState::Finished, reason: reasons::FINISHED, message: message.into(), persist: false }
    }

    fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Ended { state: StepState::Failed, reason: reason.into(), message: message.into(), actions: vec![] }
    }

    fn error(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Ended { state: StepState::Error, reason: reason.into(), message: message.into(), actions: vec![] }
    }
}

/// Facts worth reading for an execution whose status is this.
#[must_use]
pub fn needs(world: &World) -> Needs {
    let status = world.execution.status.as_ref();
    let Some(step) = current(status) else { return Needs::default() };
    // Nothing else decides how it ends: what cannot be read keeps nobody from ending it.
    if request(world, requests::CANCEL).is_some() && !deploying(world, step) {
        let job = Some(step).filter(|step| by_job(world, *step) && !has_measured(status, *step));
        return Needs { job, ..Needs::default() };
    }
    let mut needs = Needs { siblings: validate::may_be_replaced(world, step), ..Needs::default() };
    match step {
        StepName::Validate => {
            needs.guard = validate::is_new_emergency(world).then_some(Guarded::Creation);
            // While it queues for an environment, the registry is not asked; while it is suspended, nobody is ahead.
            let held = validate::holds_all(world);
            let suspended = validate::is_suspended(world);
            needs.queue = !held && !suspended;
            needs.rival = !held;
            needs.siblings |= !suspended;
            needs.artifact = held && validate::takes_artifact(world);
            if held {
                git::needs_commit(world, &mut needs);
            }
            needs.web_tiers = web_tier::is_own(world);
        }
        StepName::Build if git::sources(world).is_some() => git::needs_build(world, &mut needs),
        StepName::Build => needs.artifact = validate::takes_artifact(world),
        _ if uses_job(step) && !has_measured(status, step) => needs.job = Some(step),
        _ => needs.guard = approval::asked(world, step).map(Guarded::Request),
    }
    needs
}

/// The same facts with the execution as it was just written: none when the step that follows needs others.
///
/// The write was refused if anybody had changed the execution since it was read, a cancellation included. The other facts
/// are as old as the write took, and every effect is over the version that was read with them.
#[must_use]
pub fn after_record(mut world: World, written: PipelineExecution) -> Option<World> {
    world.execution = written;
    // It was looked at for another request.
    world.guard = Guard::NotLookedAt;
    let mut needs = needs(&world);
    needs.job.take_if(|step| world.jobs.contains_key(step));
    (needs == Needs::default()).then_some(world)
}

/// Whether a step's Job is done and what it measured is written down: then only people are waited for.
fn has_measured(status: Option<&PipelineExecutionStatus>, step: StepName) -> bool {
    status.and_then(|status| step_of(status, step)).is_some_and(|step| !step.metrics.is_empty())
}

/// The step that an execution is at: none when it ended.
fn current(status: Option<&PipelineExecutionStatus>) -> Option<StepName> {
    let Some(status) = status else { return Some(StepName::Validate) };
    if status.completion_time.is_some() {
        return None;
    }
    status.steps.iter().find(|step| !step.state.is_terminal()).map_or(Some(StepName::Validate), |step| Some(step.name))
}

/// Decides what an execution does next.
#[must_use]
pub fn next(world: &World) -> Plan {
    let mut plan = refusal::unremembered(world, step_by_step(world));
    outbox::fill(world, &mut plan.status);
    plan
}

/// Goes on from step to step as far as the facts reach.
fn step_by_step(world: &World) -> Plan {
    let old = world.execution.status.clone().unwrap_or_default();
    if old.completion_time.is_some() {
        return finish::after(world, old);
    }
    if let Some(plan) = revision::keep(world, &old).filter(|_| world.denied.is_none()) {
        return plan;
    }
    let mut status = status::begun(world, old);
    // What has to be safe before anything is done: from then on nothing is, and only the next step is told of with it.
    let mut record: Option<(StepName, PipelineExecutionStatus)> = None;
    loop {
        let next = status.steps.iter().position(|step| !step.state.is_terminal());
        let Some(index) = next else {
            return match record {
                Some((at, record)) => status::settle(world, record, Some(at), vec![], None, true),
                None => finish::succeeded(world, status),
            };
        };
        let name = status.steps[index].name;
        let ends = cancelled(world, &status, name).or_else(|| lost(world, name));
        let verdict = match ends.or_else(|| refusal::of_revision(world, name)) {
            Some(verdict) => verdict,
            None if left_out(world, name) => Verdict::Passed {
                state: StepState::Incomplete,
                reason: reasons::SKIPPED_IN_EMERGENCY,
                message: "left out in an emergency".into(),
                persist: false,
            },
            None => decide(world, &mut status, name),
        };
        match refusal::instead(world, name, verdict) {
            Verdict::Unseen => return unseen(world, name),
            Verdict::Running { message, child, deadline, wake, actions } => {
                let step = &mut status.steps[index];
                status::run(step, world.now, &message, child, deadline);
                let wake = [wake, step.deadline.as_ref().map(|at| at.0)].into_iter().flatten().min();
                let actions = if record.is_some() { vec![] } else { actions };
                return status::settle(world, status, Some(name), actions, wake, record.is_some());
            }
            Verdict::RollingBack { message } => {
                status::roll_back(&mut status.steps[index], world.now, &message);
                return status::settle(world, status, Some(name), vec![], None, false);
            }
            Verdict::Waiting { reason, waiting, warn, wake, actions } => {
                let until = waiting.until.as_ref().map(|at| at.0);
                let wake = [wake, until, warn.filter(|at| *at > world.now)].into_iter().flatten().min();
                let expiring = warn.is_some_and(|at| at <= world.now);
                status::wait(&mut status, index, world.now, reason, *waiting, expiring);
                let actions = if record.is_some() { vec![] } else { actions };
                return status::settle(world, status, Some(name), actions, wake, record.is_some());
            }
            Verdict::Passed { state, reason, message, persist } => {
                status::end(&mut status.steps[index], world.now, state, reason, &message);
                if persist {
                    record = Some((name, status.clone()));
                }
            }
            Verdict::Ended { state, reason, message, actions } => {
                if let Some((at, record)) = record {
                    return status::settle(world, record, Some(at), vec![], None, true);
                }
                status::end(&mut status.steps[index], world.now, state, &reason, &message);
                return finish::ended(world, status, name, actions);
            }
        }
    }
}

/// The plan that asks for a look at the Job of a step.
fn unseen(world: &World, step: StepName) -> Plan {
    let status = world.execution.status.clone().unwrap_or_default();
    Plan { actions: vec![], status, again: false, wake: None, look: Some(step) }
}

/// Whether a step of this execution is done by a Job.
fn by_job(world: &World, step: StepName) -> bool {
    match step {
        StepName::Validate => git::asks_by_job(world),
        StepName::Build => git::sources(world).is_some(),
        _ => uses_job(step),
    }
}

/// Whether a step may be done by a Job.
pub const fn uses_job(step: StepName) -> bool {
    match step {
        StepName::Validate
        | StepName::Build
        | StepName::CodeQuality
        | StepName::BuildImage
        | StepName::SmokeTest
        | StepName::SecurityTest
        | StepName::LoadTest
        | StepName::ProductTest
        | StepName::FunctionalTest
        | StepName::UiTest
        | StepName::ContentAudit => true,
        StepName::Deploy
        | StepName::DeployStage
        | StepName::ApprovalStage
        | StepName::ReportPerformanceTest
        | StepName::ApprovalProduction
        | StepName::Schedule
        | StepName::Managed
        | StepName::DeployProduction => false,
    }
}

/// Whether an emergency leaves the step out.
fn left_out(world: &World, step: StepName) -> bool {
    world.pipeline.as_ref().is_some_and(|pipeline| route::skipped(&pipeline.spec, &world.execution.spec, step))
}

fn decide(world: &World, status: &mut PipelineExecutionStatus, step: StepName) -> Verdict {
    match step {
        StepName::Validate => validate::validate(world, status),
        StepName::Build if git::sources(world).is_some() => git::build(world, status),
        StepName::Build => prepare::build(world, status),
        StepName::CodeQuality => jobs::code_quality(world, status),
        StepName::BuildImage => jobs::build_image(world, status),
        StepName::Deploy | StepName::DeployStage => deploy::tested(world, status, step),
        StepName::ApprovalStage => approval::stage(world, status),
        StepName::SmokeTest => jobs::smoke_test(world, status),
        StepName::SecurityTest => jobs::security_test(world, status),
        StepName::LoadTest => jobs::load_test(world, status),
        StepName::ReportPerformanceTest => jobs::report_performance_test(world, status),
        StepName::ProductTest | StepName::FunctionalTest | StepName::UiTest | StepName::ContentAudit => {
            jobs::image_test(world, status, step)
        }
        StepName::ApprovalProduction => approval::production(world, status),
        StepName::Schedule => schedule::schedule(world, status),
        StepName::Managed => approval::managed(world, status),
        StepName::DeployProduction => deploy::production(world, status),
    }
}

/// Whether the step is a deployment that has begun.
fn deploying(world: &World, step: StepName) -> bool {
    match step {
        StepName::Deploy | StepName::DeployStage => deploy::began(world, world.stage.as_ref()),
        StepName::DeployProduction => deploy::began(world, world.production.as_ref()),
        _ => false,
    }
}

/// Nobody knows any more what the pipeline said when the execution began: nothing further is begun.
fn lost(world: &World, step: StepName) -> Option<Verdict> {
    let why = world.revision.lost()?;
    (!deploying(world, step)).then(|| Verdict::error(reasons::PIPELINE_DELETED, why))
}

/// A cancellation ends whatever can be ended without harm. A deployment that began is not cut: the
/// environment would be left between two releases; it is stopped before the next step instead.
fn cancelled(world: &World, status: &PipelineExecutionStatus, step: StepName) -> Option<Verdict> {
    if deploying(world, step) {
        return None;
    }
    let (reason, message) = match (request(world, requests::CANCEL), &world.siblings.newer) {
        (Some(reason), _) => {
            let by = request(world, requests::CANCELLED_BY).unwrap_or("an unknown user");
            (reasons::CANCELLED, format!("cancelled by {by}: {reason}"))
        }
        (None, Some(newer)) if validate::may_be_replaced(world, step) => (
            reasons::REPLACED,
            format!("execution {newer} takes its place: spec.concurrency of the pipeline is Replace"),
        ),
        _ => return None,
    };
    let actions = match world.jobs.get(&step) {
        // It may have been made just before the operator died.
        None if by_job(world, step) && !has_measured(Some(status), step) => return Some(Verdict::Unseen),
        Some(JobFacts::Active { name, uid, .. }) => {
            vec![Action::DeleteJob { name: name.clone(), uid: uid.clone() }]
        }
        _ => vec![],
    };
    Some(Verdict::Ended { state: StepState::Cancelled, reason: reason.into(), message, actions })
}

/// The value of a request annotation, if it is set to anything.
fn request<'a>(world: &'a World, key: &str) -> Option<&'a str> {
    let value = world.execution.metadata.annotations.as_ref()?.get(key)?.trim();
    (!value.is_empty()).then_some(value)
}

/// Name, namespace and UID of the execution.
fn identity(world: &World) -> (&str, &str, &str) {
    let meta = &world.execution.metadata;
    (
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default(),
    )
}

/// Whether this execution has an Environment locked.
fn holds(world: &World, environment: &Environment) -> bool {
    let (_, _, uid) = identity(world);
    environment.status.as_ref().and_then(|status| status.lock.as_ref()).is_some_and(|lock| lock.uid == uid)
}

/// Name of an Environment.
fn name_of(environment: &Environment) -> &str {
    environment.metadata.name.as_deref().unwrap_or_default()
}

/// The record of a step.
fn step_of(status: &PipelineExecutionStatus, name: StepName) -> Option<&Step> {
    status.steps.iter().find(|step| step.name == name)
}

#[cfg(test)]
mod tests;
