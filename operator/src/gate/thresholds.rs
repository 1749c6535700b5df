//! Thresholds of a pipeline: what metrics have to be, by name, whatever their sources say.

use std::collections::BTreeSet;

use launchway_crds::{pipeline::MetricThreshold, step::Metric};

use super::metric::{Rule, metric};

/// The metrics, each one that has thresholds judged by every one of them (`cloud-manager.md §2.5`: one name may have
/// several severities) instead of by what its source says. The order stays.
///
/// # Errors
/// When a threshold is for something that nobody measured, or cannot be compared with what was: a gate that asks for
/// nothing would pass silently.
pub fn apply(thresholds: &[MetricThreshold], metrics: Vec<Metric>) -> Result<Vec<Metric>, String> {
    if let Some(missing) = thresholds.iter().find(|wanted| metrics.iter().all(|found| found.name != wanted.name)) {
        let known: BTreeSet<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let known = if known.is_empty() { "nothing".into() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
        return Err(format!(
            "spec.gates.thresholds names {}, which neither the package checks nor a scanner measured; measured: {known}",
            missing.name
        ));
    }
    let mut judged: Vec<Metric> = vec![];
    for found in metrics {
        let mut own = thresholds.iter().filter(|wanted| wanted.name == found.name).peekable();
        if own.peek().is_none() {
            judged.push(found);
            continue;
        }
        for wanted in own {
            let rule = Rule {
                name: &wanted.name,
                severity: wanted.severity,
                comparator: wanted.comparator,
                expected: &wanted.expected,
            };
            let metric = metric(rule, &found.actual).map_err(|why| format!("spec.gates.thresholds: {why}"))?;
            // A source that measured it once for each severity is judged once.
            if !judged.contains(&metric) {
                judged.push(metric);
            }
        }
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use launchway_crds::step::{Comparator, Severity};

    use super::*;

    fn threshold(name: &str, severity: Severity, expected: &str) -> MetricThreshold {
        MetricThreshold { name: name.into(), severity, comparator: Comparator::Gte, expected: expected.into() }
    }

    fn measured(name: &str, severity: Severity, expected: &str, actual: &str) -> Metric {
        metric(Rule { name, severity, comparator: Comparator::Gte, expected }, actual).unwrap()
    }

    #[test]
    fn a_name_is_judged_by_all_of_its_thresholds_and_by_no_other() {
        let metrics = vec![
            measured("security_rating", Severity::Critical, "B", "C"),
            measured("coverage", Severity::Important, "50", "48"),
            measured("open_issues", Severity::Informational, "0", "3"),
        ];
        let thresholds = [
            threshold("security_rating", Severity::Critical, "D"),
            threshold("security_rating", Severity::Important, "A"),
            threshold("coverage", Severity::Informational, "48"),
        ];
        let judged = apply(&thresholds, metrics).unwrap();
        let told: Vec<_> = judged.iter().map(|it| (it.name.as_str(), it.severity, it.passed)).collect();
        assert_eq!(
            told,
            [
                // Grades compare by grade: C is better than D and worse than A.
                ("security_rating", Severity::Critical, true),
                ("security_rating", Severity::Important, false),
                ("coverage", Severity::Informational, true),
                ("open_issues", Severity::Informational, true),
            ]
        );
    }

    #[test]
    fn one_value_for_two_severities_is_judged_once() {
        let metrics = vec![
            measured("security_rating", Severity::Critical, "B", "A"),
            measured("security_rating", Severity::Important, "A", "A"),
        ];
        let judged = apply(&[threshold("security_rating", Severity::Critical, "A")], metrics).unwrap();
        assert_eq!(judged.len(), 1);
    }

    #[test]
    fn two_scanners_that_measure_the_same_are_both_judged() {
        let metrics = vec![
            measured("coverage", Severity::Important, "50", "40"),
            measured("coverage", Severity::Important, "50", "90"),
        ];
        let judged = apply(&[threshold("coverage", Severity::Critical, "80")], metrics).unwrap();
        assert_eq!(judged.iter().map(|it| it.passed).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn what_nobody_measured_or_cannot_be_compared_is_an_error_that_names_it() {
        let metrics = || vec![measured("coverage", Severity::Important, "50", "48")];
        let missing = apply(&[threshold("covrage", Severity::Critical, "50")], metrics()).unwrap_err();
        assert!(missing.contains("names covrage") && missing.contains("measured: coverage"), "{missing}");
        let grade = apply(&[threshold("coverage", Severity::Critical, "B")], metrics()).unwrap_err();
        assert!(grade.starts_with("spec.gates.thresholds: metric coverage: actual `48` is a number"), "{grade}");
        assert!(apply(&[threshold("x", Severity::Critical, "1")], vec![]).unwrap_err().contains("measured: nothing"));
    }
}
