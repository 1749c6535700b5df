//! JUnit XML, and Maven Surefire's dialect of it: what a test runner says about its cases.

use launchway_crds::conditions::truncate;
use launchway_crds::step::{Comparator, Metric, Severity};

use super::{
    bounded,
    metric::{Rule, metric, none_of},
};
use crate::image::package::xml::{Bounds, Doctype, Node, walk};
use crate::text::one_line;

/// Largest file.
pub const MAX: usize = 16 << 20;
const NODES_MAX: usize = 2_000_000;
const NAMES_MAX: usize = 5;
const NAME_MAX: usize = 120;

/// What one or more files say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cases {
    /// Cases, however they ended.
    pub tests: u64,
    /// An assertion did not hold.
    pub failures: u64,
    /// Something broke.
    pub errors: u64,
    /// Not run.
    pub skipped: u64,
    /// Passed when they ran again (Surefire's `rerunFailingTestsCount`).
    pub flaky: u64,
    /// Names of the first few that failed.
    pub first: Vec<String>,
}

impl Cases {
    /// Sums up two files.
    pub fn add(&mut self, other: Self) {
        self.tests = self.tests.saturating_add(other.tests);
        self.failures = self.failures.saturating_add(other.failures);
        self.errors = self.errors.saturating_add(other.errors);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.flaky = self.flaky.saturating_add(other.flaky);
        self.first.extend(other.first);
        self.first.truncate(NAMES_MAX);
    }

    /// One case that failed or broke fails the step; no case at all does as well: a run that tested nothing shows
    /// nothing.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let any = Rule { name: "tests", severity: Severity::Critical, comparator: Comparator::Gt, expected: "0" };
        metric(any, &self.tests.to_string())
            .into_iter()
            .chain([
                none_of("test_failures", Severity::Critical, self.failures),
                none_of("test_errors", Severity::Critical, self.errors),
                none_of("skipped_tests", Severity::Informational, self.skipped),
            ])
            .collect()
    }

    /// `12 tests, 1 failed, 0 broke, 2 skipped: Login.signs in`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text =
            format!("{} tests, {} failed, {} broke, {} skipped", self.tests, self.failures, self.errors, self.skipped);
        if self.flaky > 0 {
            text.push_str(&format!(", {} passed only when they ran again", self.flaky));
        }
        if !self.first.is_empty() {
            text.push_str(": ");
            text.push_str(&self.first.join("; "));
        }
        text
    }
}

/// Whether a document looks like this format, by its root element.
#[must_use]
pub fn is_root(name: &str) -> bool {
    matches!(name, "testsuites" | "testsuite")
}

/// Reads one file.
///
/// Cases are counted one by one. A suite that states more failures or errors than its cases show is believed: a set-up
/// that breaks has no case.
///
/// # Errors
/// When it is not well-formed, no JUnit XML, or too large. There is no repair: a torn report may hide a failure.
pub fn read(bytes: &[u8]) -> Result<Cases, String> {
    bounded::size(bytes, MAX)?;
    let mut reader = Reader::default();
    walk(bytes, Doctype::None, Bounds::nodes(NODES_MAX), |node| match node {
        Node::Start(name, attributes) => reader.start(&name, &attributes),
        Node::End(_) => {
            reader.end();
            Ok(())
        }
        Node::Text(_) => Ok(()),
    })?;
    Ok(reader.cases)
}

#[derive(Default)]
struct Reader {
    cases: Cases,
    path: Vec<Element>,
}

enum Element {
    Suite { failures: Stated, errors: Stated },
    Case { name: String, end: End },
    Other,
}

/// What a suite states, and what was counted before it began.
struct Stated {
    stated: u64,
    before: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Passed,
    Flaky,
    Skipped,
    Failed,
    Broke,
}

impl Reader {
    fn start(&mut self, name: &str, attributes: &[(String, String)]) -> Result<(), String> {
        let attribute =
            |wanted: &str| attributes.iter().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str());
        let number = |key: &str| match attribute(key).map(str::trim) {
            None | Some("") => Ok(0),
            Some(text) => text.parse::<u64>().map_err(|_| {
                let text: String = text.chars().take(40).collect();
                format!("<{name}> has {key}=\"{}\", which is no number", text.escape_debug())
            }),
        };
        if self.path.is_empty() && !is_root(name) {
            let name: String = name.chars().take(40).collect();
            return Err(format!("its root is <{name}>, and JUnit XML begins with <testsuites> or <testsuite>"));
        }
        let element = match (name, self.path.last_mut()) {
            ("testsuites" | "testsuite", None | Some(Element::Suite { .. })) => Element::Suite {
                failures: Stated { stated: number("failures")?, before: self.cases.failures },
                errors: Stated { stated: number("errors")?, before: self.cases.errors },
            },
            ("testcase", Some(Element::Suite { .. })) => {
                let class = attribute("classname").map(|class| format!("{class}.")).unwrap_or_default();
                let name = truncate(&one_line(&format!("{class}{}", attribute("name").unwrap_or("?"))), NAME_MAX);
                Element::Case { name, end: End::Passed }
            }
            ("failure" | "error", Some(Element::Suite { .. })) => {
                self.cases.errors = self.cases.errors.saturating_add(1);
                self.remember("a suite broke outside of its cases".into());
                Element::Other
            }
            (_, Some(Element::Case { end, .. })) => {
                let found = match name {
                    "error" => End::Broke,
                    "failure" => End::Failed,
                    "skipped" => End::Skipped,
                    "flakyFailure" | "flakyError" => End::Flaky,
                    _ => End::Passed,
                };
                *end = found.max(*end);
                Element::Other
            }
            _ => Element::Other,
        };
        self.path.push(element);
        Ok(())
    }

    fn end(&mut self) {
        match self.path.pop() {
            Some(Element::Case { name, end }) => self.ended(name, end),
            Some(Element::Suite { failures, errors }) => {
                let more = |stated: &Stated, now: u64| stated.stated.saturating_sub(now - stated.before);
                let (failed, broke) = (more(&failures, self.cases.failures), more(&errors, self.cases.errors));
                self.cases.failures = self.cases.failures.saturating_add(failed);
                self.cases.errors = self.cases.errors.saturating_add(broke);
                if failed > 0 || broke > 0 {
                    self.remember("a suite states failures that none of its cases shows".into());
                }
            }
            Some(Element::Other) | None => {}
        }
    }

    fn ended(&mut self, name: String, end: End) {
        self.cases.tests = self.cases.tests.saturating_add(1);
        match end {
            End::Passed => return,
            End::Flaky => self.cases.flaky = self.cases.flaky.saturating_add(1),
            End::Skipped => self.cases.skipped = self.cases.skipped.saturating_add(1),
            End::Failed => self.cases.failures = self.cases.failures.saturating_add(1),
            End::Broke => self.cases.errors = self.cases.errors.saturating_add(1),
        }
        if end >= End::Failed {
            self.remember(name);
        }
    }

    fn remember(&mut self, name: String) {
        if self.cases.first.len() < NAMES_MAX {
            self.cases.first.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> (u64, u64, u64, u64, u64) {
        let cases = read(text.as_bytes()).unwrap();
        (cases.tests, cases.failures, cases.errors, cases.skipped, cases.flaky)
    }

    #[test]
    fn cases_are_counted_in_nested_suites() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?><testsuites name="all" tests="9">
            <testsuite name="a" tests="3" failures="1"><properties><property name="error"/></properties>
              <testcase classname="Login" name="signs in"/>
              <testcase classname="Login" name="signs out"><failure message="no &lt;button&gt;">at line 3</failure></testcase>
              <testsuite name="b"><testcase name="c"><error/></testcase><testcase name="d"><skipped/></testcase></testsuite>
              <system-out><![CDATA[<failure/>]]></system-out>
            </testsuite></testsuites>"#;
        assert_eq!(counts(text), (4, 1, 1, 1, 0));
        let cases = read(text.as_bytes()).unwrap();
        assert_eq!(cases.first, ["Login.signs out", "c"]);
        assert_eq!(cases.sentence(), "4 tests, 1 failed, 1 broke, 1 skipped: Login.signs out; c");
    }

    #[test]
    fn one_failing_case_of_many_fails() {
        let mut text = "<testsuite>".to_string();
        text.push_str(&"<testcase name='x'/>".repeat(999));
        text.push_str("<testcase name='bad'><failure/></testcase></testsuite>");
        let failing: Vec<_> = read(text.as_bytes()).unwrap().metrics().into_iter().filter(|m| !m.passed).collect();
        assert_eq!(failing.len(), 1);
        assert_eq!((failing[0].name.as_str(), failing[0].severity), ("test_failures", Severity::Critical));
    }

    #[test]
    fn a_report_without_cases_shows_nothing_and_fails() {
        let metrics = read(b"<testsuites/>").unwrap().metrics();
        assert!(metrics.iter().any(|metric| metric.name == "tests" && !metric.passed));
    }

    #[test]
    fn surefire_reruns_are_flaky_or_failed() {
        let text = r#"<testsuite tests="2" errors="0" failures="1" flakes="1">
            <testcase name="flaky"><flakyFailure message="x"><stackTrace>y</stackTrace></flakyFailure></testcase>
            <testcase name="bad"><failure/><rerunFailure/></testcase></testsuite>"#;
        assert_eq!(counts(text), (2, 1, 0, 0, 1));
    }

    #[test]
    fn a_suite_that_states_more_than_its_cases_show_is_believed() {
        assert_eq!(counts(r#"<testsuites><testsuite errors="1"/></testsuites>"#), (0, 0, 1, 0, 0));
        let stated_twice = r#"<testsuites failures="2"><testsuite failures="2"><testcase name="a"><failure/></testcase></testsuite></testsuites>"#;
        assert_eq!(counts(stated_twice), (1, 2, 0, 0, 0));
        assert_eq!(counts(r#"<testsuite><error message="set-up"/></testsuite>"#), (0, 0, 1, 0, 0));
        assert_eq!(counts(r#"<testsuite failures="18446744073709551615" errors="1"/>"#).2, 1);
    }

    #[test]
    fn what_is_no_sound_report_is_refused() {
        let deep = format!("{}{}", "<testsuite>".repeat(60), "</testsuite>".repeat(60));
        for (text, why) in [
            ("", "root elements"),
            ("<testsuite><testcase name='a'>", "inside an element"),
            ("<testsuite><testcase></testsuite>", "not well-formed"),
            ("<html><body/></html>", "its root is <html>"),
            ("<testsuite failures='many'/>", "failures=\"many\""),
            ("<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite/>", "DOCTYPE"),
            ("<testsuite name='&lol;'/>", "attribute"),
            (&deep, "nested more than"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error} <- {text}");
        }
        assert!(read(&vec![b' '; MAX + 1]).unwrap_err().contains("at most 16 MiB"));
    }
}
