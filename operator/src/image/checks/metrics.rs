//! Findings as metrics of the code quality gate (`cloud-manager.md` §2.5).

use launchway_crds::step::{Comparator, Metric, Severity};

use super::findings::Tally;
use super::rules::{Kind, Level, Profile};
use crate::gate::metric::{Rule, metric};

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
    let security = rating(tally, Kind::Vulnerability, profile);
    let reliability = rating(tally, Kind::Bug, profile);
    let (worst, tier) = match profile {
        Profile::CloudService => ("D", Severity::Critical),
        Profile::ManagedServices => ("C", Severity::Important),
    };
    let open: usize = tally.iter().filter(|(id, _)| id.rule().kind != Kind::Note).map(|(_, count)| count).sum();
    let open = open.to_string();
    let all = [
        ("security_rating", Severity::Critical, Comparator::Gte, "B", security),
        ("security_rating", Severity::Important, Comparator::Eq, "A", security),
        ("reliability_rating", tier, Comparator::Gte, worst, reliability),
        ("open_issues", Severity::Informational, Comparator::Lt, "1", open.as_str()),
    ];
    // Grades and counts always compare.
    all.into_iter()
        .filter_map(|(name, severity, comparator, expected, actual)| {
            metric(Rule { name, severity, comparator, expected }, actual).ok()
        })
        .collect()
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
}
