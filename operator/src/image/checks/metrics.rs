//! Findings as metrics of the code quality gate (`cloud-manager.md` §2.5).

use serde::{Deserialize, Serialize};

use super::findings::Tally;
use super::rules::{Kind, Level, Profile, Severity};

/// How an actual value is compared with the expected one. Letters compare by grade: A is better than B.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Comparator {
    /// At least as good, or as large.
    Gte,
    /// Less.
    Lt,
    /// Equal.
    Eq,
}

/// One metric. Values travel as text, as in Cloud Manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Cloud Manager's `kpi`.
    pub name: String,
    /// What was found.
    pub actual: String,
    /// How it is compared.
    pub comparator: Comparator,
    /// What is asked for.
    pub expected: String,
    /// What its failure means.
    pub severity: Severity,
    /// Whether the actual value is as expected.
    pub passed: bool,
}

impl Comparator {
    fn holds(self, actual: &str, expected: &str) -> bool {
        match self {
            Self::Eq => actual == expected,
            // An earlier letter is the better grade.
            Self::Gte => actual <= expected,
            Self::Lt => match (actual.parse::<u64>(), expected.parse::<u64>()) {
                (Ok(actual), Ok(expected)) => actual < expected,
                _ => false,
            },
        }
    }
}

/// The grade that the worst issue of a kind gives: A none, B minor, C major, D critical, E blocker.
fn rating(tally: &Tally, kind: Kind, profile: Profile) -> &'static str {
    let worst = tally.keys().filter(|id| id.rule().kind == kind).map(|id| id.level(profile)).min();
    match worst {
        Some(Level::Blocker) => "E",
        Some(Level::Critical) => "D",
        Some(Level::Major) => "C",
        Some(Level::Minor) => "B",
        Some(Level::Info) | None => "A",
    }
}

/// The metrics that packages alone can give: ratings of security and reliability, and the number of open issues.
/// Maintainability and coverage need the sources.
#[must_use]
pub fn metrics(tally: &Tally, profile: Profile) -> Vec<Metric> {
    let metric = |name: &str, actual: String, comparator: Comparator, expected: &str, severity| Metric {
        name: name.to_owned(),
        passed: comparator.holds(&actual, expected),
        actual,
        comparator,
        expected: expected.to_owned(),
        severity,
    };
    let security = rating(tally, Kind::Vulnerability, profile).to_owned();
    let reliability = rating(tally, Kind::Bug, profile).to_owned();
    let (worst, tier) = match profile {
        Profile::CloudService => ("D", Severity::Critical),
        Profile::ManagedServices => ("C", Severity::Important),
    };
    let open: usize = tally.iter().filter(|(id, _)| id.rule().kind != Kind::Note).map(|(_, count)| count).sum();
    vec![
        metric("security_rating", security.clone(), Comparator::Gte, "B", Severity::Critical),
        metric("security_rating", security, Comparator::Eq, "A", Severity::Important),
        metric("reliability_rating", reliability, Comparator::Gte, worst, tier),
        metric("open_issues", open.to_string(), Comparator::Lt, "1", Severity::Informational),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::rules::RuleId;
    use super::*;

    fn failing(rules: &[RuleId], profile: Profile) -> Vec<(String, Severity)> {
        let tally: Tally = rules.iter().map(|id| (*id, 1)).collect();
        metrics(&tally, profile)
            .into_iter()
            .filter(|metric| !metric.passed && metric.name != "open_issues")
            .map(|metric| (metric.name, metric.severity))
            .collect()
    }

    /// The table at the end of `cloud-manager.md` §5.1.
    #[test]
    fn severities_turn_into_gates_as_in_cloud_manager() {
        use Profile::{CloudService, ManagedServices};
        let reliability = |severity| vec![("reliability_rating".to_owned(), severity)];
        assert_eq!(failing(&[], CloudService), []);
        assert_eq!(failing(&[RuleId::PackageOverlaps], CloudService), []);
        assert_eq!(failing(&[RuleId::PackageOverlaps], ManagedServices), []);
        assert_eq!(failing(&[RuleId::BannedPath], CloudService), []);
        assert_eq!(failing(&[RuleId::BannedPath], ManagedServices), reliability(Severity::Important));
        assert_eq!(failing(&[RuleId::IndexType], CloudService), reliability(Severity::Critical));
        assert_eq!(
            failing(&[RuleId::FilterGlobAllow], CloudService),
            [("security_rating".to_owned(), Severity::Critical), ("security_rating".to_owned(), Severity::Important)]
        );
    }

    #[test]
    fn open_issues_count_occurrences_and_no_notes() {
        let tally = Tally::from([(RuleId::BannedPath, 3), (RuleId::StaticTemplateUsage, 2), (RuleId::Zip64, 9)]);
        let open = metrics(&tally, Profile::CloudService).pop().unwrap();
        assert_eq!((open.name.as_str(), open.actual.as_str(), open.passed), ("open_issues", "5", false));
    }

    #[test]
    fn letters_compare_by_grade() {
        let metric = metrics(&Tally::new(), Profile::CloudService).remove(0);
        assert_eq!((metric.actual.as_str(), metric.expected.as_str(), metric.passed), ("A", "B", true));
    }
}
