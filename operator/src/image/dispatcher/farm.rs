//! Rules about farms (`aem-artifacts.md` §3.5): where sections come from, and what the filter lets through.

use std::collections::BTreeSet;

use regex::Regex;

use super::any::{self, Item, Text};
use super::{BaseFiles, DispatcherTree, links};
use crate::image::checks::{Remark, RuleId};
use crate::image::classify::Flavour;

const FARMS: &str = "conf.dispatcher.d/enabled_farms/";
/// Includes inside of includes.
const INCLUDES: usize = 8;
/// Patterns of all filters of a configuration that are looked at: what is behind them is not judged.
const PATTERNS: usize = 1_500;
/// Largest file that is read.
const FILE_BYTES: usize = 1 << 20;
/// Bytes of an included file that count as much as one pattern.
const BYTES_A_PATTERN: usize = 1 << 10;
/// Longest pattern, and its largest compiled form.
const PATTERN_LENGTH: usize = 1_000;
const PATTERN_BYTES: usize = 64 << 10;

/// Sections of the cloud service that are files of their own: place in the farm, and the files that it may be.
const SECTIONS: [(&str, &[&str]); 7] = [
    ("clientheaders", &["../clientheaders/clientheaders.any", "../clientheaders/default_clientheaders.any"]),
    ("virtualhosts", &["../virtualhosts/virtualhosts.any", "../virtualhosts/default_virtualhosts.any"]),
    ("renders", &["../renders/default_renders.any"]),
    ("filter", &["../filters/filters.any", "../filters/default_filters.any"]),
    ("cache/rules", &["../cache/rules.any", "../cache/default_rules.any"]),
    ("cache/allowedClients", &["../cache/default_invalidate.any"]),
    ("cache/ignoreUrlParams", &["../cache/marketing_query_parameters.any"]),
];
/// Sections that must come from the base's file.
const FROM_BASE: [&str; 2] = ["renders", "cache/allowedClients"];

/// Requests that must not get through: path without extension, extension, whole URL.
const ADMIN: [(&str, &str, &str); 4] = [
    ("/crx/de/index", "jsp", "/crx/de/index.jsp"),
    ("/crx/packmgr/index", "jsp", "/crx/packmgr/index.jsp"),
    ("/system/console", "", "/system/console"),
    ("/system/console/bundles", "", "/system/console/bundles"),
];

/// Checks every enabled farm.
pub(super) fn check(tree: &DispatcherTree, base: &BaseFiles) -> Vec<Remark> {
    let mut out = Vec::new();
    let mut patterns = PATTERNS;
    let cloud = tree.flavour != Flavour::Ams;
    let suffix = if cloud { ".farm" } else { "_farm.any" };
    for path in tree.nodes.range(FARMS.to_owned()..).map(|(path, _)| path).take_while(|path| path.starts_with(FARMS)) {
        let Some((_, bytes)) = links::content(tree, base, path).filter(|_| path.ends_with(suffix)) else { continue };
        let items = match parse(bytes) {
            Ok(items) => items,
            Err((line, problem)) => {
                out.push(Remark::new(RuleId::FarmSyntax, problem).at(&format!("{path}:{line}")));
                continue;
            }
        };
        for item in &items {
            let Item::Section(_, farm, line) = item else { continue };
            if cloud {
                check_sections(path, *line, farm, &mut out);
            }
            check_filter(&mut Filters { tree, base, patterns: &mut patterns }, path, farm, &mut out);
        }
    }
    out
}

fn parse(bytes: &[u8]) -> Result<Vec<Item>, (usize, String)> {
    if bytes.len() > FILE_BYTES {
        return Err((1, format!("it is larger than {FILE_BYTES} bytes and not checked")));
    }
    any::parse(&String::from_utf8_lossy(bytes))
}

fn check_sections(path: &str, line: usize, farm: &[Item], out: &mut Vec<Remark>) {
    let mut included = BTreeSet::new();
    let mut open: Vec<(String, &[Item])> = vec![(String::new(), farm)];
    while let Some((place, items)) = open.pop() {
        let allowed = SECTIONS.iter().find(|(section, _)| *section == place).map(|(_, files)| *files);
        for item in items {
            let mut tell = |rule, line: usize, message: String| {
                out.push(Remark::new(rule, message).at(&format!("{path}:{line}")));
            };
            match (item, allowed) {
                (Item::Section(name, inside, line), _) => {
                    if FROM_BASE.contains(&place.as_str()) {
                        tell(RuleId::FarmSectionNotIncluded, *line, format!("/{place} has /{name} of its own"));
                    }
                    let below = if place.is_empty() { name.clone() } else { format!("{place}/{name}") };
                    open.push((below, inside));
                }
                (Item::Include(file, line), Some(files)) => {
                    included.insert(place.clone());
                    if !files.contains(&file.as_str()) {
                        let message = format!("file included ({file}) must be named: {}", files.join(" or "));
                        tell(RuleId::FarmIncludeName, *line, message);
                    }
                }
                (Item::Include(file, line), None) => {
                    let message = format!("include statement ({file}) in /{place}, outside any known location");
                    tell(RuleId::FarmIncludeUnknown, *line, message);
                }
                (Item::Value(..) | Item::Bare(..), _) => {}
            }
        }
    }
    for section in FROM_BASE.iter().filter(|section| !included.contains(**section)) {
        let file = SECTIONS.iter().find(|(name, _)| name == section).map_or("", |(_, files)| files[0]);
        let message = format!("/{section} is not included from: {file}");
        out.push(Remark::new(RuleId::FarmSectionNotIncluded, message).at(&format!("{path}:{line}")));
    }
}

/// One rule of a filter, with the file and line it is in. A pattern that cannot be evaluated is `None`.
struct Rule {
    place: String,
    allow: bool,
    criteria: Vec<(String, Option<Regex>)>,
}

/// Reads filters, within a bound on all patterns of a configuration.
struct Filters<'a> {
    tree: &'a DispatcherTree,
    base: &'a BaseFiles,
    patterns: &'a mut usize,
}

impl Filters<'_> {
    /// The rules of a filter in order. `false`: some of them are in files that are not here.
    fn rules(&mut self, path: &str, items: &[Item], depth: usize, out: &mut Vec<Rule>) -> bool {
        let mut complete = true;
        for item in items {
            match item {
                Item::Section(_, values, line) => match self.rule(format!("{path}:{line}"), values) {
                    Some(rule) => out.push(rule),
                    None => return false,
                },
                Item::Include(file, _) if depth < INCLUDES => {
                    complete &= match self.included(path, file) {
                        Some((target, items)) => self.rules(&target, &items, depth + 1, out),
                        None => false,
                    };
                }
                Item::Include(..) => complete = false,
                Item::Value(..) | Item::Bare(..) => {}
            }
        }
        complete
    }

    /// An included file, as far as the bound on all patterns allows.
    fn included(&mut self, path: &str, file: &str) -> Option<(String, Vec<Item>)> {
        let (target, bytes) = links::content(self.tree, self.base, &links::join(path, file)?)?;
        *self.patterns = self.patterns.checked_sub(1 + bytes.len() / BYTES_A_PATTERN)?;
        Some((target, parse(bytes).ok()?))
    }

    fn rule(&mut self, place: String, values: &[Item]) -> Option<Rule> {
        let mut rule = Rule { place, allow: false, criteria: Vec::new() };
        for value in values {
            let Item::Value(name, text, _) = value else { continue };
            if name == "type" {
                rule.allow = text.as_str().eq_ignore_ascii_case("allow");
            } else {
                *self.patterns = self.patterns.checked_sub(1)?;
                rule.criteria.push((name.clone(), compile(text)));
            }
        }
        Some(rule)
    }
}

fn check_filter(filters: &mut Filters<'_>, path: &str, farm: &[Item], out: &mut Vec<Remark>) {
    let filter = farm.iter().find_map(|item| match item {
        Item::Section(name, items, _) if name == "filter" => Some(items),
        _ => None,
    });
    let Some(filter) = filter else { return };
    let mut found = Vec::new();
    let complete = filters.rules(path, filter, 0, &mut found);
    for rule in found.iter().filter(|rule| rule.allow && rule.criteria.iter().any(|(name, _)| name == "glob")) {
        let message = "filter must not use glob pattern to allow requests";
        out.push(Remark::new(RuleId::FilterGlobAllow, message).at(&rule.place));
    }
    if !complete {
        return;
    }
    for (stem, extension, url) in ADMIN {
        let request = Request { stem, extension, url };
        if let Some(rule) = let_through(&found, &request) {
            let message = format!("filter allows access to {url}");
            out.push(Remark::new(RuleId::FilterAllowsAdmin, message).at(&rule.place));
        }
    }
}

/// A GET request without selectors, suffix and query.
struct Request<'a> {
    stem: &'a str,
    extension: &'a str,
    url: &'a str,
}

/// The rule that lets a request through: the last one that matches decides. `None` also when a pattern of a rule behind
/// it cannot be evaluated: what is not certain is not reported.
fn let_through<'r>(rules: &'r [Rule], request: &Request<'_>) -> Option<&'r Rule> {
    for rule in rules.iter().rev() {
        let mut matches = true;
        for (name, pattern) in &rule.criteria {
            let line;
            let text = match name.as_str() {
                "method" => "GET",
                "url" => request.url,
                "path" => request.stem,
                "extension" => request.extension,
                "glob" => {
                    line = format!("GET {} HTTP/1.1", request.url);
                    &line
                }
                _ => "",
            };
            matches &= pattern.as_ref()?.is_match(text);
            if !matches {
                break;
            }
        }
        if matches {
            return rule.allow.then_some(rule);
        }
    }
    None
}

/// A pattern as a regular expression over the whole text.
fn compile(pattern: &Text) -> Option<Regex> {
    if pattern.as_str().len() > PATTERN_LENGTH {
        return None;
    }
    let source = match pattern {
        Text::Regex(source) => source.clone(),
        Text::Glob(glob) => glob_to_regex(glob),
    };
    regex::RegexBuilder::new(&format!("^(?:{source})$")).size_limit(PATTERN_BYTES).build().ok()
}

fn glob_to_regex(glob: &str) -> String {
    let mut out = String::new();
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => match rest.as_str().split_once(']') {
                Some((class, after)) if !class.is_empty() => {
                    let (not, class) = class.strip_prefix('!').map_or(("", class), |class| ("^", class));
                    out.push_str(&format!(
                        "[{not}{}]",
                        class.replace('\\', "\\\\").replace('[', "\\[").replace('&', "\\&")
                    ));
                    rest = after.chars();
                }
                _ => out.push_str("\\["),
            },
            other => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::dispatcher::Node;

    fn run(flavour: Flavour, farm: &str, filters: &str) -> Vec<(RuleId, String)> {
        let file = |text: &str| Node::File(text.as_bytes().to_vec());
        let name = if flavour == Flavour::Ams { "a_farm.any" } else { "a.farm" };
        let nodes = [
            (format!("{FARMS}{name}"), Node::Link(format!("../available_farms/{name}"))),
            (format!("conf.dispatcher.d/available_farms/{name}"), file(farm)),
            ("conf.dispatcher.d/filters/filters.any".to_owned(), file(filters)),
        ];
        let tree = DispatcherTree { flavour, nodes: nodes.into(), remarks: Vec::new(), changed: Vec::new() };
        check(&tree, &BaseFiles::unknown()).into_iter().map(|remark| (remark.rule, remark.entry.unwrap())).collect()
    }

    const GOOD: &str = "/f {\n/renders { $include \"../renders/default_renders.any\" }\n/filter { $include \"../filters/filters.any\" }\n/cache { /allowedClients { $include \"../cache/default_invalidate.any\" } }\n}";
    const DENY: &str = "/1 { /type \"deny\" /url \"*\" }\n";

    #[test]
    fn a_good_farm_breaks_no_rule() {
        assert_eq!(run(Flavour::Flexible, GOOD, DENY), []);
        assert_eq!(run(Flavour::Ams, "/f { /filter { } }", ""), []);
    }

    #[test]
    fn includes_have_their_places() {
        let with = |from: &str, to: &str| run(Flavour::Flexible, &GOOD.replace(from, to), DENY);
        let at = |rule, line: usize| vec![(rule, format!("{FARMS}a.farm:{line}"))];
        assert_eq!(with("default_renders", "mine"), at(RuleId::FarmIncludeName, 2));
        assert_eq!(with("$include \"../renders/default_renders.any\"", ""), at(RuleId::FarmSectionNotIncluded, 1));
        let own = "/0 { /hostname \"x\" } $include \"../renders/default_renders.any\"";
        assert_eq!(with("$include \"../renders/default_renders.any\"", own), at(RuleId::FarmSectionNotIncluded, 2));
        assert_eq!(with("/cache {", "/cache { $include \"x\""), at(RuleId::FarmIncludeUnknown, 4));
        assert_eq!(with("}\n}", "}\n"), at(RuleId::FarmSyntax, 1));
    }

    #[test]
    fn filters() {
        let rules = |filters: &str| run(Flavour::Flexible, GOOD, filters);
        let at = |rule, line: usize| (rule, format!("conf.dispatcher.d/filters/filters.any:{line}"));
        let glob = format!("{DENY}/2 {{ /type \"allow\" /glob \"GET /content*\" }}");
        assert_eq!(rules(&glob), [at(RuleId::FilterGlobAllow, 2)]);
        let open = format!("{DENY}/2 {{ /type \"allow\" /path \"/system/*\" }}");
        assert_eq!(rules(&open), vec![at(RuleId::FilterAllowsAdmin, 2); 2]);
        let all = "/2 { /type \"allow\" /url '/.*' }";
        assert_eq!(rules(all).len(), 4);
        assert_eq!(rules(&format!("{all}\n{DENY}")), []);
        let method = format!("{DENY}/2 {{ /type \"allow\" /method '(POST|PUT)' /url \"*\" }}");
        assert_eq!(rules(&method), []);
        let uncertain = format!("{open}\n/3 {{ /type \"allow\" /url '(?=x)' }}");
        assert_eq!(rules(&uncertain), []);
        assert_eq!(rules(&format!("{open}\n$include \"./default_filters.any\"")), []);
    }

    #[test]
    fn globs() {
        let is = |glob: &str, text: &str| compile(&Text::Glob(glob.to_owned())).unwrap().is_match(text);
        assert!(is("/content/[.]*", "/content/.x") && !is("/content/[.]*", "/content/x"));
        assert!(is("a?c", "abc") && is("[!a]b", "cb") && !is("[!a]b", "ab") && is("a[", "a[") && !is("a.c", "abc"));
    }
}
