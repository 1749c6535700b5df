//! Findings, kept in bounds while they are collected.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use launchway_crds::step::Severity;

use super::rules::{Profile, RuleId};
use crate::image::failure::clipped;

/// Findings of one rule in one file that are listed; more are counted.
const LISTED: usize = 20;
/// Files and rules of which counts are kept.
const GROUPS: usize = 20_000;

/// Something that a rule found. It does not stop the build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How grave, in the profile of the build.
    pub severity: Severity,
    /// File concerned, or `outer.zip!inner.zip`; empty when it is about the whole build.
    pub file: String,
    /// Stable id of the rule.
    pub rule: RuleId,
    /// Entry, path or line inside of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Text for people.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let place = match (&self.entry, self.file.as_str()) {
            (Some(entry), "") => format!("{entry}: "),
            (Some(entry), file) => format!("{file}, {entry}: "),
            (None, "") => String::new(),
            (None, file) => format!("{file}: "),
        };
        format!("{} {}: {place}{}. {}", self.severity.as_str(), self.rule.as_str(), self.message, self.remedy)
    }
}

/// How often each rule was broken; exact, also where findings are not listed.
pub type Tally = BTreeMap<RuleId, usize>;

/// A bounded collection: what a hostile package can make it hold is [`LISTED`] findings a rule and file.
#[derive(Debug, Default)]
pub struct Findings {
    profile: Profile,
    listed: Vec<Finding>,
    groups: BTreeMap<(String, RuleId), usize>,
    tally: Tally,
}

impl Findings {
    /// An empty collection.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, ..Self::default() }
    }

    /// Adds a finding about a whole file.
    pub fn file(&mut self, rule: RuleId, file: &str, message: impl AsRef<str>) {
        self.push(rule, file, None, message.as_ref());
    }

    /// Adds a finding about an entry of a file.
    pub fn entry(&mut self, rule: RuleId, file: &str, entry: &str, message: impl AsRef<str>) {
        self.push(rule, file, Some(entry), message.as_ref());
    }

    fn push(&mut self, rule: RuleId, file: &str, entry: Option<&str>, message: &str) {
        *self.tally.entry(rule).or_default() += 1;
        let key = (file.to_owned(), rule);
        if self.groups.len() >= GROUPS && !self.groups.contains_key(&key) {
            return;
        }
        let seen = self.groups.entry(key).or_default();
        *seen += 1;
        if *seen > LISTED {
            return;
        }
        self.listed.push(Finding {
            severity: rule.severity(self.profile),
            file: clipped(file, 200),
            rule,
            entry: entry.map(|entry| clipped(entry, 200)),
            message: clipped(message, 400),
            remedy: rule.rule().remedy.to_owned(),
        });
    }

    /// At most `limit` findings, gravest first, and how often each rule was broken.
    #[must_use]
    pub fn finish(self, limit: usize) -> (Vec<Finding>, Tally) {
        let total: usize = self.tally.values().sum();
        let mut listed = self.listed;
        listed.sort();
        listed.dedup();
        listed.truncate(limit);
        if total > listed.len() {
            listed.push(Finding {
                severity: Severity::Informational,
                file: String::new(),
                rule: RuleId::MoreFindings,
                entry: None,
                message: format!("{} more findings are not listed", total - listed.len()),
                remedy: RuleId::MoreFindings.rule().remedy.to_owned(),
            });
        }
        (listed, self.tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_counts_are_exact() {
        let mut findings = Findings::new(Profile::CloudService);
        for at in 0..10_000 {
            findings.entry(RuleId::BannedPath, "a.zip", &format!("e{at}"), "it's m\u{1b}");
        }
        findings.file(RuleId::IndexType, "b.zip", "x");
        let (listed, tally) = findings.finish(5);
        assert_eq!((listed.len(), tally[&RuleId::BannedPath]), (6, 10_000));
        assert_eq!(listed[0].rule, RuleId::IndexType);
        assert!(listed[5].message.starts_with("9996 more"));
        assert_eq!(listed[1].message, "it's m\\u{1b}");
    }
}
