//! Package types and what they forbid (`aem-artifacts.md` §1.8).

use super::rules::RuleId;
use crate::image::package::filter::{Filter, WorkspaceFilter};
use crate::image::package::{Properties, nested};

/// What the entries of a package showed.
#[derive(Debug, Default, Clone)]
pub struct Shape {
    /// First install hook.
    pub hook: Option<String>,
    /// First entry that is content, not a bundle, configuration, package or folder.
    pub content: Option<String>,
    /// First access control list.
    pub access: Option<String>,
    /// First index definition.
    pub index: Option<String>,
    /// First entry below /libs.
    pub libs: Option<String>,
}

fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a root is in the part of the repository that belongs to the image.
fn immutable(root: &str) -> bool {
    below(root, "/apps") || below(root, "/libs")
}

/// Whether a root is in the part that changes at run time. Index definitions are neither: they are deployed as code.
/// Below /etc/packages are sub packages, which say themselves where they belong.
fn mutable(root: &str) -> bool {
    !immutable(root) && !below(root, "/oak:index") && !below(root, "/etc/packages")
}

const SHARED: [&str; 17] = [
    "/",
    "/apps",
    "/libs",
    "/conf",
    "/conf/global",
    "/content",
    "/content/dam",
    "/content/experience-fragments",
    "/etc",
    "/etc/designs",
    "/home",
    "/home/groups",
    "/home/users",
    "/oak:index",
    "/system",
    "/tmp",
    "/var",
];

/// Checks properties, filter and shape of a package together.
pub fn check(
    properties: &Properties,
    filter: &WorkspaceFilter,
    has_dependencies: bool,
    shape: &Shape,
    problem: &mut dyn FnMut(RuleId, Option<&str>, String),
) {
    let roots: Vec<&Filter> = filter.filters.iter().filter(|filter| !filter.cleanup).collect();
    let first = |test: fn(&str) -> bool| roots.iter().map(|filter| filter.root.as_str()).find(|root| test(root));
    let (code, content) = (first(immutable), first(mutable));
    let declared = properties.get("packageType").map(|text| text.trim().to_ascii_lowercase()).unwrap_or_default();
    match declared.as_str() {
        "" => problem(RuleId::PackageTypeMissing, None, "it has no packageType".to_owned()),
        "mixed" => problem(RuleId::MixedPackageType, None, "it is of type mixed".to_owned()),
        "application" => {
            if let Some(root) = content {
                problem(
                    RuleId::PackageTypeContradiction,
                    Some(root),
                    format!("an application package has the root {root}"),
                );
            }
            if let Some(hook) = &shape.hook {
                problem(
                    RuleId::ApplicationWithHooks,
                    Some(hook),
                    "an application package has an install hook".to_owned(),
                );
            }
        }
        "content" => {
            if let Some(root) = code {
                problem(RuleId::PackageTypeContradiction, Some(root), format!("a content package has the root {root}"));
            }
            if let Some(index) = &shape.index {
                let message = "a content package has an index definition".to_owned();
                problem(RuleId::IndexNotUnderUIContent, Some(index), message);
            }
        }
        "container" => {
            if let Some(entry) = &shape.content {
                problem(RuleId::ContainerWithContent, Some(entry), "a container has content of its own".to_owned());
            }
            if has_dependencies {
                problem(RuleId::ContainerWithDependencies, None, "a container has dependencies".to_owned());
            }
        }
        other => problem(RuleId::PackageTypeUnknown, None, format!("the packageType {other} does not exist")),
    }
    if let (Some(code), Some(content)) = (code, content) {
        let message = format!("it has the roots {code} and {content}");
        problem(RuleId::ImmutableMutableMixedPackage, None, message.clone());
        if declared.is_empty() {
            problem(RuleId::MixedPackageType, None, message);
        }
    }
    check_filter(&roots, shape, problem);
    check_properties(properties, shape, problem);
}

fn check_filter(roots: &[&Filter], shape: &Shape, problem: &mut dyn FnMut(RuleId, Option<&str>, String)) {
    if roots.is_empty() {
        problem(RuleId::EmptyFilter, None, "its filter has no root".to_owned());
    }
    let libs = roots.iter().find(|filter| below(&filter.root, "/libs"));
    if let Some(filter) = libs {
        problem(RuleId::BannedPath, Some(&filter.root), format!("its filter covers {}", filter.root));
    } else if let Some(entry) = &shape.libs {
        problem(RuleId::BannedPath, Some(entry), "it has content below /libs".to_owned());
    }
    for filter in roots {
        let narrowed = filter.rules.iter().any(|rule| rule.include);
        if filter.mode == "replace" && !narrowed && SHARED.contains(&filter.root.as_str()) {
            let message = format!("it replaces all of {}", filter.root);
            problem(RuleId::FilterXmlModeAnalysis, Some(&filter.root), message);
        }
    }
}

fn check_properties(properties: &Properties, shape: &Shape, problem: &mut dyn FnMut(RuleId, Option<&str>, String)) {
    let is = |key: &str, value: &str| properties.get(key).is_some_and(|text| text.trim().eq_ignore_ascii_case(value));
    let external = properties.keys().find(|key| key.starts_with("installhook.") && key.ends_with(".class"));
    if let Some(hook) = shape.hook.as_deref().or(external) {
        problem(RuleId::InstallHook, Some(hook), "it has an install hook".to_owned());
    }
    if let Some(index) = &shape.index
        && !is("allowIndexDefinitions", "true")
    {
        problem(RuleId::AllowIndexDefinitionsMissing, Some(index), "allowIndexDefinitions is not true".to_owned());
    }
    let handling = properties.get("acHandling").map(str::trim).unwrap_or_default();
    if let Some(list) = &shape.access
        && (handling.is_empty() || handling.eq_ignore_ascii_case("ignore"))
    {
        problem(RuleId::AccessControlIgnored, Some(list), "acHandling is ignore".to_owned());
    }
    if is("requiresRoot", "true") {
        problem(RuleId::RequiresRoot, None, "it has requiresRoot".to_owned());
    }
    if is("requiresRestart", "true") {
        problem(RuleId::RequiresRestart, None, "it has requiresRestart".to_owned());
    }
    for option in nested::unknown_options(properties) {
        problem(RuleId::SubPackageHandlingUnknown, None, format!("the option {option} does not exist"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::package::{filter, properties};
    use crate::image::testzip;

    fn found(more: &[(&str, &str)], roots: &[&str], shape: &Shape) -> Vec<RuleId> {
        let properties = properties::parse(testzip::properties(more).as_bytes()).unwrap();
        let roots: String = roots.iter().map(|root| format!("<filter root='{root}'/>")).collect();
        let filter = filter::parse(format!("<workspaceFilter>{roots}</workspaceFilter>").as_bytes()).unwrap();
        let mut out = Vec::new();
        let needs = properties.get("dependencies").is_some();
        check(&properties, &filter, needs, shape, &mut |rule, _, _| out.push(rule));
        out
    }

    fn of_type(kind: &str, roots: &[&str]) -> Vec<RuleId> {
        found(&[("packageType", kind)], roots, &Shape::default())
    }

    #[test]
    fn good_packages_break_no_rule() {
        assert_eq!(of_type("application", &["/apps/a", "/oak:index/x"]), []);
        assert_eq!(of_type("Content", &["/content/a", "/conf/a"]), []);
        assert_eq!(of_type("container", &["/apps/a-packages", "/etc/packages/a.zip"]), []);
    }

    #[test]
    fn roots_and_types_agree() {
        assert_eq!(of_type("application", &["/content/a"]), [RuleId::PackageTypeContradiction]);
        assert_eq!(of_type("content", &["/apps/a"]), [RuleId::PackageTypeContradiction]);
        assert_eq!(of_type("other", &["/apps/a"]), [RuleId::PackageTypeUnknown]);
        assert_eq!(
            of_type("mixed", &["/apps/a", "/content/a"]),
            [RuleId::MixedPackageType, RuleId::ImmutableMutableMixedPackage]
        );
        let untyped = found(&[], &["/apps/a", "/content/a"], &Shape::default());
        assert_eq!(
            untyped,
            [RuleId::PackageTypeMissing, RuleId::ImmutableMutableMixedPackage, RuleId::MixedPackageType]
        );
    }

    #[test]
    fn banned_and_shared_roots() {
        assert_eq!(of_type("application", &["/libs/a"]), [RuleId::BannedPath]);
        assert_eq!(of_type("application", &["/libsx"]), [RuleId::PackageTypeContradiction]);
        let shape = Shape { libs: Some("/libs/x".into()), ..Shape::default() };
        assert_eq!(found(&[("packageType", "application")], &["/apps/a"], &shape), [RuleId::BannedPath]);
        assert_eq!(of_type("content", &["/content/dam"]), [RuleId::FilterXmlModeAnalysis]);
        assert_eq!(of_type("content", &[]), [RuleId::EmptyFilter]);
    }

    #[test]
    fn what_types_forbid() {
        let shape = Shape { hook: Some("h.jar".into()), ..Shape::default() };
        assert_eq!(
            found(&[("packageType", "application")], &["/apps/a"], &shape),
            [RuleId::ApplicationWithHooks, RuleId::InstallHook]
        );
        let shape = Shape { content: Some("x".into()), ..Shape::default() };
        assert_eq!(
            found(&[("packageType", "container"), ("dependencies", "a:b")], &["/apps/a"], &shape),
            [RuleId::ContainerWithContent, RuleId::ContainerWithDependencies]
        );
        let shape = Shape { index: Some("x".into()), ..Shape::default() };
        assert_eq!(
            found(&[("packageType", "content")], &["/oak:index/a"], &shape),
            [RuleId::IndexNotUnderUIContent, RuleId::AllowIndexDefinitionsMissing]
        );
    }

    #[test]
    fn properties_that_do_something() {
        let content = ("packageType", "content");
        let access = Shape { access: Some("x".into()), ..Shape::default() };
        assert_eq!(found(&[content], &["/content/a"], &access), [RuleId::AccessControlIgnored]);
        assert_eq!(found(&[content, ("acHandling", "merge")], &["/content/a"], &access), []);
        for (property, rule) in [
            (("installhook.a.class", "x.Y"), RuleId::InstallHook),
            (("requiresRoot", "true"), RuleId::RequiresRoot),
            (("requiresRestart", "true"), RuleId::RequiresRestart),
            (("subPackageHandling", "*;what"), RuleId::SubPackageHandlingUnknown),
        ] {
            assert_eq!(found(&[content, property], &["/content/a"], &Shape::default()), [rule]);
        }
    }
}
