//! Index definitions (`cloud-manager.md` §5.1, §6.7).

use std::collections::{BTreeMap, BTreeSet};

use super::docview::Node;
use super::rules::RuleId;

/// Product indexes that may not be changed.
const RESTRICTED: [&str; 6] =
    ["nodetypeLucene", "slingResourceResolver", "socialLucene", "appsLibsLucene", "authorizables", "pathReference"];
/// Product indexes that need a Tika configuration.
const WITH_TIKA: [&str; 3] = ["damAssetLucene", "lucene", "graphqlConfig"];
/// Tags of one package that are compared with those of others, and their length.
const TAGS: usize = 500;
const TAG_LENGTH: usize = 200;
const DEFINITION: &str = "oak:QueryIndexDefinition";
const DAM: &str = "damAssetLucene";

/// A rule that a definition breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The rule.
    pub rule: RuleId,
    /// Repository path concerned.
    pub path: String,
    /// What was found.
    pub message: String,
}

/// What a definition's name says: `NAME[-PRODUCTVERSION]-custom-NUMBER`.
struct Name<'a> {
    /// Without version and `-custom-…`.
    base: &'a str,
    /// It is a product index, changed.
    product: bool,
    /// The number behind `-custom-`.
    custom: Option<u64>,
}

fn name(text: &str) -> Name<'_> {
    let (rest, custom) = match text.rsplit_once("-custom-") {
        Some((rest, number)) => (rest, number.parse().ok()),
        None => (text.strip_suffix("-custom").unwrap_or(text), None),
    };
    match rest.rsplit_once('-') {
        Some((base, version)) if !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()) => {
            Name { base, product: true, custom }
        }
        _ => Name { base: rest, product: false, custom },
    }
}

/// Checks everything below `/oak:index` that one package brings.
#[must_use]
pub fn check(indexes: &Node) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, node) in &indexes.children {
        if node.primary_type() != DEFINITION {
            continue;
        }
        let name = name(key);
        versions.entry(name.base).or_default().push(key);
        let mut problem = |rule, below: &str, message: String| {
            out.push(Problem { rule, path: format!("/oak:index/{key}{below}"), message });
        };
        check_name(key, &name, &mut problem);
        check_properties(node, &name, &mut problem);
        check_rules(node, &name, &mut problem);
        check_descendants(node, &mut problem);
    }
    for (base, keys) in versions {
        if keys.len() > 1 {
            out.push(Problem {
                rule: RuleId::IndexDetectMultipleActiveVersionsOfSameIndex,
                path: format!("/oak:index/{}", keys[0]),
                message: format!("{base} is there as {}", keys.join(", ")),
            });
        }
    }
    out
}

/// Definitions in another place than directly below `/oak:index`: their paths relative to the node.
#[must_use]
pub fn misplaced(parent: &[String], node: &Node) -> Vec<String> {
    let base = format!("/{}", parent.join("/"));
    let mut out = Vec::new();
    node.visit(&mut |path, node| {
        if node.primary_type() != DEFINITION {
            return;
        }
        let whole = format!("{}{path}", base.trim_end_matches('/'));
        let direct = whole.strip_prefix("/oak:index/").is_some_and(|name| !name.contains('/'));
        if !direct {
            out.push(whole);
        }
    });
    out
}

/// Tags of each definition, by the index's name without versions.
#[must_use]
pub fn tags(indexes: &Node) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (key, node) in &indexes.children {
        if node.primary_type() == DEFINITION && key.len() <= TAG_LENGTH {
            let tags = node.values("tags").into_iter().filter(|tag| tag.len() <= TAG_LENGTH);
            out.extend(tags.take(TAGS - out.len()).map(|tag| (tag.to_owned(), name(key).base.to_owned())));
        }
    }
    out
}

type Report<'a> = dyn FnMut(RuleId, &str, String) + 'a;

fn check_name(key: &str, name: &Name<'_>, problem: &mut Report<'_>) {
    if name.custom.is_none() {
        problem(RuleId::IndexName, "", format!("the name {key} does not end in -custom-NUMBER"));
    } else if !name.product && !name.base.contains('.') {
        problem(RuleId::IndexValidFullyCustomName, "", format!("the name {key} has no prefix"));
    }
    if RESTRICTED.contains(&name.base) {
        problem(RuleId::RestrictIndexCustomization, "", format!("{} may not be changed", name.base));
    }
}

fn check_properties(node: &Node, name: &Name<'_>, problem: &mut Report<'_>) {
    let has = |property: &str| node.properties.contains_key(property);
    let kind = node.text("type").unwrap_or_default();
    if kind != "lucene" {
        problem(RuleId::IndexType, "", format!("its type is `{kind}`"));
    } else if node.values("async").is_empty() {
        problem(RuleId::IndexAsyncProperty, "", "it has no async".to_owned());
    }
    match node.text("compatVersion") {
        None => problem(RuleId::IndexCompatVersion, "", "it has no compatVersion".to_owned()),
        Some("2") => {}
        Some(other) => problem(RuleId::IndexCompatVersionValue, "", format!("its compatVersion is {other}")),
    }
    for (property, rule) in [
        ("seed", RuleId::IndexSeedProperty),
        ("reindex", RuleId::IndexReindexProperty),
        ("async-previous", RuleId::IndexUnsupportedAsyncPropertiesCheck),
    ] {
        if has(property) {
            problem(rule, "", format!("it has the property {property}"));
        }
    }
    let set = |property: &str| node.values(property).into_iter().collect::<BTreeSet<&str>>();
    if name.base == DAM {
        if has("queryPaths") {
            problem(RuleId::IndexDamAssetLucene, "", "it has queryPaths".to_owned());
        }
        if !set("tags").contains("visualSimilaritySearch") {
            problem(RuleId::IndexDamAssetLucene, "", "its tags lack visualSimilaritySearch".to_owned());
        }
    } else if set("includedPaths") != set("queryPaths") {
        let message = "includedPaths and queryPaths differ".to_owned();
        problem(RuleId::IndexIncludedPathsWithoutQueryPaths, "", message);
    }
    if WITH_TIKA.contains(&name.base) && node.child("tika").and_then(|tika| tika.child("config.xml")).is_none() {
        problem(RuleId::IndexTikaNode, "", "it has no tika/config.xml".to_owned());
    }
}

fn check_rules(node: &Node, name: &Name<'_>, problem: &mut Report<'_>) {
    let Some(rules) = node.child("indexRules").filter(|rules| !rules.children.is_empty()) else {
        problem(RuleId::IndexRulesNode, "", "it has no indexRules".to_owned());
        return;
    };
    let limited = !node.values("includedPaths").is_empty() && !node.values("queryPaths").is_empty();
    for (node_type, rule) in &rules.children {
        let below = format!("/indexRules/{node_type}");
        let properties = || rule.child("properties").into_iter().flat_map(|node| node.children.values());
        let fulltext = properties().any(|property| property.is_true("nodeScopeIndex"));
        if fulltext && !limited && matches!(node_type.as_str(), "nt:base" | "nt:unstructured") {
            problem(RuleId::IndexFulltextOnGenericType, &below, format!("nodeScopeIndex on {node_type}"));
        }
        if fulltext && node_type == "dam:Asset" && !name.base.starts_with(DAM) {
            let message = format!("a full-text index on dam:Asset is named {}", name.base);
            problem(RuleId::CustomFulltextIndexesOfTheDamAssetCheck, &below, message);
        }
        let mut seen = BTreeSet::new();
        for property in properties().filter_map(|property| property.text("name")) {
            if !seen.insert(property) {
                let message = format!("two properties have the name {property}");
                problem(RuleId::DuplicateNameProperty, &below, message);
            }
        }
    }
}

fn check_descendants(node: &Node, problem: &mut Report<'_>) {
    node.visit(&mut |path, below| {
        let spaced = |text: &str| text.contains("_x0020_") || text.contains(' ');
        if spaced(path.rsplit('/').next().unwrap_or_default()) || below.properties.keys().any(|name| spaced(name)) {
            problem(RuleId::PathSpacesCheck, path, "a name has a space".to_owned());
        }
        if below.properties.contains_key("haystack0") {
            problem(RuleId::HayStackPropertyCheck, path, "it has the property haystack0".to_owned());
        }
        if path.is_empty() || path == "/tika" || path.starts_with("/tika/") {
            return;
        }
        let kind = below.primary_type();
        if !kind.is_empty() && kind != "nt:unstructured" {
            problem(RuleId::IndexDescendantNodeType, path, format!("it is {kind}"));
        }
        let last = path.rsplit('/').next().unwrap_or_default();
        if path.starts_with("/analyzers/") && last != "tokenizer" && last.to_ascii_lowercase().contains("tokenizer") {
            problem(RuleId::AnalyzerTokenizerConfigCheck, path, format!("the tokenizer is named {last}"));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::docview;
    use super::*;

    fn found(key: &str, properties: &str, children: &str) -> Vec<RuleId> {
        let text = format!(
            r#"<jcr:root xmlns:jcr="http://www.jcp.org/jcr/1.0"><{key} jcr:primaryType="oak:QueryIndexDefinition" {properties}>{children}</{key}></jcr:root>"#
        );
        check(&docview::parse(text.as_bytes()).unwrap()).into_iter().map(|problem| problem.rule).collect()
    }

    const GOOD: &str = r#"type="lucene" async="[async,nrt]" compatVersion="{Long}2""#;
    const RULES: &str = r#"<indexRules jcr:primaryType="nt:unstructured"><a:b><properties><x name="x"/></properties></a:b></indexRules>"#;

    #[test]
    fn a_good_definition_breaks_no_rule() {
        assert_eq!(found("acme.site-custom-1", GOOD, RULES), []);
        let tika = format!("{RULES}<tika><config.xml/></tika>");
        let dam = format!(r#"{GOOD} tags="[visualSimilaritySearch]" includedPaths="/content/dam""#);
        assert_eq!(found("damAssetLucene-8-custom-2", &dam, &tika), []);
    }

    #[test]
    fn names() {
        assert_eq!(found("site", GOOD, RULES), [RuleId::IndexName]);
        assert_eq!(found("site-custom", GOOD, RULES), [RuleId::IndexName]);
        assert_eq!(found("site-custom-2", GOOD, RULES), [RuleId::IndexValidFullyCustomName]);
        assert_eq!(found("authorizables-2-custom-1", GOOD, RULES), [RuleId::RestrictIndexCustomization]);
    }

    #[test]
    fn properties() {
        let good = "acme.x-custom-1";
        assert_eq!(found(good, r#"type="property" compatVersion="2""#, RULES), [RuleId::IndexType]);
        assert_eq!(found(good, r#"type="lucene" compatVersion="2""#, RULES), [RuleId::IndexAsyncProperty]);
        assert_eq!(found(good, r#"type="lucene" async="async""#, RULES), [RuleId::IndexCompatVersion]);
        let one = r#"type="lucene" async="async" compatVersion="{Long}1""#;
        assert_eq!(found(good, one, RULES), [RuleId::IndexCompatVersionValue]);
        for (property, rule) in [
            (r#"seed="1""#, RuleId::IndexSeedProperty),
            (r#"reindex="{Boolean}false""#, RuleId::IndexReindexProperty),
            (r#"async-previous="x""#, RuleId::IndexUnsupportedAsyncPropertiesCheck),
            (r#"includedPaths="[/content]""#, RuleId::IndexIncludedPathsWithoutQueryPaths),
            (r#"haystack0="x""#, RuleId::HayStackPropertyCheck),
            (r#"a_x0020_b="x""#, RuleId::PathSpacesCheck),
        ] {
            assert_eq!(found(good, &format!("{GOOD} {property}"), RULES), [rule]);
        }
        let expected = [RuleId::IndexDamAssetLucene, RuleId::IndexDamAssetLucene, RuleId::IndexTikaNode];
        assert_eq!(found("damAssetLucene-8-custom-2", &format!(r#"{GOOD} queryPaths="/x""#), RULES), expected);
        assert_eq!(found("lucene-2-custom-1", GOOD, RULES), [RuleId::IndexTikaNode]);
    }

    #[test]
    fn rules_and_descendants() {
        let good = "acme.x-custom-1";
        assert_eq!(found(good, GOOD, "<indexRules/>"), [RuleId::IndexRulesNode]);
        let rule = |node_type: &str, properties: &str| {
            format!("<indexRules><{node_type}><properties>{properties}</properties></{node_type}></indexRules>")
        };
        let scope = r#"<x nodeScopeIndex="{Boolean}true"/>"#;
        assert_eq!(found(good, GOOD, &rule("nt:base", scope)), [RuleId::IndexFulltextOnGenericType]);
        assert_eq!(found(good, GOOD, &rule("dam:Asset", scope)), [RuleId::CustomFulltextIndexesOfTheDamAssetCheck]);
        assert_eq!(found(good, GOOD, &rule("a:b", r#"<x name="p"/><y name="p"/>"#)), [RuleId::DuplicateNameProperty]);
        let typed = format!(r#"{RULES}<aggregates jcr:primaryType="nt:folder"/>"#);
        assert_eq!(found(good, GOOD, &typed), [RuleId::IndexDescendantNodeType]);
        let analyzer = format!("{RULES}<analyzers><default><Tokenizer/></default></analyzers>");
        assert_eq!(found(good, GOOD, &analyzer), [RuleId::AnalyzerTokenizerConfigCheck]);
    }

    #[test]
    fn several_versions_and_wrong_places() {
        let text = r#"<jcr:root xmlns:jcr="x"><a.b-custom-1 jcr:primaryType="oak:QueryIndexDefinition"/><a.b-custom-2 jcr:primaryType="oak:QueryIndexDefinition"/></jcr:root>"#;
        let node = docview::parse(text.as_bytes()).unwrap();
        assert!(
            check(&node).iter().any(|problem| problem.rule == RuleId::IndexDetectMultipleActiveVersionsOfSameIndex)
        );
        assert_eq!(misplaced(&["oak:index".to_owned()], &node), Vec::<String>::new());
        assert_eq!(misplaced(&["apps".to_owned()], &node), ["/apps/a.b-custom-1", "/apps/a.b-custom-2"]);
    }
}
