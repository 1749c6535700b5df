//! Dependencies between packages and their version ranges, in FileVault's syntax.

use std::fmt;

use super::id::PackageId;
use super::version::Version;

/// A range of versions. No bound means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionRange {
    low: Option<(Version, bool)>,
    high: Option<(Version, bool)>,
    text: String,
}

impl VersionRange {
    /// Parses `""`, `1.2` (at least), `[1,2)`, `(1,2]`, `[1,]`, `[,2]` …, as FileVault does.
    ///
    /// # Hazards
    /// Only a comma makes a range. FileVault takes `[1.0]` for "at least the version `[1.0]`", which is below every
    /// number: what the runtime will accept is what counts here, not what the author may have meant.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = |why: &str| Err(format!("the version range `{text}` {why}"));
        // A version of dots alone is the empty one, and that is no bound.
        let bound = |text: &str, inclusive| {
            let empty = text.bytes().all(|byte| byte == b'.');
            (!empty).then(|| (Version::new(text), inclusive))
        };
        let Some((before, after)) = text.split_once(',') else {
            return Ok(Self { low: bound(text, true), high: None, text: text.to_owned() });
        };
        // A round bracket anywhere is preferred to a square one.
        let opening = |bracket: char| text.find(bracket).map(|at| (at, bracket == '['));
        let closing = |bracket: char| text.find(bracket).map(|at| (at, bracket == ']'));
        let Some((start, low_in)) = opening('(').or_else(|| opening('[')) else {
            return bad("has a comma and no opening bracket");
        };
        let Some((end, high_in)) = closing(')').or_else(|| closing(']')) else {
            return bad("is not closed by ] or )");
        };
        let comma = before.len();
        if start > comma || end < comma {
            return bad("has its brackets in the wrong order");
        }
        let (low, high) = (before[start + 1..].trim(), after[..end - comma - 1].trim());
        let out = Self { low: bound(low, low_in), high: bound(high, high_in), text: text.to_owned() };
        if let (Some((low, low_in)), Some((high, high_in))) = (&out.low, &out.high) {
            if low > high {
                return bad("starts above its end");
            }
            if low == high && !(*low_in && *high_in) {
                return bad("is empty: equal bounds must both be inclusive");
            }
        }
        Ok(out)
    }

    /// Whether a version lies in the range.
    #[must_use]
    pub fn contains(&self, version: &Version) -> bool {
        let above = self.low.as_ref().is_none_or(|(low, inclusive)| version > low || (*inclusive && version == low));
        let below =
            self.high.as_ref().is_none_or(|(high, inclusive)| version < high || (*inclusive && version == high));
        above && below
    }
}

/// `group:name[:range]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Group.
    pub group: String,
    /// Name.
    pub name: String,
    /// Accepted versions.
    pub range: VersionRange,
}

impl Dependency {
    /// Parses one dependency, the legacy path forms included, as FileVault does.
    ///
    /// # Errors
    /// The rule that the text breaks. FileVault takes a blank at an end for a part of the group, the name or the range,
    /// so that no package ever satisfies the dependency and the runtime waits for ever: that is told here.
    pub fn parse(text: &str) -> Result<Self, String> {
        let blank = |part: &str| part.trim() != part;
        if blank(text) {
            return Err(format!(
                "the dependency `{text}` has a blank at an end, which FileVault takes for a part of it"
            ));
        }
        // Java's split drops empty parts at the end.
        let segments: Vec<&str> = text.trim_end_matches(':').split(':').collect();
        let ((group, name), range) = match segments.as_slice() {
            [one] => (one.rsplit_once('/').unwrap_or(("", one)), ""),
            // The forms with a path are of old: the group is part of the name, or group and name are one path before a range.
            [first, second] => match (second.rsplit_once('/'), first.rsplit_once('/')) {
                (Some(path), _) if first.is_empty() => (path, ""),
                (_, Some(path)) if is_range(second) => (path, *second),
                _ => ((*first, *second), ""),
            },
            [group, name, range] => ((*group, *name), *range),
            _ => {
                return Err(format!("the dependency `{text}` has more than three parts between colons"));
            }
        };
        if name.is_empty() {
            return Err(format!("the dependency `{text}` has no package name"));
        }
        let group = group.strip_prefix("/etc/packages/").unwrap_or(group);
        if group.starts_with('/') {
            return Err(format!(
                "the dependency `{text}` is on a group that begins with a slash: FileVault keeps it there and drops it \
                 from the groups of packages, so that none is ever found. Leave the slash out"
            ));
        }
        if blank(group) || blank(name) {
            return Err(format!(
                "the dependency `{text}` is on the package `{group}:{name}` to FileVault, and no package is named with a \
                 blank at an end"
            ));
        }
        Ok(Self { group: group.to_owned(), name: name.to_owned(), range: VersionRange::parse(range)? })
    }

    /// Whether a package satisfies it.
    #[must_use]
    pub fn matches(&self, id: &PackageId) -> bool {
        self.group == id.group() && self.name == id.name() && self.range.contains(&Version::new(id.version()))
    }

    /// `group:name`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.group, self.name)
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.name)?;
        if self.range.text.is_empty() { Ok(()) } else { write!(f, ":{}", self.range.text) }
    }
}

/// Whether FileVault takes the second of two parts for a range: of the brackets it asks for `)` where it means `(`, so that
/// a range in round ones is read as a name.
fn is_range(part: &str) -> bool {
    part.is_empty() || part.starts_with(|c: char| c.is_ascii_digit() || "[)".contains(c))
}

/// Parses a comma list. Commas inside a range count as such only when the range follows a colon directly; empty
/// items are skipped.
///
/// # Errors
/// The rule that an item breaks.
pub fn parse_list(text: &str) -> Result<Vec<Dependency>, String> {
    let mut out = Vec::new();
    let text = if text.trim().is_empty() { "" } else { text };
    let mut start = 0;
    let mut in_range = false;
    let mut previous = ' ';
    let mut item = |piece: &str| -> Result<(), String> {
        if !piece.is_empty() {
            out.push(Dependency::parse(piece)?);
        }
        Ok(())
    };
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' if previous == ':' => in_range = true,
            ']' | ')' => in_range = false,
            ',' if !in_range => {
                item(&text[start..at])?;
                start = at + 1;
            }
            _ => {}
        }
        previous = c;
    }
    item(&text[start..])?;
    if out.len() > 1000 {
        return Err("more than 1000 dependencies".to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges() {
        for (range, version, inside) in [
            ("", "", true),
            ("", "9", true),
            ("1.2", "1.2", true),
            ("1.2", "3", true),
            ("1.2", "1.1", false),
            ("[1,2]", "2", true),
            ("[1,2)", "2", false),
            ("(1,2]", "1", false),
            ("(1,2)", "1.5", true),
            ("[1,)", "99", true),
            ("[,2]", "0.1", true),
            ("[,.]", "3", true),
            ("[,2]", "2.1", false),
            ("[1.0,1.0]", "1.0.0", true),
            ("[1.0]", "1.0", true),
            ("[1.0]", "0.1", true),
            ("x(1,2]y", "1", false),
            ("[1.0,2.0)", "2.0-SNAPSHOT", true),
        ] {
            assert_eq!(
                VersionRange::parse(range).unwrap().contains(&Version::new(version)),
                inside,
                "{range} {version}"
            );
        }
        for bad in ["[2,1]", "(1,1]", "[1,1)", "[1,", "1,2]", "]1,2[", ","] {
            assert!(VersionRange::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists() {
        let shown = |text: &str| parse_list(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown("a:b:[1,2),c:d,,e:f:1.0"), ["a:b:[1,2)", "c:d", "e:f:1.0"]);
        assert_eq!(shown("foo,,bar"), [":foo", ":bar"]);
        assert_eq!(shown("grp/sub/name"), ["grp/sub:name"]);
        assert_eq!(shown("grp/name:1.0"), ["grp:name:1.0"]);
        assert_eq!(shown("grp/name:[1.0,2.0]"), ["grp:name:[1.0,2.0]"]);
        assert_eq!(shown("/etc/packages/my/grp:name:1"), ["my/grp:name:1"]);
        assert!(parse_list("a:b:c:d").is_err());
        assert_eq!(shown("grp/name:"), ["grp:name"]);
        assert_eq!(shown("grp:3d-viewer"), ["grp:3d-viewer"], "a name may begin with a digit");
        assert_eq!(shown(":grp/sub/name"), ["grp/sub:name"]);
        for of_no_package in ["/grp/name", "/etc/packages/name", "/grp:name", "//name"] {
            assert!(parse_list(of_no_package).unwrap_err().contains("Leave the slash out"), "{of_no_package}");
        }
        assert_eq!(shown("grp/name:(1,2]"), ["grp/name:(1,2]"]);
        assert!(parse_list("a:b, c:d").is_err() && parse_list("a:b: 1").is_ok() && parse_list(":").is_err());
        assert!(parse_list(" \n").unwrap().is_empty());
        // What FileVault cuts off leaves a blank at an end, or the colons do.
        assert!(
            parse_list("/ a/b:1").is_err() && parse_list("/etc/packages/ a:b").is_err() && parse_list("a: b").is_err()
        );
    }

    #[test]
    fn matching() {
        let id = PackageId::new("g", "n", "1.5").unwrap();
        assert!(Dependency::parse("g:n:[1,2)").unwrap().matches(&id));
        assert!(!Dependency::parse("g:n:[2,3)").unwrap().matches(&id));
        assert!(!Dependency::parse("g:m").unwrap().matches(&id));
    }
}
