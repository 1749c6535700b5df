//! Requests of people, as annotations: read with the same suspicion at every step that waits for one.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    common::Span,
    conditions::{reasons, truncate},
    execution::{PipelineExecutionStatus, WaitingFor},
    names::requests,
    step::{StepName, StepState},
};

use super::{
    Verdict, request, step_of,
    world::{Guard, World},
};

/// Pause before the guard is looked for again, when it was missing.
const GUARD_PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// An annotation and the one that says whose it is.
pub(super) struct Request {
    pub(super) key: &'static str,
    pub(super) by: &'static str,
}

/// Why a request is not accepted, or what is waited for: one word, and a sentence with the remedy.
pub(super) type Doubt = (&'static str, String);

/// The value of a request and who made it, or why it is not accepted; none when nobody asked.
pub(super) fn read<'a>(world: &'a World, wanted: &Request) -> Option<Result<(&'a str, String), Doubt>> {
    let value = request(world, wanted.key)?;
    Some(check(world, wanted).map(|by| (value, by)))
}

fn check(world: &World, wanted: &Request) -> Result<String, Doubt> {
    let malformed = |why: String| (reasons::APPROVAL_MALFORMED, why);
    let since = match &world.guard {
        Guard::Missing(what) => {
            return Err((
                reasons::APPROVAL_GUARD_MISSING,
                format!(
                    "{what}: approvals are not accepted until an administrator installs it again (helm upgrade, or kubectl apply -k config/policy)"
                ),
            ));
        }
        // The next round looks.
        Guard::NotLookedAt => {
            return Err((reasons::WAITING, format!("a look at the policies that guard {}", wanted.key)));
        }
        Guard::InForce { since, .. } => *since,
    };
    // An apiserver records who wrote a field and when. No record means that somebody wiped it.
    let unchecked = match annotated_at(world, wanted.key) {
        Some(at) if at >= since => None,
        Some(at) => Some(format!("set at {at}, before the policy that checks it was installed at {since}")),
        None => Some("set by nobody that the apiserver remembers: its managed fields were reset".into()),
    };
    if let Some(how) = unchecked {
        return Err(malformed(format!("{} was {how}: cancel this execution and run the pipeline again", wanted.key)));
    }
    let Some(by) = request(world, wanted.by) else {
        return Err(malformed(format!("annotation {} is missing: use kubectl launchway", wanted.by)));
    };
    Ok(truncate(by, 256))
}

/// When a request was last written, as the apiserver recorded it.
fn annotated_at(world: &World, key: &str) -> Option<Timestamp> {
    let field = format!("f:{key}");
    let managers = world.execution.metadata.managed_fields.as_deref().unwrap_or_default();
    managers
        .iter()
        .filter(|entry| {
            entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| !fields.0["f:metadata"]["f:annotations"][field.as_str()].is_null())
        })
        .filter_map(|entry| entry.time.as_ref())
        .map(|time| time.0)
        .max()
}

/// When to look again although nothing that is watched changes.
pub(super) fn look_again(world: &World, reason: &str) -> Option<Timestamp> {
    (reason == reasons::APPROVAL_GUARD_MISSING).then(|| world.now.saturating_add(GUARD_PAUSE).unwrap_or(world.now))
}

/// Somebody said no to what is waited for.
pub(super) fn rejected(world: &World) -> Option<Verdict> {
    let reason = request(world, requests::REJECT)?;
    let by = request(world, requests::REJECTED_BY).unwrap_or("an unknown user");
    Some(Verdict::Ended {
        state: StepState::Cancelled,
        reason: reasons::REJECTED.into(),
        message: format!("rejected by {by}: {reason}"),
        actions: vec![],
    })
}

/// How long a step waits for somebody.
pub(super) struct Clock {
    pub(super) since: Time,
    pub(super) until: Timestamp,
    pub(super) timeout: Span,
}

impl Clock {
    /// It began when the step began to wait: for a step that first worked, with its first wait.
    pub(super) fn of(world: &World, status: &PipelineExecutionStatus, step: StepName, timeout: Span) -> Self {
        let waits = status.waiting_for.as_ref().filter(|waiting| waiting.step == step);
        let began = || step_of(status, step).filter(|step| step.child.is_none())?.started_at.clone();
        let since = waits.map(|waiting| waiting.since.clone()).or_else(began).unwrap_or(Time(world.now));
        Self::since(since, timeout)
    }

    /// It began then.
    pub(super) fn since(since: Time, timeout: Span) -> Self {
        let until = since.0.saturating_add(timeout.signed()).unwrap_or(since.0);
        Self { since, until, timeout }
    }

    /// When it is told that the time runs out: a day before the end, of a short wait when a fifth of it is left.
    pub(super) fn warn(&self) -> Timestamp {
        let before = (self.timeout.signed() / 5).min(SignedDuration::from_hours(24));
        self.until.saturating_sub(before).unwrap_or(self.until)
    }

    /// The wait for somebody, told with the one word and the sentence: who that is, and with which command.
    pub(super) fn waits(
        &self,
        world: &World,
        step: StepName,
        (reason, why): Doubt,
        who: String,
        command: String,
    ) -> Verdict {
        Verdict::Waiting {
            reason,
            waiting: Box::new(WaitingFor {
                step,
                why,
                since: self.since.clone(),
                until: Some(Time(self.until)),
                expiring_since: None,
                who: Some(who),
                command: Some(command),
            }),
            warn: Some(self.warn()),
            wake: look_again(world, reason),
            actions: vec![],
        }
    }

    /// The end of an execution for which nobody found a word in time.
    pub(super) fn over(&self, world: &World, what: &str) -> Option<Verdict> {
        (world.now >= self.until).then(|| Verdict::Ended {
            state: StepState::Cancelled,
            reason: reasons::TIMED_OUT.into(),
            message: format!("{what} within {}: run the pipeline again", self.timeout),
            actions: vec![],
        })
    }
}
