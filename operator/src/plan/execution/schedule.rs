//! The time for production, chosen by a person: `now`, or a date and time in a zone.

use jiff::{Timestamp, Zoned};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    conditions::{reasons, truncate},
    execution::{PipelineExecutionStatus, ScheduleRecord, WaitingFor},
    names::requests,
    step::StepName,
};

use super::{
    Verdict, identity,
    requested::{self, Clock, Doubt, Request},
    revision::gone,
    world::World,
};

const STEP: StepName = StepName::Schedule;
const REQUEST: Request = Request { key: requests::SCHEDULE, by: requests::SCHEDULED_BY };

/// Waits for somebody to choose a time, and then for the time.
pub(super) fn schedule(world: &World, status: &mut PipelineExecutionStatus) -> Verdict {
    let Some(production) = world.pipeline.as_ref().and_then(|pipeline| pipeline.spec.production.as_ref()) else {
        return gone(world);
    };
    if let Some(verdict) = requested::rejected(world) {
        return verdict;
    }
    let clock = Clock::of(world, status, STEP, production.schedule.timeout);
    let doubt = match requested::read(world, &REQUEST) {
        // A choice that was accepted stays when its annotation goes, and gives way to another one.
        Some(Ok((text, by))) if status.scheduled.as_ref().is_none_or(|known| known.text != text) => {
            match moment(text, world.now, clock.until) {
                Ok(at) => {
                    status.scheduled = Some(ScheduleRecord { by, at: Time(at), text: truncate(text, 64) });
                    None
                }
                Err(doubt) => Some(doubt),
            }
        }
        Some(Err(doubt)) if status.scheduled.is_none() => Some(doubt),
        Some(_) | None => None,
    };
    let (name, namespace, _) = identity(world);
    let environment = &production.environment;
    let (reason, why, until) = match (&status.scheduled, doubt) {
        (Some(chosen), None) if chosen.at.0 <= world.now => {
            let (by, at) = (&chosen.by, chosen.at.0);
            return Verdict::finished(format!("{by} chose {} ({at})", chosen.text));
        }
        (Some(chosen), None) => {
            (reasons::SCHEDULED, format!("{} ({}), as {} chose", chosen.text, chosen.at.0, chosen.by), chosen.at.0)
        }
        (_, Some((reason, why))) => (reason, why, clock.until),
        (None, None) => {
            (reasons::AWAITING_SCHEDULE, format!("a time for the deployment to Environment {environment}"), clock.until)
        }
    };
    // Somebody who never answers ends it; a time that was chosen lies before that.
    if let Some(verdict) = clock.over(world, "nobody chose a time") {
        return verdict;
    }
    Verdict::Waiting {
        reason,
        waiting: Box::new(WaitingFor {
            step: STEP,
            why,
            since: clock.since.clone(),
            until: Some(Time(until)),
            expiring_since: None,
            who: Some(format!("whoever may `schedule` Environment {environment}")),
            command: Some(format!("kubectl launchway schedule {name} now --namespace {namespace}")),
        }),
        // A time that was chosen is waited for, and nobody has to do anything.
        warn: (reason != reasons::SCHEDULED).then(|| clock.warn()),
        wake: requested::look_again(world, reason),
        actions: vec![],
    }
}

/// The moment that a text names.
///
/// A local time that comes twice when clocks go back means the first, one that is left out when they go forward the
/// moment as much later (RFC 5545's rule). A moment in the past means at once.
fn moment(text: &str, now: Timestamp, latest: Timestamp) -> Result<Timestamp, Doubt> {
    if text == "now" {
        return Ok(now);
    }
    let malformed = |why: String| (reasons::REQUEST_MALFORMED, why);
    let at = text.parse::<Zoned>().map_err(|error| {
        malformed(format!(
            "annotation {} is `{}`, which is no date and time with its zone ({error}): write `now`, or such as 2026-11-21T22:00[Europe/Zurich]",
            REQUEST.key,
            truncate(text, 64)
        ))
    })?;
    if at.timestamp() > latest {
        return Err(malformed(format!(
            "annotation {} names {}, after {latest}, when this execution ends by itself: choose an earlier time",
            REQUEST.key,
            at.timestamp()
        )));
    }
    Ok(at.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(text: &str) -> Result<String, &'static str> {
        let (now, latest) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-12-31T00:00:00Z".parse().unwrap());
        moment(text, now, latest).map(|at| at.to_string()).map_err(|(reason, _)| reason)
    }

    #[test]
    fn a_time_is_read_in_its_own_zone() {
        assert_eq!(at("now").unwrap(), "2026-01-01T00:00:00Z");
        assert_eq!(at("2026-07-01T22:00[Europe/Zurich]").unwrap(), "2026-07-01T20:00:00Z");
        assert_eq!(at("2026-02-01T22:00[Asia/Kolkata]").unwrap(), "2026-02-01T16:30:00Z");
        assert_eq!(at("2025-02-01T22:00[UTC]").unwrap(), "2025-02-01T22:00:00Z", "the past means at once");
    }

    #[test]
    fn clocks_that_change_have_one_answer() {
        assert_eq!(at("2026-03-29T02:30[Europe/Zurich]").unwrap(), "2026-03-29T01:30:00Z", "left out: as much later");
        assert_eq!(at("2026-10-25T02:30[Europe/Zurich]").unwrap(), "2026-10-25T00:30:00Z", "twice: the first");
        assert_eq!(at("2026-10-25T02:30+01:00[Europe/Zurich]").unwrap(), "2026-10-25T01:30:00Z", "or the one it says");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "tomorrow",
            "2026-07-01T22:00",
            "2026-07-01T22:00Z",
            "2026-07-01T22:00[Mars/Olympus]",
            "2026-07-01T22:00+05:00[Europe/Zurich]",
            "2027-07-01T22:00[UTC]",
        ] {
            assert_eq!(at(text), Err(reasons::REQUEST_MALFORMED), "{text}");
        }
    }
}
