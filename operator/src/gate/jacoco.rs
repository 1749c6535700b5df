//! JaCoCo's XML report: how much of the code its tests ran.

use launchway_crds::step::{Comparator, Metric, Severity};

use super::{
    bounded,
    metric::{Rule, metric},
};
use crate::image::package::xml::{Bounds, Doctype, Node, walk};

/// Largest file.
pub const MAX: usize = 64 << 20;
const NODES_MAX: usize = 8_000_000;
const DTD: &str = "-//JACOCO//DTD Report 1.";

/// Covered and missed of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Ran.
    pub covered: u64,
    /// Did not run.
    pub missed: u64,
}

impl Counter {
    const fn and(self, other: Self) -> Self {
        Self { covered: self.covered.saturating_add(other.covered), missed: self.missed.saturating_add(other.missed) }
    }

    /// In percent with one digit; nothing to cover is covered.
    fn percent(self) -> String {
        let all = u128::from(self.covered) + u128::from(self.missed);
        // Rounded down: 49.96 % are not 50 %.
        let tenths = (u128::from(self.covered) * 1000).checked_div(all).unwrap_or(1000);
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// What one or more reports say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Lines.
    pub lines: Counter,
    /// Ways that branches can go.
    pub branches: Counter,
}

impl Coverage {
    /// Sums up two reports, of two modules.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { lines: self.lines.and(other.lines), branches: self.branches.and(other.branches) }
    }

    /// `coverage` as Cloud Manager computes it: conditions that were true, conditions that were false and lines that
    /// ran, of all of them; important, at least 50 (`cloud-manager.md §2.5`). `line_coverage` is recorded beside it.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let of = |name, severity, counter: Counter| {
            metric(Rule { name, severity, comparator: Comparator::Gte, expected: "50" }, &counter.percent())
        };
        [
            of("coverage", Severity::Important, self.lines.and(self.branches)),
            of("line_coverage", Severity::Informational, self.lines),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Whether a document looks like this format, by its root element.
#[must_use]
pub fn is_root(name: &str) -> bool {
    name == "report"
}

/// Reads one report: the counters of the whole, not of its packages and classes.
///
/// # Errors
/// When it is not well-formed, no JaCoCo report, has no line counter, or is too large.
pub fn read(bytes: &[u8]) -> Result<Coverage, String> {
    bounded::size(bytes, MAX)?;
    let (mut depth, mut coverage, mut lines) = (0_usize, Coverage::default(), false);
    walk(bytes, Doctype::Public(DTD), Bounds::nodes(NODES_MAX), |node| {
        match node {
            Node::Start(name, attributes) => {
                if depth == 0 && !is_root(&name) {
                    let name: String = name.chars().take(40).collect();
                    return Err(format!("its root is <{name}>, and a JaCoCo report begins with <report>"));
                }
                if depth == 1 && name == "counter" {
                    let counter =
                        Counter { covered: number(&attributes, "covered")?, missed: number(&attributes, "missed")? };
                    match attributes.iter().find(|(key, _)| key == "type").map(|(_, value)| value.as_str()) {
                        Some("LINE") => {
                            coverage.lines = counter;
                            lines = true;
                        }
                        Some("BRANCH") => coverage.branches = counter,
                        _ => {}
                    }
                }
                depth += 1;
            }
            Node::End(_) => depth -= 1,
            Node::Text(_) => {}
        }
        Ok(())
    })?;
    if lines { Ok(coverage) } else { Err("it has no line counter: compile with debug information (-g:lines)".into()) }
}

fn number(attributes: &[(String, String)], key: &str) -> Result<u64, String> {
    let text = attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap_or_default();
    text.parse().map_err(|_| {
        let text: String = text.chars().take(40).collect();
        format!("a counter has {key}=\"{}\", which is no number", text.escape_debug())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd">"#;

    fn report(counters: &str) -> String {
        format!(
            r#"{HEAD}<report name="core"><sessioninfo id="x" start="1" dump="2"/><package name="p"><class name="c"><method name="m" desc="()V" line="1"><counter type="LINE" missed="7" covered="7"/></method></class><sourcefile name="C.java"><line nr="1" mi="0" ci="2" mb="0" cb="0"/></sourcefile><counter type="LINE" missed="5" covered="5"/></package>{counters}</report>"#
        )
    }

    fn actual(coverage: &Coverage) -> Vec<(String, bool)> {
        coverage.metrics().into_iter().map(|metric| (metric.actual, metric.passed)).collect()
    }

    #[test]
    fn the_counters_of_the_whole_count() {
        let text = report(
            r#"<counter type="LINE" missed="40" covered="60"/><counter type="BRANCH" missed="30" covered="10"/>"#,
        );
        let coverage = read(text.as_bytes()).unwrap();
        assert_eq!(actual(&coverage), [("50.0".into(), true), ("60.0".into(), true)]);
    }

    #[test]
    fn percent_are_never_rounded_up() {
        let text = report(r#"<counter type="LINE" missed="5001" covered="4999"/>"#);
        assert_eq!(actual(&read(text.as_bytes()).unwrap()), [("49.9".into(), false), ("49.9".into(), false)]);
    }

    #[test]
    fn modules_are_summed_up() {
        let of = |missed, covered| {
            read(report(&format!(r#"<counter type="LINE" missed="{missed}" covered="{covered}"/>"#)).as_bytes())
                .unwrap()
        };
        assert_eq!(actual(&of(10, 0).and(of(0, 30)))[0].0, "75.0");
        assert_eq!(actual(&of(0, 0))[0], ("100.0".into(), true));
    }

    #[test]
    fn other_documents_are_refused() {
        for (text, why) in [
            (report(""), "no line counter"),
            (report(r#"<counter type="LINE" missed="-1" covered="1"/>"#), "missed=\"-1\""),
            ("<testsuite/>".into(), "its root is <testsuite>"),
            ("<!DOCTYPE report SYSTEM \"file:///etc/passwd\"><report/>".into(), "DOCTYPE"),
            (HEAD.replace("\"report.dtd\"", "\"report.dtd\" [<!ENTITY a 'b'>]") + "<report/>", "DOCTYPE"),
            (report("").replace("</report>", ""), "inside an element"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error} <- {text}");
        }
    }
}
