//! Times as people read them.

use std::time::Duration;

use jiff::{Timestamp, Unit, Zoned};

/// Time from one moment to another; none when a clock of the cluster is ahead of ours.
#[must_use]
pub fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Two units of a time at most: `42s`, `3m10s`, `2h05m`, `13d4h`.
#[must_use]
pub fn span(time: Duration) -> String {
    let all = time.as_secs();
    match all {
        0..60 => format!("{all}s"),
        60..3600 => format!("{}m{:02}s", all / 60, all % 60),
        3600..86400 => format!("{}h{:02}m", all / 3600, all % 3600 / 60),
        _ => format!("{}d{}h", all / 86400, all % 86400 / 3600),
    }
}

/// How far away a moment is: `in 2h05m`, `42s ago`.
#[must_use]
pub fn away(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", span(between(now, at))) } else { format!("{} ago", span(between(at, now))) }
}

/// A moment, and how far away it is.
#[must_use]
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    let rounded = at.round(Unit::Second).unwrap_or(at);
    format!("{} UTC ({})", rounded.strftime("%Y-%m-%d %H:%M:%S"), away(at, now))
}

/// A moment on the clocks of its zone: `Sat 2026-11-21 22:00 Europe/Zurich (UTC+01:00)`.
#[must_use]
pub fn local(at: &Zoned) -> String {
    let seconds = if at.second() == 0 { "" } else { ":%S" };
    let clock = at.strftime(&format!("%a %Y-%m-%d %H:%M{seconds}")).to_string();
    match at.time_zone().iana_name() {
        Some("UTC" | "Etc/UTC") => format!("{clock} UTC"),
        name => {
            format!("{clock} {}(UTC{})", name.map(|name| format!("{name} ")).unwrap_or_default(), at.strftime("%:z"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m00s"), (7500, "2h05m"), (1_209_599, "13d23h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_clock_that_is_ahead_gives_no_negative_times() {
        let now: Timestamp = "2026-11-21T10:35:12Z".parse().unwrap();
        assert_eq!(span(between("2026-11-21T10:36:00Z".parse().unwrap(), now)), "0s");
    }

    #[test]
    fn a_local_time_names_its_zone_and_what_that_is() {
        for (text, expected) in [
            ("2026-11-21T22:00[Europe/Zurich]", "Sat 2026-11-21 22:00 Europe/Zurich (UTC+01:00)"),
            ("2026-11-21T22:00:05[UTC]", "Sat 2026-11-21 22:00:05 UTC"),
        ] {
            assert_eq!(local(&text.parse().unwrap()), expected);
        }
    }
}
