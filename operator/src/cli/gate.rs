//! Metrics of a step as people see them.

use launchway_crds::{
    execution::{OverrideRecord, Step},
    step::{Comparator, Metric, Severity},
};

use super::table::table;
use crate::text::one_line;

/// Failing important metrics: those that somebody with the verb `override` may accept.
pub fn in_the_way(step: &Step) -> impl Iterator<Item = &Metric> {
    failing(step).filter(|metric| metric.severity == Severity::Important)
}

/// Metrics that miss their thresholds.
pub fn failing(step: &Step) -> impl Iterator<Item = &Metric> {
    step.metrics.iter().filter(|metric| !metric.passed)
}

/// What a metric had to be: `≥ 50`.
#[must_use]
pub fn needed(metric: &Metric) -> String {
    let sign = match metric.comparator {
        Comparator::Gt => '>',
        Comparator::Gte => '≥',
        Comparator::Lt => '<',
        Comparator::Lte => '≤',
        Comparator::Eq => '=',
        Comparator::Neq => '≠',
    };
    format!("{sign} {}", one_line(&metric.expected))
}

/// Metrics in columns under a title, the failing ones marked.
#[must_use]
pub fn titled<'a>(metrics: impl Iterator<Item = &'a Metric>, width: usize) -> Vec<String> {
    let titles = ["", "METRIC", "ACTUAL", "NEEDED", "SEVERITY"].map(String::from);
    let rows = metrics.map(|metric| {
        let severity = metric.severity.as_str().to_string();
        [mark(metric), one_line(&metric.name), one_line(&metric.actual), needed(metric), severity]
    });
    let rows: Vec<[String; 5]> = std::iter::once(titles).chain(rows).collect();
    table(&rows, width)
}

/// Metrics of a step in columns, below it in the tree; who accepted a failing one is told.
#[must_use]
pub fn below<'a>(
    metrics: impl Iterator<Item = &'a Metric>,
    step: &Step,
    overrides: &[OverrideRecord],
    width: usize,
) -> Vec<String> {
    let rows: Vec<[String; 4]> = metrics
        .map(|metric| {
            let name = format!("{} {}", mark(metric), one_line(&metric.name));
            let mut last = metric.severity.as_str().to_string();
            let given = overrides.iter().find(|given| given.step == step.name && given.metrics.contains(&metric.name));
            if let Some(given) = given.filter(|_| !metric.passed && metric.severity == Severity::Important) {
                last.push_str(&format!(", accepted by {}", one_line(&given.by)));
            }
            [name, one_line(&metric.actual), needed(metric), last]
        })
        .collect();
    table(&rows, width)
}

/// A failing metric in one line: `coverage is 42.1, needed ≥ 50 (important)`.
#[must_use]
pub fn line(metric: &Metric) -> String {
    let (name, actual) = (one_line(&metric.name), one_line(&metric.actual));
    format!("{name} is {actual}, needed {} ({})", needed(metric), metric.severity.as_str())
}

fn mark(metric: &Metric) -> String {
    let mark = if metric.passed { '✓' } else { '✗' };
    mark.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn only_important_failures_can_be_accepted() {
        let execution = samples::gate();
        let step = &execution.status.as_ref().unwrap().steps[2];
        let names = |metrics: Vec<&Metric>| metrics.iter().map(|metric| metric.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(in_the_way(step).collect()), ["coverage", "skipped_tests"]);
        assert_eq!(names(failing(step).collect()), ["coverage", "skipped_tests", "duplicated_lines_density"]);
    }

    #[test]
    fn a_table_of_metrics_marks_those_that_fail() {
        let execution = samples::gate();
        let step = &execution.status.as_ref().unwrap().steps[2];
        assert_eq!(
            titled(step.metrics.iter(), 80).join("\n"),
            "   METRIC                    ACTUAL  NEEDED  SEVERITY
✓  security_rating           A       ≥ B     critical
✗  coverage                  42.1    ≥ 50    important
✗  skipped_tests             3       < 1     important
✗  duplicated_lines_density  4       < 1     informational"
        );
    }
}
