//! Whether a deployment to an Environment may begin now: its hold, and its windows.

use jiff::{Timestamp, Zoned, tz::TimeZone};
use launchway_crds::{
    conditions::reasons,
    environment::{EnvironmentSpec, Hold, Window, WindowKind},
};

/// Why a deployment does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    /// One word.
    pub(super) reason: &'static str,
    /// What holds it, for people.
    pub(super) why: String,
    /// When that may be over, if time alone decides.
    pub(super) until: Option<Timestamp>,
}

/// What keeps a deployment from beginning now; none when it may begin.
///
/// A window that cannot be read keeps deployments from beginning too: whoever wrote it wanted some of them not to.
pub(super) fn closed(spec: &EnvironmentSpec, now: Timestamp) -> Option<Closed> {
    if let Some(held) = spec.hold.as_ref().and_then(|hold| held(hold, now)) {
        return Some(held);
    }
    let mut opens: Option<Timestamp> = None;
    let (mut allows, mut allowed) = (false, false);
    for (index, window) in spec.windows.iter().enumerate() {
        let seen = match look(window, now) {
            Ok(seen) => seen,
            Err(why) => {
                return Some(Closed {
                    reason: reasons::WINDOW_CLOSED,
                    why: format!("spec.windows[{index}] cannot be read: {why}"),
                    until: None,
                });
            }
        };
        match (window.kind, seen.open_until) {
            (WindowKind::Deny, Some(until)) => {
                let because = window.reason.as_deref().unwrap_or("a window of kind Deny is open");
                return Some(Closed {
                    reason: reasons::WINDOW_CLOSED,
                    why: format!("nothing is deployed until {until}: {because}"),
                    until: Some(until),
                });
            }
            (WindowKind::Deny, None) => {}
            (WindowKind::Allow, open) => {
                allows = true;
                allowed |= open.is_some();
                opens = [opens, seen.opens].into_iter().flatten().min();
            }
        }
    }
    (allows && !allowed).then(|| Closed {
        reason: reasons::WINDOW_CLOSED,
        why: match opens {
            Some(at) => format!("the next window for deployments opens at {at}"),
            None => "no window of kind Allow opens again".into(),
        },
        until: opens,
    })
}

/// What a hold says, unless its time is over.
fn held(hold: &Hold, now: Timestamp) -> Option<Closed> {
    let until = hold.until.as_ref().map(|until| until.0);
    let why = match until {
        Some(until) if until <= now => return None,
        Some(until) => format!("held until {until}: {}", hold.reason),
        None => format!("held: {}", hold.reason),
    };
    Some(Closed { reason: reasons::HELD, why, until })
}

/// A window at a moment.
struct Seen {
    /// When it closes, if it is open.
    open_until: Option<Timestamp>,
    /// When it opens next.
    opens: Option<Timestamp>,
}

fn look(window: &Window, now: Timestamp) -> Result<Seen, String> {
    let zone = TimeZone::get(&window.time_zone)
        .map_err(|_| format!("timeZone `{}` is no IANA time zone, such as Europe/Zurich", window.time_zone))?;
    let fields = window.schedule.split_whitespace().count();
    if fields != 5 {
        return Err(format!(
            "schedule `{}` has {fields} fields: write minute, hour, day of month, month, day of week, such as `0 16 * * FRI`",
            window.schedule
        ));
    }
    let cron: croner::Cron =
        window.schedule.parse().map_err(|error| format!("schedule `{}`: {error}", window.schedule))?;
    let here: Zoned = now.to_zoned(zone);
    // A schedule that never comes, such as 30 February, is no error: it just never opens.
    let last = cron.find_previous_occurrence(&here, true).ok().map(|at| at.timestamp());
    let next = cron.find_next_occurrence(&here, false).ok().map(|at| at.timestamp());
    let end = last.and_then(|at| at.checked_add(window.duration.signed()).ok());
    Ok(Seen { open_until: end.filter(|end| *end > now), opens: next })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn spec(windows: &serde_json::Value, hold: Option<&str>) -> EnvironmentSpec {
        let mut spec = serde_json::json!({ "type": "Production", "windows": windows });
        if let Some(reason) = hold {
            spec["hold"] = serde_json::json!({ "reason": reason });
        }
        serde_json::from_value(spec).unwrap()
    }

    fn at(spec: &EnvironmentSpec, now: &str) -> Option<(&'static str, Option<String>)> {
        closed(spec, now.parse().unwrap()).map(|closed| (closed.reason, closed.until.map(|at| at.to_string())))
    }

    #[test]
    fn a_deny_window_closes_and_opens_in_its_own_zone() {
        let weekend = spec(
            &serde_json::json!([{ "kind": "Deny", "schedule": "0 16 * * FRI", "duration": "64h", "timeZone": "Europe/Zurich" }]),
            None,
        );
        assert_eq!(at(&weekend, "2026-11-20T14:59:59Z"), None);
        let until = Some("2026-11-23T07:00:00Z".to_string());
        assert_eq!(at(&weekend, "2026-11-20T15:00:00Z"), Some((reasons::WINDOW_CLOSED, until.clone())));
        assert_eq!(at(&weekend, "2026-11-23T06:59:59Z"), Some((reasons::WINDOW_CLOSED, until)));
        assert_eq!(at(&weekend, "2026-11-23T07:00:00Z"), None);
    }

    #[test]
    fn with_allow_windows_one_of_them_has_to_be_open() {
        let nights = spec(
            &serde_json::json!([
                { "kind": "Allow", "schedule": "0 22 * * *", "duration": "2h" },
                { "kind": "Allow", "schedule": "0 12 * * SUN", "duration": "1h" },
            ]),
            None,
        );
        assert_eq!(at(&nights, "2026-11-21T23:59:00Z"), None);
        let noon = Some("2026-11-22T12:00:00Z".to_string());
        assert_eq!(at(&nights, "2026-11-22T00:00:00Z"), Some((reasons::WINDOW_CLOSED, noon)));
    }

    #[test]
    fn a_hold_with_an_end_is_over_then() {
        let mut frozen = spec(&serde_json::json!([]), Some("end of year"));
        frozen.hold.as_mut().unwrap().until = Some(Time("2027-01-04T07:00:00Z".parse().unwrap()));
        let until = Some("2027-01-04T07:00:00Z".to_string());
        assert_eq!(at(&frozen, "2027-01-04T06:59:59Z"), Some((reasons::HELD, until)));
        let why = closed(&frozen, "2026-12-24T00:00:00Z".parse().unwrap()).unwrap().why;
        assert_eq!(why, "held until 2027-01-04T07:00:00Z: end of year");
        assert_eq!(at(&frozen, "2027-01-04T07:00:00Z"), None);
    }

    #[test]
    fn a_deny_window_wins_over_an_allow_window_and_a_hold_over_both() {
        let windows = serde_json::json!([
            { "kind": "Allow", "schedule": "* * * * *", "duration": "1h" },
            { "kind": "Deny", "schedule": "0 0 24 12 *", "duration": "48h" },
        ]);
        let christmas = "2026-12-25T10:00:00Z";
        assert!(matches!(at(&spec(&windows, None), christmas), Some((reasons::WINDOW_CLOSED, Some(_)))));
        assert_eq!(at(&spec(&windows, Some("incident 4711")), christmas), Some((reasons::HELD, None)));
    }

    #[test]
    fn what_cannot_be_read_keeps_closed_and_names_the_field() {
        for (schedule, zone, part) in [
            ("0 16 * * FRI", "Mars/Olympus", "Mars/Olympus"),
            ("0 16 * *", "UTC", "has 4 fields"),
            ("0 99 * * *", "UTC", "0 99 * * *"),
        ] {
            let bad = spec(
                &serde_json::json!([{ "kind": "Deny", "schedule": schedule, "duration": "1h", "timeZone": zone }]),
                None,
            );
            let closed = closed(&bad, "2026-11-21T10:00:00Z".parse().unwrap()).unwrap();
            assert!(closed.why.contains("spec.windows[0]") && closed.why.contains(part), "{}", closed.why);
        }
        let never = spec(&serde_json::json!([{ "kind": "Deny", "schedule": "0 0 30 2 *", "duration": "1h" }]), None);
        assert_eq!(at(&never, "2026-11-21T10:00:00Z"), None);
    }
}
