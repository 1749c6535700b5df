//! Rules about packages that are installed together.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::Findings;
use super::osgi;
use super::rules::RuleId;
use crate::image::package::{Filter, Package, ServiceTier};

/// Comparisons of roots, and of rules: a build with more has been told enough.
const COMPARISONS: usize = 200_000;
/// What the evaluation of one rule of a filter costs, in comparisons.
const RULE_COST: usize = 20;

/// Checks the packages of a build, in install order.
pub fn check(packages: &[Package], findings: &mut Findings) {
    check_overlaps(packages, findings);
    check_configurations(packages, findings);
    check_tags(packages, findings);
    check_carriers(packages, findings);
}

/// A path and all paths above it, `/` included.
fn upwards(path: &str) -> impl Iterator<Item = &str> {
    let above = path.rmatch_indices('/').map(move |(at, _)| if at == 0 { "/" } else { &path[..at] });
    std::iter::once(path).chain(above.filter(move |above| *above != path))
}

fn share_a_service(a: &Package, b: &Package) -> bool {
    a.tiers.iter().any(|tier| b.tiers.contains(tier))
}

fn check_overlaps(packages: &[Package], findings: &mut Findings) {
    let mut owners: BTreeMap<&str, BTreeMap<usize, &Filter>> = BTreeMap::new();
    for (at, package) in packages.iter().enumerate() {
        for filter in package.filter.filters.iter().filter(|filter| !filter.cleanup) {
            owners.entry(&filter.root).or_default().entry(at).or_insert(filter);
        }
    }
    let mut cost = 0;
    let mut told: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (root, inner) in owners.iter().filter(|(root, _)| !root.starts_with("/etc/packages")) {
        for above in upwards(root) {
            let Some(outer) = owners.get(above) else { continue };
            for ((one, own), (other, theirs)) in
                inner.iter().flat_map(|one| outer.iter().map(move |other| (one, other)))
            {
                cost += 1;
                if cost > COMPARISONS {
                    return;
                }
                let pair = (*one.min(other), *one.max(other));
                if one == other || (above == *root && one < other) || told.contains(&pair) {
                    continue;
                }
                cost += RULE_COST * (own.rules.len() + theirs.rules.len());
                let covers = |filter: &Filter| filter.covers(root) == Some(true);
                if share_a_service(&packages[*one], &packages[*other]) && covers(own) && covers(theirs) {
                    // Further roots of the same two packages say nothing new.
                    told.insert(pair);
                    overlap((&packages[*one], own), (&packages[*other], theirs), findings);
                }
            }
        }
    }
}

fn overlap((one, own): (&Package, &Filter), (other, theirs): (&Package, &Filter), findings: &mut Findings) {
    let replaces = own.mode == "replace" && theirs.mode == "replace";
    let rule = if replaces { RuleId::PackageOverlaps } else { RuleId::OverlappingFilter };
    let message = format!(
        "{} (mode {}) and {} (root {}, mode {}) both write {}",
        one.id, own.mode, other.id, theirs.root, theirs.mode, own.root
    );
    findings.entry(rule, &one.file, &own.root, message);
}

fn check_configurations(packages: &[Package], findings: &mut Findings) {
    let mut known: BTreeMap<(String, String), Vec<(&Package, &str)>> = BTreeMap::new();
    for package in packages {
        for config in &package.facts.configs {
            let mut modes: Vec<&str> = config.modes.split('.').collect();
            modes.sort_unstable();
            known.entry((config.pid.clone(), modes.join("."))).or_default().push((package, &config.path));
        }
    }
    for ((pid, modes), mut places) in known {
        places.sort_by_key(|(_, path)| *path);
        let active = |package: &Package| -> Vec<ServiceTier> {
            package.tiers.iter().filter(|tier| osgi::services(&modes).contains(tier)).copied().collect()
        };
        let Some(((winner, first), others)) = places.split_first() else { continue };
        for (package, path) in others {
            if !active(package).iter().any(|tier| active(winner).contains(tier)) {
                continue;
            }
            let modes = if modes.is_empty() { "all run modes".to_owned() } else { format!("run modes {modes}") };
            let message = format!(
                "{pid} for {modes} is also {first} in {}; the smallest path wins, which is {first}",
                winner.file
            );
            findings.entry(RuleId::DuplicateOsgiConfigurations, &package.file, path, message);
        }
    }
}

fn check_tags(packages: &[Package], findings: &mut Findings) {
    let mut indexes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        for (tag, index) in &package.facts.tags {
            indexes.entry(tag).or_default().insert(index);
        }
    }
    for (tag, names) in indexes.iter().filter(|(_, names)| names.len() > 1) {
        let names: Vec<&str> = names.iter().copied().take(5).collect();
        findings.file(RuleId::SameTagInMultipleIndexes, "", format!("the tag {tag} is in {}", names.join(", ")));
    }
}

fn check_carriers(packages: &[Package], findings: &mut Findings) {
    let carriers: Vec<&Package> = packages.iter().filter(|package| package.facts.carrier).collect();
    for package in packages {
        for dependency in &package.dependencies {
            if let Some(carrier) = carriers.iter().find(|carrier| dependency.matches(&carrier.id)) {
                let message = format!("{} needs {dependency}, and {} only carries others", package.id, carrier.id);
                findings.file(RuleId::DependencyOnContainer, &package.file, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::blob::Hasher;
    use crate::image::checks::{Config, Facts, Profile};
    use crate::image::package::{PackageId, dependency, filter};

    fn package(name: &str, filters: &str) -> Package {
        Package {
            id: PackageId::new("g", name, "1").unwrap(),
            sha256: Hasher::of(name.as_bytes()),
            size: 1,
            file: format!("{name}.zip"),
            tiers: ServiceTier::BOTH.to_vec(),
            dependencies: Vec::new(),
            package_type: None,
            filter: filter::parse(format!("<workspaceFilter>{filters}</workspaceFilter>").as_bytes()).unwrap(),
            embedded_in: None,
            skipped: false,
            facts: Facts::default(),
        }
    }

    fn found(packages: &[Package]) -> Vec<RuleId> {
        let mut findings = Findings::new(Profile::CloudService);
        check(packages, &mut findings);
        findings.finish(100).0.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn overlaps_are_told_once_a_pair() {
        let a = || package("a", "<filter root='/apps/a'/><filter root='/apps/b'/>");
        assert_eq!(found(&[a(), package("b", "<filter root='/apps/a'/>")]), [RuleId::PackageOverlaps]);
        assert_eq!(
            found(&[a(), package("b", "<filter root='/apps/a/x'/><filter root='/apps/b'/>")]),
            [RuleId::PackageOverlaps]
        );
        assert_eq!(found(&[a(), package("b", "<filter root='/apps/a/x' mode='merge'/>")]), [RuleId::OverlappingFilter]);
        assert_eq!(found(&[package("b", "<filter root='/'/>"), a()]), [RuleId::PackageOverlaps]);
        assert_eq!(found(&[a(), package("b", "<filter root='/apps/aa'/>")]), []);
    }

    #[test]
    fn excluded_paths_do_not_overlap() {
        let a = package("a", "<filter root='/apps/a'><exclude pattern='/apps/a/x(/.*)?'/></filter>");
        assert_eq!(found(&[a, package("b", "<filter root='/apps/a/x'/>")]), []);
        let cleanup = package("a", "<filter root='/apps/a' type='cleanup'/>");
        assert_eq!(found(&[cleanup, package("b", "<filter root='/apps/a/x'/>")]), []);
        let mut author = package("a", "<filter root='/apps/a'/>");
        author.tiers = vec![ServiceTier::Author];
        let mut publish = package("b", "<filter root='/apps/a'/>");
        publish.tiers = vec![ServiceTier::Publish];
        assert_eq!(found(&[author, publish]), []);
    }

    fn with_config(name: &str, path: &str, modes: &str) -> Package {
        let mut out = package(name, "");
        out.facts.configs = vec![Config { path: path.to_owned(), pid: "p".to_owned(), modes: modes.to_owned() }];
        out
    }

    #[test]
    fn configurations_clash_only_in_the_same_run_modes() {
        let a = with_config("a", "/apps/a/config/p.cfg.json", "");
        assert_eq!(found(&[a.clone(), with_config("b", "/apps/b/config.author/p.config", "author")]), []);
        let b = with_config("b", "/apps/b/config/p.config", "");
        assert_eq!(found(&[a.clone(), b.clone()]), [RuleId::DuplicateOsgiConfigurations]);
        let mut findings = Findings::default();
        check(&[b, a], &mut findings);
        let finding = findings.finish(9).0.remove(0);
        assert!(finding.message.contains("/apps/a/config/p.cfg.json in a.zip"), "{}", finding.message);
        assert_eq!(finding.file, "b.zip");
    }

    #[test]
    fn configurations_of_other_services_do_not_clash() {
        let mut author = with_config("a", "/apps/a/config/p.config", "");
        author.tiers = vec![ServiceTier::Author];
        let mut publish = with_config("b", "/apps/b/config/p.config", "");
        publish.tiers = vec![ServiceTier::Publish];
        assert_eq!(found(&[author, publish]), []);
    }

    #[test]
    fn tags_and_carriers() {
        let mut a = package("a", "");
        a.facts.tags = vec![("t".into(), "x".into()), ("t".into(), "x".into())];
        let mut b = package("b", "");
        b.facts.tags = vec![("t".into(), "y".into())];
        assert_eq!(found(std::slice::from_ref(&a)), []);
        assert_eq!(found(&[a, b]), [RuleId::SameTagInMultipleIndexes]);
        let mut carrier = package("c", "");
        carrier.facts.carrier = true;
        let mut needs = package("d", "");
        needs.dependencies = dependency::parse_list("g:c").unwrap();
        assert_eq!(found(&[carrier, needs]), [RuleId::DependencyOnContainer]);
    }
}
