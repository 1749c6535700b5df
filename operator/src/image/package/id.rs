//! Package identity.

use std::fmt;

use super::properties::Properties;
use crate::image::failure::Reason;

/// `group:name[:version]`. Equality and order are those of the strings: `1.0` and `1.0.0` are different packages.
/// Which of two versions is newer is a question for [`super::Version`], whose order is Maven's and not total in all
/// corners; nothing is ever sorted by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    group: String,
    name: String,
    version: String,
}

fn legal_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment.trim() == segment
        && segment != "."
        && segment != ".."
        && !segment.chars().any(|c| c.is_control() || matches!(c, '/' | ':' | '[' | ']' | '|' | '*' | '\\'))
}

/// A version as FileVault writes it.
fn written(version: &str) -> String {
    version.split('.').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join(".")
}

impl PackageId {
    /// Checks and joins the parts. A leading `/etc/packages/` or `/` of the group is dropped, as are empty segments of the
    /// version: `1..0` is `1.0`, as to FileVault.
    ///
    /// # Errors
    /// The code and rule that the parts break.
    pub fn new(group: &str, name: &str, version: &str) -> Result<Self, (Reason, String)> {
        let group = match group {
            "/etc/packages" => "",
            other => other.strip_prefix("/etc/packages/").or_else(|| other.strip_prefix('/')).unwrap_or(other),
        };
        if name.is_empty() {
            return Err((Reason::PackageIdMissing, "the name is missing".to_owned()));
        }
        let illegal = |what: &str, value: &str| {
            (
                Reason::PackageIdIllegal,
                format!(
                    "the {what} `{}` is not legal in a repository (no spaces at the ends, no / : [ ] | *)",
                    value.escape_debug()
                ),
            )
        };
        if group.len() + name.len() + version.len() > 400 {
            return Err((
                Reason::PackageIdIllegal,
                "group, name and version together are longer than 400 bytes".to_owned(),
            ));
        }
        if !group.is_empty() && !group.split('/').all(legal_segment) {
            return Err(illegal("group", group));
        }
        if !legal_segment(name) {
            return Err(illegal("name", name));
        }
        if !version.is_empty() && !legal_segment(version) {
            return Err(illegal("version", version));
        }
        Ok(Self { group: group.to_owned(), name: name.to_owned(), version: written(version) })
    }

    /// The identity that `properties.xml` states.
    ///
    /// # Errors
    /// As [`Self::new`], and when group or name is missing.
    pub fn from_properties(properties: &Properties) -> Result<Self, (Reason, String)> {
        let missing = |key: &str| {
            (Reason::PackageIdMissing, format!("the property `{key}` is missing, so the package has no id"))
        };
        let group = properties.get("group").ok_or_else(|| missing("group"))?;
        let name = properties.get("name").filter(|name| !name.is_empty()).ok_or_else(|| missing("name"))?;
        Self::new(group, name, properties.get("version").unwrap_or_default())
    }

    /// Group; may be empty.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version; may be empty.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `group:name`, the identity without version.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.group, self.name)
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.group, self.name)?;
        if self.version.is_empty() { Ok(()) } else { write!(f, ":{}", self.version) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn forms() {
        let id = PackageId::new("/etc/packages/my/group", "site", "1.0").unwrap();
        assert_eq!(id.to_string(), "my/group:site:1.0");
        assert_eq!(PackageId::new("g", "n", "").unwrap().to_string(), "g:n");
        assert_eq!(PackageId::new("/etc/packages", "n", ".1..0.").unwrap().to_string(), ":n:1.0");
        assert_ne!(PackageId::new("g", "n", "1.0").unwrap(), PackageId::new("g", "n", "1.0.0").unwrap());
    }

    #[test]
    fn illegal() {
        for (group, name, version) in [
            ("g", "tmp ", "1"),
            ("g", "", "1"),
            ("g//h", "n", "1"),
            ("g", "a:b", "1"),
            ("g", "n", "1/2"),
            ("../x", "n", ""),
            ("g", "a\\b", ""),
        ] {
            assert!(PackageId::new(group, name, version).is_err(), "{group}:{name}:{version}");
        }
    }
}
