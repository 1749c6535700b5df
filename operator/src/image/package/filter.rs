//! `filter.xml`: which paths a package owns.

use super::xml::{self, Node};

/// One include or exclude rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Include, else exclude.
    pub include: bool,
    /// Regular expression, as written.
    pub pattern: String,
}

/// One root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Absolute path.
    pub root: String,
    /// `replace`, `merge`, `update` …
    pub mode: String,
    /// `type="cleanup"`: removes only.
    pub cleanup: bool,
    /// Rules in order; the last match wins.
    pub rules: Vec<Rule>,
}

impl Filter {
    /// Whether the filter owns a path: below its root, and the last rule that matches it is an include. Without a match
    /// the first rule decides: behind an exclude everything else is included, and the reverse. `None`: a pattern cannot
    /// be evaluated (Java's regular expressions know more than ours).
    #[must_use]
    pub fn covers(&self, path: &str) -> Option<bool> {
        let inside = self.root == "/"
            || path.strip_prefix(&self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !inside {
            return Some(false);
        }
        let mut covered = self.rules.first().is_none_or(|rule| !rule.include);
        for rule in &self.rules {
            let pattern =
                regex::RegexBuilder::new(&format!("^(?:{})$", rule.pattern)).size_limit(PATTERN_BYTES).build();
            if pattern.ok()?.is_match(path) {
                covered = rule.include;
            }
        }
        Some(covered)
    }
}

/// All roots of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceFilter {
    /// In document order.
    pub filters: Vec<Filter>,
}

/// Largest compiled pattern: what a hostile one may take.
const PATTERN_BYTES: usize = 256 << 10;
const MODES: [&str; 5] = ["replace", "merge", "merge_properties", "update", "update_properties"];

/// Parses `filter.xml`.
///
/// # Errors
/// The rule that the document breaks.
pub fn parse(bytes: &[u8]) -> Result<WorkspaceFilter, String> {
    let mut out = WorkspaceFilter::default();
    let mut depth = 0;
    for node in xml::parse(bytes, None)? {
        match node {
            Node::Start(name, attributes) => {
                depth += 1;
                let attribute =
                    |key: &str| attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
                match (depth, name.as_str()) {
                    (1, "workspaceFilter") => {
                        if let Some(version) = attribute("version")
                            && version.parse::<f32>().is_ok_and(|number| number > 1.0)
                        {
                            return Err(format!("its version {version} is above 1.0"));
                        }
                    }
                    (2, "filter") => {
                        let root = attribute("root").filter(|root| !root.is_empty()).ok_or("a <filter> has no root")?;
                        if !root.starts_with('/') {
                            return Err(format!("the filter root `{root}` is not absolute"));
                        }
                        let mode = attribute("mode").unwrap_or("replace").to_ascii_lowercase();
                        if !MODES.contains(&mode.as_str()) {
                            return Err(format!("the filter mode `{mode}` is none of {}", MODES.join(", ")));
                        }
                        let root = Some(root.trim_end_matches('/')).filter(|root| !root.is_empty()).unwrap_or("/");
                        out.filters.push(Filter {
                            root: root.to_owned(),
                            mode,
                            cleanup: attribute("type") == Some("cleanup"),
                            rules: Vec::new(),
                        });
                    }
                    (3, "include" | "exclude") => {
                        let pattern = attribute("pattern").ok_or_else(|| format!("an <{name}> has no pattern"))?;
                        if let Some(filter) = out.filters.last_mut() {
                            filter.rules.push(Rule { include: name == "include", pattern: pattern.to_owned() });
                        }
                    }
                    (1, other) => {
                        return Err(format!("the root element is <{other}>, not <workspaceFilter>"));
                    }
                    (_, other) => return Err(format!("<{other}> is not expected there")),
                }
            }
            Node::End(_) => depth -= 1,
            Node::Text(_) => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roots_and_rules() {
        let parsed = parse(
            br#"<?xml version="1.0"?><workspaceFilter version="1.0">
            <!-- c --><filter root="/apps/a/" mode="merge"><exclude pattern="/apps/a/b(/.*)?"/></filter>
            <filter root="/content" type="cleanup"/></workspaceFilter>"#,
        )
        .unwrap();
        assert_eq!(parsed.filters.len(), 2);
        assert_eq!(parsed.filters[0].root, "/apps/a");
        assert!(!parsed.filters[0].rules[0].include);
        assert!(parsed.filters[1].cleanup);
        assert!(parse(b"<workspaceFilter/>").unwrap().filters.is_empty());
    }

    #[test]
    fn the_last_matching_rule_decides() {
        let filter = |rules: &str| {
            let text = format!("<workspaceFilter><filter root='/apps/a'>{rules}</filter></workspaceFilter>");
            parse(text.as_bytes()).unwrap().filters.remove(0)
        };
        let include = "<include pattern='/apps/a/b(/.*)?'/>";
        let exclude = "<exclude pattern='/apps/a/b/c'/>";
        for (rules, path, covered) in [
            (String::new(), "/apps/a", Some(true)),
            (String::new(), "/apps/ab", Some(false)),
            (include.to_owned(), "/apps/a/b/x", Some(true)),
            (include.to_owned(), "/apps/a/x", Some(false)),
            (exclude.to_owned(), "/apps/a/x", Some(true)),
            (exclude.to_owned(), "/apps/a/b/c", Some(false)),
            (format!("{include}{exclude}"), "/apps/a/b/c", Some(false)),
            (format!("{exclude}{include}"), "/apps/a/b/c", Some(true)),
            ("<exclude pattern='(?!x)y'/>".to_owned(), "/apps/a", None),
            (format!("<exclude pattern='{}'/>", "(a{1000}){1000}"), "/apps/a", None),
        ] {
            assert_eq!(filter(&rules).covers(path), covered, "{rules} {path}");
        }
    }

    #[test]
    fn refusals() {
        for bad in [
            "<filters/>",
            "<workspaceFilter><filter/></workspaceFilter>",
            "<workspaceFilter><filter root='apps'/></workspaceFilter>",
            "<workspaceFilter><filter root='/a' mode='x'/></workspaceFilter>",
            "<workspaceFilter><other/></workspaceFilter>",
            "<workspaceFilter version='2.0'/>",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
