//! Lines of what differs between two Environments, each as short as it can be read.

use std::{collections::BTreeMap, fmt::Display};

use crate::text::{clip, one_line};

/// Lines at most: a report that nobody reads helps nobody.
pub(super) const LINES_MAX: usize = 16;
/// Names in one line at most.
const NAMES_MAX: usize = 8;
/// Longest value that is shown.
const VALUE_MAX: usize = 90;

/// A report that is being written.
pub(super) struct Report {
    names: (String, String),
    lines: Vec<String>,
}

impl Report {
    /// An empty one on two Environments of these names.
    pub(super) const fn on(stage: String, production: String) -> Self {
        Self { names: (stage, production), lines: vec![] }
    }

    /// Both values, if they differ.
    pub(super) fn compare<T: PartialEq + Display>(&mut self, what: &str, one: &T, other: &T) {
        if one != other {
            let shown = |value: &T| {
                let text = one_line(&value.to_string());
                if text.is_empty() { "none".to_string() } else { clip(&text, VALUE_MAX) }
            };
            let (stage, production) = &self.names;
            self.lines.push(format!("{what}: {stage} {}, {production} {}", shown(one), shown(other)));
        }
    }

    /// Entries by their name alone: values may be what nobody should read here. `differ` says how two of one name may.
    pub(super) fn entries<T: PartialEq>(
        &mut self,
        what: &str,
        differ: &str,
        ours: &BTreeMap<&str, T>,
        theirs: &BTreeMap<&str, T>,
    ) {
        let only = |of: &BTreeMap<&str, T>, not_in: &BTreeMap<&str, T>| {
            of.keys().filter(|name| !not_in.contains_key(*name)).map(ToString::to_string).collect::<Vec<_>>()
        };
        let changed = ours.iter().filter(|(name, value)| theirs.get(*name).is_some_and(|other| other != *value));
        let changed: Vec<String> = changed.map(|(name, _)| name.to_string()).collect();
        let (stage, production) = self.names.clone();
        for (what, names) in [
            (format!("{what} on {stage} only"), only(ours, theirs)),
            (format!("{what} on {production} only"), only(theirs, ours)),
            (format!("{what} {differ}"), changed),
        ] {
            if !names.is_empty() {
                self.lines.push(format!("{what}: {}", listed(&names)));
            }
        }
    }

    /// Its lines, as many as anybody reads.
    pub(super) fn bounded(mut self) -> Vec<String> {
        let more = self.lines.len().saturating_sub(LINES_MAX);
        if more > 0 {
            self.lines.truncate(LINES_MAX.saturating_sub(1));
            self.lines.push(format!("and {} more", more + 1));
        }
        self.lines
    }
}

/// Names of a list, as many as can be read.
pub(super) fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
