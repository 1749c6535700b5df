//! Planners with one defect each. A check that does not find them checks nothing.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{environment::Lock, step::StepName, step::StepState};
use launchway_operator::plan::execution::{
    Plan,
    action::Action,
    next,
    world::{JobEnd, JobFacts, Siblings, World},
};

use super::promises::Promise;
use super::site::Planner;

/// Every mutant: the promise that it breaks, none for "it ends", and the planner.
pub const ALL: [(&str, Option<Promise>, Planner); 18] = [
    ("production without an approval", Some(Promise::Proof), unapproved),
    ("production without tests", Some(Promise::Proof), untested),
    ("an approval of something else counts", Some(Promise::Proof), any_approval),
    ("a lock of another is taken for its own", Some(Promise::Exclusive), lockless),
    ("another release at every look", Some(Promise::OneRelease), other_release),
    ("a step that failed begins again", Some(Promise::Forward), retries),
    ("the plan depends on the moment", Some(Promise::SamePlan), moody),
    ("a deadline counts from the last look", Some(Promise::Deadline), patient),
    ("nobody wakes who waits for an approval", Some(Promise::Woken), sleeper),
    ("the beginning is written anew", Some(Promise::Settled), restless),
    ("a failed Job is made again", Some(Promise::JobOnce), job_again),
    ("nothing is remembered", Some(Promise::NotAgain), forgetful),
    ("a full release brings its own web tier", Some(Promise::Parts), ownerless),
    ("a release that went back is deployed again", Some(Promise::NotAgain), stubborn),
    ("the ledger keeps what did not come true", Some(Promise::Ledger), hasty),
    ("it waits for one that is gone", Some(Promise::Woken), unwoken),
    ("who has stage waits for who is older", None, polite),
    ("who has stage waits for who is older in its pipeline", None, courteous),
];

/// Executions, and the pipeline of each, among which a mutant shows.
pub fn world(name: &str) -> &'static [(&'static str, usize)] {
    match name {
        "who has stage waits for who is older in its pipeline" => &[("b", 0)],
        _ if name.contains("web tier") => &[("a", 0), ("b", 6)],
        _ if name.contains("older") || name.contains("lock") => &[("a", 2), ("b", 0)],
        _ => &[("a", 0)],
    }
}

/// Executions of a mutant's world that are seen late, and are as old as the others.
pub fn late(name: &str) -> &'static [(&'static str, usize)] {
    if name == "who has stage waits for who is older in its pipeline" { &[("a", 0)] } else { &[] }
}

fn unapproved(world: &World) -> Plan {
    let mut world = world.clone();
    if let Some(production) = world.pipeline.as_mut().and_then(|pipeline| pipeline.spec.production.as_mut()) {
        production.approval.required = false;
    }
    next(&world)
}

fn ownerless(world: &World) -> Plan {
    let mut world = world.clone();
    if let Some(owners) = &mut world.web_tiers {
        owners.clear();
    }
    next(&world)
}

fn untested(world: &World) -> Plan {
    let mut world = world.clone();
    if let Some(stage) = world.pipeline.as_mut().and_then(|pipeline| pipeline.spec.stage.as_mut()) {
        stage.tests.smoke.clear();
    }
    next(&world)
}

fn any_approval(world: &World) -> Plan {
    let mut world = world.clone();
    let release =
        world.execution.status.as_ref().and_then(|status| status.release.as_ref()).map(|it| it.digest().to_string());
    let asked =
        world.execution.metadata.annotations.as_mut().and_then(|all| all.get_mut("launchway.dev/approve-production"));
    if let (Some(asked), Some(release)) = (asked, release) {
        *asked = release;
    }
    next(&world)
}

fn lockless(world: &World) -> Plan {
    let mut world = world.clone();
    let (execution, uid) = (world.execution.metadata.name.clone(), world.execution.metadata.uid.clone());
    for environment in [&mut world.stage, &mut world.production].into_iter().flatten() {
        if let Some(lock) = environment.status.as_mut().and_then(|status| status.lock.as_mut()) {
            *lock =
                Lock { execution: execution.clone().unwrap(), uid: uid.clone().unwrap(), since: lock.since.clone() };
        }
    }
    next(&world)
}

fn stubborn(world: &World) -> Plan {
    let mut world = world.clone();
    for status in [&mut world.stage, &mut world.production].into_iter().flatten().filter_map(|it| it.status.as_mut()) {
        status.restore = None;
    }
    next(&world)
}

fn other_release(world: &World) -> Plan {
    let mut plan = next(world);
    let approving = plan.status.step == Some(StepName::ApprovalProduction);
    if let (true, Some(artifact)) = (approving, &plan.status.artifact) {
        plan.status.release = Some(artifact.reference.clone());
    }
    plan
}

fn retries(world: &World) -> Plan {
    let mut plan = next(world);
    if world.execution.status.as_ref().is_some_and(|status| status.step == Some(StepName::SmokeTest)) {
        let build = plan.status.steps.iter_mut().find(|step| step.name == StepName::BuildImage);
        build.unwrap().state = StepState::Running;
    }
    plan
}

fn moody(world: &World) -> Plan {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let mut plan = next(world);
    plan.status.observed_generation = i64::from(CALLS.fetch_add(1, Ordering::Relaxed));
    plan
}

fn patient(world: &World) -> Plan {
    let mut plan = next(world);
    let until = Time(world.now.checked_add(SignedDuration::from_hours(14 * 24)).unwrap());
    for step in &mut plan.status.steps {
        if step.deadline.is_some() {
            step.deadline = Some(until.clone());
        }
    }
    plan
}

fn sleeper(world: &World) -> Plan {
    Plan { wake: None, ..next(world) }
}

fn restless(world: &World) -> Plan {
    let mut plan = next(world);
    // Differs at every second look, so that the same facts still give the same plan.
    let even = world.execution.status.as_ref().is_some_and(|status| status.observed_generation % 2 == 0);
    if plan.status.completion_time.is_none() {
        plan.status.observed_generation = i64::from(even);
    }
    plan
}

fn job_again(world: &World) -> Plan {
    let mut plan = next(world);
    let failed = world.jobs.values().find(|job| matches!(job, JobFacts::Ended { end: JobEnd::Failed { .. }, .. }));
    if let Some(JobFacts::Ended { name, uid, .. }) = failed {
        plan.actions = vec![Action::DeleteJob { name: name.clone(), uid: uid.clone() }];
    }
    plan
}

/// Forgets the whole entry. One that is only written under another name is asked for again and again, so that the
/// execution never ends, and breaks no promise but that.
fn forgetful(world: &World) -> Plan {
    let mut plan = next(world);
    plan.actions.retain(|action| !matches!(action, Action::Remember { .. }));
    plan
}

/// As the planner was before this check: what came between ledger and status was not told.
fn hasty(world: &World) -> Plan {
    let mut plan = next(world);
    let uid = world.execution.metadata.uid.as_ref();
    let ledger = world.pipeline.as_ref().and_then(|pipeline| pipeline.status.as_ref()).map(|status| &status.ledger);
    if ledger.is_some_and(|ledger| ledger.iter().any(|entry| Some(&entry.uid) == uid)) {
        plan.actions.retain(|action| !matches!(action, Action::Remember { .. }));
    }
    plan
}

/// Waits for an older one that is not there any more: no end of it will come.
fn unwoken(world: &World) -> Plan {
    let older = world.siblings.older.clone().or_else(|| Some("gone".into()));
    next(&World { siblings: Siblings { older, ..world.siblings.clone() }, ..world.clone() })
}

/// As the planner was before this check: each waited for the other.
fn polite(world: &World) -> Plan {
    let mut plan = next(world);
    if world.ahead.is_some() {
        plan.actions.retain(|action| !matches!(action, Action::Lock { .. }));
    }
    plan
}

/// As the planner was before this check: an older one of the pipeline that turned up late was waited for.
fn courteous(world: &World) -> Plan {
    let mut plan = next(world);
    if world.siblings.older.is_some() {
        plan.actions.retain(|action| !matches!(action, Action::Lock { .. }));
    }
    plan
}
