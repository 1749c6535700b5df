//! Whether a new release does worse than the previous one, by what was counted of both in the same time.

use launchway_crds::guard::{Counters, Figures, MetricGuard};

/// Errors that it takes to fail a release before its watch is over: the first requests are few, and one error among them is
/// a large share.
const EARLY: i64 = 10;

/// What counters mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The new release keeps the limits so far.
    Good,
    /// It does not.
    Worse(String),
    /// Too few requests came.
    TooFew(String),
}

/// When is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The watch goes on: only what is bad beyond doubt counts.
    Meanwhile,
    /// The watch is over.
    End,
}

/// Judges a new release against the previous one.
///
/// A previous release that hardly anybody asked is no measure: then the new one is held to no errors but those that are
/// allowed anyway, and its latency is not looked at. Nor is it before the end, for a new dispatcher begins with an empty
/// cache.
pub(super) fn judge(guard: &MetricGuard, (new, previous): (Counters, Counters), moment: Moment) -> Judgement {
    let minimum = i64::from(guard.minimum_requests);
    if new.requests < minimum {
        return Judgement::TooFew(format!(
            "the new release answered {} requests, and {minimum} are needed to judge it",
            new.requests
        ));
    }
    let known = previous.requests >= minimum;
    let before = if known { previous } else { Counters { requests: 1, ..Counters::default() } };
    let points = i64::from(guard.error_increase_points);
    let enough = moment == Moment::End || new.errors >= EARLY;
    if enough && fails_more(new, before, points) {
        let measure = if known {
            format!("{} of {} requests to the previous one", percent(previous), previous.requests)
        } else {
            "too few requests to the previous one to compare".into()
        };
        return Judgement::Worse(format!(
            "{} of {} requests to the new release failed, {measure}: {points} percentage points more are allowed",
            percent(new),
            new.requests,
        ));
    }
    let (now, usual, more) = (mean(new), mean(previous), i64::from(guard.latency_increase_milliseconds));
    if moment == Moment::End && known && now.saturating_sub(usual) > more {
        return Judgement::Worse(format!(
            "the new release answers in {now} ms in the mean, the previous one in {usual} ms: {more} ms more are allowed"
        ));
    }
    Judgement::Good
}

/// What is told of counters.
pub(super) const fn figures(counters: Counters) -> Figures {
    Figures { requests: counters.requests, errors: counters.errors, mean_milliseconds: mean(counters) }
}

/// Whether the share of errors is larger than it was, by more than so many percentage points. Shares are compared as
/// fractions: nothing is rounded.
fn fails_more(new: Counters, before: Counters, points: i64) -> bool {
    let wide = i128::from;
    let allowed = wide(before.errors) * 100 + wide(points) * wide(before.requests);
    wide(new.errors) * 100 * wide(before.requests) > allowed * wide(new.requests)
}

const fn mean(counters: Counters) -> i64 {
    if counters.requests > 0 { counters.milliseconds / counters.requests } else { 0 }
}

/// The share of errors, to a tenth of a percent.
fn percent(counters: Counters) -> String {
    let tenths = i128::from(counters.errors) * 1000 / i128::from(counters.requests.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(requests: i64, errors: i64, mean: i64) -> Counters {
        Counters { requests, errors, milliseconds: requests * mean }
    }

    fn judged(guard: &Value, new: Counters, previous: Counters, moment: Moment) -> Judgement {
        judge(&serde_json::from_value(guard.clone()).unwrap(), (new, previous), moment)
    }

    /// What is expected of a judgement: nothing to say, or a part of what is said.
    fn says(judgement: &Judgement) -> (&str, &str) {
        match judgement {
            Judgement::Good => ("Good", ""),
            Judgement::Worse(why) => ("Worse", why),
            Judgement::TooFew(why) => ("TooFew", why),
        }
    }

    #[test]
    fn a_release_is_judged_by_the_one_before() {
        let usual = json!({});
        let strict = json!({ "errorIncreasePoints": 0, "latencyIncreaseMilliseconds": 0, "minimumRequests": 1 });
        for (guard, new, previous, verdict, part) in [
            (&usual, of(1000, 10, 5), of(1000, 0, 5), "Good", ""),
            (
                &usual,
                of(1000, 11, 5),
                of(1000, 0, 5),
                "Worse",
                "1.1 % of 1000 requests to the new release failed, 0.0 %",
            ),
            // As bad as before is no worse.
            (&usual, of(1000, 110, 5), of(3000, 300, 5), "Good", ""),
            (&usual, of(1000, 111, 5), of(3000, 300, 5), "Worse", "11.1 % of 1000 requests"),
            (&usual, of(1000, 0, 255), of(1000, 0, 5), "Good", ""),
            (
                &usual,
                of(1000, 0, 256),
                of(1000, 0, 5),
                "Worse",
                "answers in 256 ms in the mean, the previous one in 5 ms",
            ),
            // Nobody came before: a share has nothing to be compared with but nothing, and a latency nothing at all.
            (&usual, of(1000, 10, 900), of(99, 99, 1), "Good", ""),
            (&usual, of(1000, 11, 1), of(99, 99, 1), "Worse", "too few requests to the previous one"),
            (&usual, of(99, 99, 1), of(1000, 0, 1), "TooFew", "answered 99 requests, and 100 are needed"),
            (&usual, of(0, 0, 0), of(0, 0, 0), "TooFew", "answered 0 requests"),
            (&strict, of(1, 0, 5), of(1, 0, 5), "Good", ""),
            (&strict, of(100_000, 1, 5), of(100_000, 0, 5), "Worse", "0.0 %"),
            (&strict, of(1, 0, 6), of(1, 0, 5), "Worse", "0 ms more are allowed"),
        ] {
            let judgement = judged(guard, new, previous, Moment::End);
            let (kind, told) = says(&judgement);
            assert!(kind == verdict && told.contains(part), "{new:?} after {previous:?}: {judgement:?}");
        }
    }

    #[test]
    fn before_the_end_only_what_is_beyond_doubt_counts() {
        let usual = json!({});
        for (new, verdict) in [
            (of(100, 9, 5), "Good"),
            (of(100, 10, 5), "Worse"),
            (of(2000, 11, 5), "Good"),
            // The caches of new dispatchers fill.
            (of(1000, 0, 5000), "Good"),
            (of(10, 10, 5), "TooFew"),
        ] {
            let judgement = judged(&usual, new, of(1000, 0, 5), Moment::Meanwhile);
            assert_eq!(says(&judgement).0, verdict, "{new:?}");
        }
    }

    #[test]
    fn counters_of_years_are_compared_without_an_overflow() {
        let huge = of(i64::MAX / 10, i64::MAX / 10, 1);
        assert_eq!(judged(&json!({}), huge, huge, Moment::End), Judgement::Good);
        assert_eq!(percent(huge), "100.0 %");
        assert_eq!(figures(of(3, 1, 7)), Figures { requests: 3, errors: 1, mean_milliseconds: 7 });
    }
}
