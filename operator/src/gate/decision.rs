//! What follows from metrics: the three tiers of `cloud-manager.md §2.5`.

use std::collections::BTreeSet;

use launchway_crds::{
    pipeline::ImportantFailures,
    step::{Metric, Severity},
};

/// What becomes of the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It passes.
    Pass,
    /// A person has to override all of these important metrics, or reject.
    Wait(Vec<&'a Metric>),
    /// It fails for these.
    Fail(Vec<&'a Metric>),
}

/// Why an override does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideRefused {
    /// A critical metric failed: nothing can be overridden.
    #[error("metric {0} is critical and failed: no override moves this step on")]
    Critical(String),
    /// Failing important metrics are missing from the list.
    #[error("{} failed too and must be listed: an override names every failing important metric", .0.join(", "))]
    Missing(Vec<String>),
    /// Something is listed that is no failing important metric.
    #[error("{} is no important metric that failed: list exactly those that did", .0.join(", "))]
    Unknown(Vec<String>),
}

/// The decision. `overridden` holds the names that [`override_of`] accepted and somebody wrote down.
///
/// A failing critical metric fails the step whatever else is there; informational metrics never count.
#[must_use]
pub fn decide<'a>(metrics: &'a [Metric], behaviour: ImportantFailures, overridden: &[String]) -> Decision<'a> {
    let critical: Vec<&Metric> = failing(metrics, Severity::Critical).collect();
    if !critical.is_empty() {
        return Decision::Fail(critical);
    }
    let important: Vec<&Metric> = failing(metrics, Severity::Important).collect();
    let all_overridden = important.iter().all(|metric| overridden.contains(&metric.name));
    match behaviour {
        _ if important.is_empty() => Decision::Pass,
        ImportantFailures::Fail => Decision::Fail(important),
        ImportantFailures::Continue => Decision::Pass,
        ImportantFailures::Ask if all_overridden => Decision::Pass,
        ImportantFailures::Ask => Decision::Wait(important),
    }
}

/// The names of an override's value (`coverage,sqale_rating`), when it lists every failing important metric and nothing
/// else (`cloud-manager.md §2.6`).
///
/// # Errors
/// What is missing, what is too much, or that no override is possible.
pub fn override_of(metrics: &[Metric], value: &str) -> Result<Vec<String>, OverrideRefused> {
    if let Some(critical) = failing(metrics, Severity::Critical).next() {
        return Err(OverrideRefused::Critical(critical.name.clone()));
    }
    let wanted: BTreeSet<&str> = failing(metrics, Severity::Important).map(|metric| metric.name.as_str()).collect();
    let listed: BTreeSet<&str> = value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let names = |set: Vec<&&str>| set.into_iter().map(|name| launchway_crds::conditions::truncate(name, 64)).collect();
    let unknown: Vec<&&str> = listed.difference(&wanted).take(8).collect();
    if !unknown.is_empty() {
        return Err(OverrideRefused::Unknown(names(unknown)));
    }
    let missing: Vec<&&str> = wanted.difference(&listed).collect();
    if !missing.is_empty() {
        return Err(OverrideRefused::Missing(names(missing)));
    }
    Ok(wanted.into_iter().map(str::to_string).collect())
}

/// The failing metrics of a list, as a sentence for status: `coverage is 48, must be GTE 50`.
#[must_use]
pub fn sentence(failing: &[&Metric]) -> String {
    let each = failing.iter().map(|metric| {
        format!("{} is {}, must be {} {}", metric.name, metric.actual, metric.comparator.as_str(), metric.expected)
    });
    each.collect::<Vec<_>>().join("; ")
}

fn failing(metrics: &[Metric], severity: Severity) -> impl Iterator<Item = &Metric> {
    metrics.iter().filter(move |metric| metric.severity == severity && !metric.passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_crds::step::Comparator;

    fn of(name: &str, severity: Severity, passed: bool) -> Metric {
        Metric {
            name: name.into(),
            severity,
            comparator: Comparator::Gte,
            expected: "50".into(),
            actual: if passed { "60" } else { "48" }.into(),
            passed,
        }
    }

    /// Every combination of one metric a tier, against what the tiers mean.
    #[test]
    fn tiers_decide_as_documented() {
        for bits in 0..8_u8 {
            let metrics = [
                of("a", Severity::Critical, bits & 1 == 0),
                of("b", Severity::Important, bits & 2 == 0),
                of("c", Severity::Informational, bits & 4 == 0),
            ];
            for behaviour in [ImportantFailures::Ask, ImportantFailures::Fail, ImportantFailures::Continue] {
                let got = decide(&metrics, behaviour, &[]);
                let wanted = if bits & 1 != 0 {
                    Decision::Fail(vec![&metrics[0]])
                } else if bits & 2 == 0 {
                    Decision::Pass
                } else {
                    match behaviour {
                        ImportantFailures::Ask => Decision::Wait(vec![&metrics[1]]),
                        ImportantFailures::Fail => Decision::Fail(vec![&metrics[1]]),
                        ImportantFailures::Continue => Decision::Pass,
                    }
                };
                assert_eq!(got, wanted, "{bits:b} {behaviour:?}");
            }
        }
        assert_eq!(decide(&[], ImportantFailures::Fail, &[]), Decision::Pass);
    }

    #[test]
    fn an_override_lists_every_failing_important_metric() {
        let metrics = [
            of("coverage", Severity::Important, false),
            of("sqale_rating", Severity::Important, false),
            of("other", Severity::Important, true),
            of("note", Severity::Informational, false),
        ];
        let accepted = override_of(&metrics, " sqale_rating, coverage,").unwrap();
        assert_eq!(accepted, ["coverage", "sqale_rating"]);
        assert_eq!(decide(&metrics, ImportantFailures::Ask, &accepted), Decision::Pass);
        assert_eq!(
            decide(&metrics, ImportantFailures::Ask, &accepted[..1]),
            Decision::Wait(vec![&metrics[0], &metrics[1]])
        );
        assert_eq!(override_of(&metrics, "coverage"), Err(OverrideRefused::Missing(vec!["sqale_rating".into()])));
        for wrong in ["coverage,sqale_rating,other", "coverage,sqale_rating,note", "covrage"] {
            assert!(matches!(override_of(&metrics, wrong), Err(OverrideRefused::Unknown(_))), "{wrong}");
        }
        assert!(matches!(override_of(&metrics, ""), Err(OverrideRefused::Missing(names)) if names.len() == 2));
    }

    #[test]
    fn no_override_helps_against_a_critical_failure() {
        let metrics = [of("security_rating", Severity::Critical, false), of("coverage", Severity::Important, false)];
        assert_eq!(override_of(&metrics, "coverage"), Err(OverrideRefused::Critical("security_rating".into())));
        let names = ["coverage".to_string(), "security_rating".to_string()];
        assert_eq!(decide(&metrics, ImportantFailures::Continue, &names), Decision::Fail(vec![&metrics[0]]));
    }

    #[test]
    fn one_name_of_two_severities_fails_by_each() {
        // cloud-manager.md §2.5: security_rating is `critical GTE B` and `important EQ A` at once.
        let metrics =
            [of("security_rating", Severity::Critical, true), of("security_rating", Severity::Important, false)];
        assert_eq!(decide(&metrics, ImportantFailures::Ask, &[]), Decision::Wait(vec![&metrics[1]]));
        assert_eq!(override_of(&metrics, "security_rating").unwrap(), ["security_rating"]);
    }

    #[test]
    fn the_sentence_says_what_was_and_what_had_to_be() {
        let metric = of("coverage", Severity::Important, false);
        assert_eq!(sentence(&[&metric]), "coverage is 48, must be GTE 50");
    }
}
