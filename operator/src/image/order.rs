//! One set of packages, in the order in which they have to be installed.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::{Findings, RuleId};
use super::failure::{ImageError, Reason, Refusal};
use super::package::{Package, PackageId, ServiceTier, Version};

/// Product packages that the runtime brings along: prefixes of `group:name`.
pub const DEFAULT_PROVIDED: [&str; 4] = ["day/", "adobe/cq", "com.day.cq", "com.adobe.cq"];

/// Removes packages that occur more than once and keeps the highest of several nested versions. What is inside a
/// package that is left out is left out with it.
///
/// # Errors
/// When one id has different content, or two versions are both at top level.
pub fn dedupe(packages: Vec<Package>, findings: &mut Findings) -> Result<Vec<Package>, ImageError> {
    let mut sorted = packages;
    // Top level first, so that the copy that is kept does not depend on the order of the files.
    sorted.sort_by(|a, b| (a.embedded_in.is_some(), &a.id, &a.file).cmp(&(b.embedded_in.is_some(), &b.id, &b.file)));
    check_conflicts(&sorted)?;
    drop_older(&mut sorted, findings);
    let mut by_id: BTreeMap<PackageId, Package> = BTreeMap::new();
    for package in sorted {
        let Some(known) = by_id.get_mut(&package.id) else {
            by_id.insert(package.id.clone(), package);
            continue;
        };
        if known.embedded_in.is_none() && package.embedded_in.is_some() {
            let message = format!("{} is also embedded in {}", known.id, package.file);
            findings.file(RuleId::DuplicatePackage, &known.file, message);
        }
        let tiers: BTreeSet<ServiceTier> = known.tiers.iter().chain(&package.tiers).copied().collect();
        known.tiers = tiers.into_iter().collect();
    }
    Ok(by_id.into_values().collect())
}

fn check_conflicts(packages: &[Package]) -> Result<(), ImageError> {
    let mut by_id: BTreeMap<&PackageId, &Package> = BTreeMap::new();
    let mut top: BTreeMap<String, &Package> = BTreeMap::new();
    for package in packages {
        let known = by_id.entry(&package.id).or_insert(package);
        if known.sha256 != package.sha256 {
            return Err(Refusal::new(
                Reason::ConflictingPackages,
                &package.file,
                format!("the package {} is also in {} with other content", package.id, known.file),
                "Give one of them another version, or deliver it once",
            )
            .into());
        }
        if package.embedded_in.is_some() {
            continue;
        }
        let known = top.entry(package.id.key()).or_insert(package);
        if known.id != package.id {
            return Err(Refusal::new(
                Reason::SeveralVersions,
                &package.file,
                format!("{} and {} are two versions of one package", known.id, package.id),
                "Deliver one version; clean the build folders before building",
            )
            .into());
        }
    }
    Ok(())
}

/// Leaves out older versions and everything inside of them, until nothing changes: what was inside may itself have been
/// the highest version of something.
fn drop_older(packages: &mut Vec<Package>, findings: &mut Findings) {
    loop {
        let mut highest: BTreeMap<String, PackageId> = BTreeMap::new();
        for package in packages.iter() {
            let best = highest.entry(package.id.key()).or_insert_with(|| package.id.clone());
            if newer(&package.id, best) {
                *best = package.id.clone();
            }
        }
        let before = packages.len();
        let mut dropped: BTreeSet<PackageId> = BTreeSet::new();
        packages.retain(|package| {
            let best = highest.get(&package.id.key()).unwrap_or(&package.id);
            if *best == package.id {
                return true;
            }
            let message = format!("{} is left out: {best} of the same package is newer", package.id);
            findings.file(RuleId::OlderVersion, &package.file, message);
            dropped.insert(package.id.clone());
            false
        });
        while !dropped.is_empty() {
            let mut inside = BTreeSet::new();
            packages.retain(|package| {
                let orphan = package.embedded_in.as_ref().is_some_and(|container| dropped.contains(container));
                if orphan {
                    inside.insert(package.id.clone());
                }
                !orphan
            });
            // The same package may still be somewhere else; then what is inside of it stays.
            inside.retain(|id| !packages.iter().any(|package| package.id == *id));
            dropped = inside;
        }
        if packages.len() == before {
            return;
        }
    }
}

/// Orders packages so that each comes behind what it depends on and behind its container.
///
/// # Errors
/// When a dependency is not satisfied on a service where the package goes, or packages depend on each other.
pub fn order(packages: Vec<Package>, provided: &[String], findings: &mut Findings) -> Result<Vec<Package>, ImageError> {
    let mut packages = packages;
    packages.sort_by(|a, b| a.id.cmp(&b.id));
    let index: BTreeMap<PackageId, usize> =
        packages.iter().enumerate().map(|(at, package)| (package.id.clone(), at)).collect();
    let mut edges: Vec<Vec<usize>> = Vec::with_capacity(packages.len());
    for package in &packages {
        let mut needs = Vec::new();
        if let Some(container) = &package.embedded_in
            && let Some(at) = index.get(container)
        {
            needs.push(*at);
        }
        for dependency in &package.dependencies {
            let matching: Vec<usize> = (0..packages.len()).filter(|at| dependency.matches(&packages[*at].id)).collect();
            let missing: Vec<&str> = package
                .tiers
                .iter()
                .filter(|tier| !matching.iter().any(|at| packages[*at].tiers.contains(tier)))
                .map(|tier| tier.as_str())
                .collect();
            if !missing.is_empty() {
                let key = dependency.key();
                if !provided.iter().any(|prefix| key.starts_with(prefix.as_str())) {
                    return Err(unresolved(package, dependency, &missing, &packages).into());
                }
                let message = format!("{dependency} is expected from the runtime");
                findings.file(RuleId::ProvidedDependency, &package.file, message);
            }
            needs.extend(matching);
        }
        edges.push(needs);
    }
    let sequence = depth_first(&edges).map_err(|cycle| {
        let names: Vec<String> = cycle.iter().map(|at| packages[*at].id.to_string()).collect();
        let first = &packages[cycle[0]];
        Refusal::new(
            Reason::DependencyCycle,
            &first.file,
            format!("packages depend on each other: {}", names.join(" -> ")),
            "Remove one of these dependencies",
        )
    })?;
    let mut slots: Vec<Option<Package>> = packages.into_iter().map(Some).collect();
    Ok(sequence.into_iter().filter_map(|at| slots.get_mut(at).and_then(Option::take)).collect())
}

fn unresolved(
    package: &Package,
    dependency: &super::package::Dependency,
    missing: &[&str],
    all: &[Package],
) -> Refusal {
    let same: Vec<String> = all
        .iter()
        .filter(|other| other.id.group() == dependency.group && other.id.name() == dependency.name)
        .map(|other| {
            let tiers: Vec<&str> = other.tiers.iter().map(|tier| tier.as_str()).collect();
            format!("{} on {}", other.id, tiers.join(" and "))
        })
        .collect();
    let near: Vec<String> =
        all.iter().filter(|other| other.id.name() == dependency.name).map(|other| other.id.to_string()).collect();
    let candidates = match (same.is_empty(), near.is_empty()) {
        (false, _) => format!("the artifact has {}", same.join(", ")),
        (true, false) => format!("the artifact has no such package, but {}", near.join(", ")),
        (true, true) => "the artifact has no package of that name".to_owned(),
    };
    Refusal::new(
        Reason::UnresolvedDependency,
        &package.file,
        format!("{} needs {dependency} on {}, and {candidates}", package.id, missing.join(" and ")),
        "Deliver the missing package, correct the range, or list it as provided when the base image brings it along",
    )
}

/// Post-order over the graph, without recursion, each node once. The error is a cycle, first node repeated at its end.
fn depth_first(edges: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; edges.len()];
    let mut out = Vec::with_capacity(edges.len());
    for root in 0..edges.len() {
        if marks[root] != Mark::New {
            continue;
        }
        let mut stack = vec![(root, 0_usize)];
        marks[root] = Mark::Open;
        while let Some((node, next)) = stack.last_mut() {
            let node = *node;
            let Some(&target) = edges[node].get(*next) else {
                marks[node] = Mark::Done;
                out.push(node);
                stack.pop();
                continue;
            };
            *next += 1;
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::Open;
                    stack.push((target, 0));
                }
                Mark::Open => {
                    let mut cycle: Vec<usize> =
                        stack.iter().map(|(at, _)| *at).skip_while(|at| *at != target).collect();
                    cycle.push(target);
                    return Err(cycle);
                }
                Mark::Done => {}
            }
        }
    }
    Ok(out)
}

/// Whether a version is newer than another, for callers that compare ids.
#[must_use]
pub fn newer(a: &PackageId, b: &PackageId) -> bool {
    Version::new(a.version()) > Version::new(b.version())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::blob::Hasher;
    use super::super::checks::Facts;
    use super::super::package::{WorkspaceFilter, dependency};
    use super::*;

    fn package(id: &str, needs: &str) -> Package {
        let parts: Vec<&str> = id.split(':').collect();
        Package {
            id: PackageId::new(parts[0], parts[1], parts[2]).unwrap(),
            sha256: Hasher::of(id.as_bytes()),
            size: 1,
            file: format!("{}.zip", parts[1]),
            tiers: ServiceTier::BOTH.to_vec(),
            dependencies: dependency::parse_list(needs).unwrap(),
            package_type: None,
            filter: WorkspaceFilter::default(),
            embedded_in: None,
            skipped: false,
            facts: Facts::default(),
        }
    }

    fn names(packages: &[Package]) -> Vec<&str> {
        packages.iter().map(|package| package.id.name()).collect()
    }

    fn reason(result: Result<Vec<Package>, ImageError>) -> (Reason, String) {
        match result {
            Err(ImageError::Refused(refusal)) => (refusal.reason, refusal.rule.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn dependencies_first_whatever_the_input_order() {
        let set =
            vec![package("g:a:1", "g:c"), package("g:b:1", ""), package("g:c:1", "g:b:[1,2)"), package("g:d:1", "g:a")];
        let mut reversed = set.clone();
        reversed.reverse();
        for input in [set, reversed] {
            assert_eq!(names(&order(input, &[], &mut Findings::default()).unwrap()), ["b", "c", "a", "d"]);
        }
    }

    #[test]
    fn cycles_are_named() {
        let set = vec![package("g:a:1", "g:b"), package("g:b:1", "g:c"), package("g:c:1", "g:b")];
        let (code, rule) = reason(order(set, &[], &mut Findings::default()));
        assert_eq!(code, Reason::DependencyCycle);
        assert!(rule.contains("g:b:1 -> g:c:1 -> g:b:1"), "{rule}");
        assert_eq!(
            reason(order(vec![package("g:a:1", "g:a")], &[], &mut Findings::default())).0,
            Reason::DependencyCycle
        );
    }

    #[test]
    fn unresolved_names_candidates() {
        let set = vec![package("g:a:1", "g:b:[2,3)"), package("g:b:1.5", "")];
        let (code, rule) = reason(order(set, &[], &mut Findings::default()));
        assert_eq!(code, Reason::UnresolvedDependency);
        assert!(rule.contains("g:b:1.5"), "{rule}");
        let mut findings = Findings::default();
        let set = vec![package("g:a:1", "day/cq60/product:cq-content:6.3.64")];
        assert_eq!(order(set, &["day/".into()], &mut findings).unwrap().len(), 1);
        assert_eq!(findings.finish(9).0.len(), 1);
    }

    #[test]
    fn dependencies_hold_on_every_service() {
        let mut only_author = package("g:b:1", "");
        only_author.tiers = vec![ServiceTier::Author];
        let (code, rule) =
            reason(order(vec![package("g:a:1", "g:b"), only_author.clone()], &[], &mut Findings::default()));
        assert_eq!(code, Reason::UnresolvedDependency);
        assert!(rule.contains("on publish"), "{rule}");
        let mut dependent = package("g:a:1", "g:b");
        dependent.tiers = vec![ServiceTier::Author];
        assert!(order(vec![dependent, only_author], &[], &mut Findings::default()).is_ok());
    }

    #[test]
    fn duplicates_and_versions() {
        let mut nested = package("g:a:1", "");
        nested.embedded_in = Some(PackageId::new("g", "all", "1").unwrap());
        let mut findings = Findings::default();
        let kept = dedupe(vec![nested.clone(), package("g:a:1", "")], &mut findings).unwrap();
        assert_eq!((kept.len(), kept[0].embedded_in.is_none(), findings.finish(9).0.len()), (1, true, 1));
        let mut other = nested.clone();
        other.sha256 = Hasher::of(b"other");
        assert_eq!(
            reason(dedupe(vec![nested.clone(), other], &mut Findings::default())).0,
            Reason::ConflictingPackages
        );
        assert_eq!(
            reason(dedupe(vec![package("g:a:1", ""), package("g:a:2", "")], &mut Findings::default())).0,
            Reason::SeveralVersions
        );
        let mut newer = package("g:a:10", "");
        newer.embedded_in = nested.embedded_in.clone();
        let mut inside = package("g:x:1", "");
        inside.embedded_in = Some(nested.id.clone());
        let kept = dedupe(vec![inside, nested, newer], &mut Findings::default()).unwrap();
        assert_eq!((kept.len(), kept[0].id.version()), (1, "10"));
    }

    #[test]
    fn diamonds_are_linear() {
        let mut set = vec![package("g:p0:1", ""), package("g:q0:1", "")];
        for level in 1..60 {
            let needs = format!("g:p{},g:q{}", level - 1, level - 1);
            set.push(package(&format!("g:p{level}:1"), &needs));
            set.push(package(&format!("g:q{level}:1"), &needs));
        }
        assert_eq!(order(set, &[], &mut Findings::default()).unwrap().len(), 120);
    }
}
