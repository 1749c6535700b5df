//! What differs between the Environment where a release was tested and the one that it goes to: an approver should know
//! what the tests could not see. Computed from the two Environments alone; values of variables are never shown.

use std::{collections::BTreeMap, fmt::Display};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use launchway_crds::{
    Environment, PipelineExecution,
    environment::{EnvironmentSpec, Resources, Tier},
    step::StepName,
};

use super::tree::Around;
use crate::{
    plan::environment::strategy,
    text::{clip, one_line},
};

/// Lines at most: a report that nobody reads helps nobody.
const LINES_MAX: usize = 16;
/// Names in one line at most.
const NAMES_MAX: usize = 8;
/// Longest value that is shown.
const VALUE_MAX: usize = 90;

/// Both Environments of an execution that waits for somebody to let its release into production.
#[must_use]
pub fn at_the_gate<'a>(
    execution: &PipelineExecution,
    around: &'a Around,
) -> Option<(&'a Environment, &'a Environment)> {
    let status = execution.status.as_ref()?;
    let step = status.waiting_for.as_ref()?.step;
    if !matches!(step, StepName::ApprovalProduction | StepName::Schedule | StepName::Managed) {
        return None;
    }
    let names = status.environments.as_ref()?;
    let of = |name: &Option<String>| around.environments.get(name.as_ref()?);
    Some((of(&names.stage)?, of(&names.production)?))
}

/// What differs, a line each: what it is, then stage, then production.
#[must_use]
pub fn differences(stage: &Environment, production: &Environment) -> Vec<String> {
    let names = (stage.name_any(), production.name_any());
    let (one, other) = (&stage.spec, &production.spec);
    let mut report = Report { names, lines: vec![] };
    let runs = |environment: &Environment| {
        let deployed = environment.status.as_ref().and_then(|status| status.deployed.as_ref());
        deployed.map_or_else(
            || "no release".to_string(),
            |deployed| format!("{} of {}", deployed.release.digest().short(), one_line(&deployed.execution)),
        )
    };
    report.compare("runs now", &runs(stage), &runs(production));
    let base = |spec: &EnvironmentSpec, of: fn(&launchway_crds::environment::Runtime) -> Option<String>| {
        spec.runtime.as_ref().and_then(of).unwrap_or_else(|| "the installation's".into())
    };
    report.compare(
        "AEM base image",
        &base(one, |runtime| runtime.aem.as_ref().map(ToString::to_string)),
        &base(other, |runtime| runtime.aem.as_ref().map(ToString::to_string)),
    );
    report.compare(
        "dispatcher base image",
        &base(one, |runtime| runtime.dispatcher.as_ref().map(ToString::to_string)),
        &base(other, |runtime| runtime.dispatcher.as_ref().map(ToString::to_string)),
    );
    report.variables(one, other);
    report.compare("pairs", &one.publish.replicas, &other.publish.replicas);
    report.compare("strategy", &format!("{:?}", strategy(one)), &format!("{:?}", strategy(other)));
    report.compare("ready time-out", &one.rollout.ready_timeout, &other.rollout.ready_timeout);
    for tier in Tier::ALL {
        report.resources(tier, resources(one, tier), resources(other, tier));
    }
    let storage = |spec: &EnvironmentSpec| {
        spec.author.storage.as_ref().map_or_else(|| "none".to_string(), |storage| storage.size.0.clone())
    };
    report.compare("author's volume", &storage(one), &storage(other));
    report.compare("drain seconds", &one.dispatcher.drain_seconds, &other.dispatcher.drain_seconds);
    report.compare("warm-up", &one.dispatcher.warm_up.join(" "), &other.dispatcher.warm_up.join(" "));
    let policies = |spec: &EnvironmentSpec| format!("{:?}", spec.network.policies);
    report.compare("network policies", &policies(one), &policies(other));
    report.bounded()
}

/// How the packages of a release differ from those of the one that production runs, as far as both executions are there:
/// what is new, what is gone, and what comes in another version.
#[must_use]
pub fn packages(coming: &PipelineExecution, there: Option<&PipelineExecution>) -> Vec<String> {
    let of = |execution: &PipelineExecution| -> Option<BTreeMap<String, String>> {
        let artifact = execution.status.as_ref()?.artifact.as_ref()?;
        let ids = artifact.files.iter().filter_map(|file| file.id.as_deref()?.rsplit_once(':'));
        Some(ids.map(|(name, version)| (name.to_string(), version.to_string())).collect())
    };
    let Some((coming, there)) = of(coming).zip(there.and_then(of)) else { return vec![] };
    let missing = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let names = one.iter().filter(|(name, _)| !other.contains_key(*name));
        names.map(|(name, version)| format!("{name}:{version}")).collect::<Vec<_>>()
    };
    let changed = coming.iter().filter_map(|(name, version)| {
        let old = there.get(name).filter(|old| *old != version)?;
        Some(format!("{name} {old} → {version}"))
    });
    let lines = [
        ("packages that are new", missing(&coming, &there)),
        ("packages that go away", missing(&there, &coming)),
        ("packages of another version", changed.collect()),
    ];
    let told = lines.iter().filter(|(_, names)| !names.is_empty());
    told.map(|(what, names)| format!("{what}: {}", listed(names))).collect()
}

const fn resources(spec: &EnvironmentSpec, tier: Tier) -> &Resources {
    match tier {
        Tier::Author => &spec.author.resources,
        Tier::Publish => &spec.publish.resources,
        Tier::Dispatcher => &spec.dispatcher.resources,
    }
}

struct Report {
    names: (String, String),
    lines: Vec<String>,
}

impl Report {
    fn compare<T: PartialEq + Display>(&mut self, what: &str, one: &T, other: &T) {
        if one != other {
            let shown = |value: &T| {
                let text = one_line(&value.to_string());
                if text.is_empty() { "none".to_string() } else { clip(&text, VALUE_MAX) }
            };
            let (stage, production) = &self.names;
            self.lines.push(format!("{what}: {stage} {}, {production} {}", shown(one), shown(other)));
        }
    }

    /// Variables by name alone: values may be what nobody should read here.
    fn variables(&mut self, one: &EnvironmentSpec, other: &EnvironmentSpec) {
        let by_name = |spec: &EnvironmentSpec| -> BTreeMap<String, serde_json::Value> {
            let all = spec.variables.iter();
            all.map(|variable| (variable.name.clone(), serde_json::to_value(variable).unwrap_or_default())).collect()
        };
        let (ours, theirs) = (by_name(one), by_name(other));
        let only = |of: &BTreeMap<String, serde_json::Value>, not_in: &BTreeMap<String, serde_json::Value>| {
            of.keys().filter(|name| !not_in.contains_key(*name)).cloned().collect::<Vec<_>>()
        };
        let changed: Vec<String> = ours
            .iter()
            .filter(|(name, value)| theirs.get(*name).is_some_and(|other| other != *value))
            .map(|(name, _)| name.clone())
            .collect();
        let (stage, production) = self.names.clone();
        for (what, names) in [
            (format!("variables on {stage} only"), only(&ours, &theirs)),
            (format!("variables on {production} only"), only(&theirs, &ours)),
            ("variables of other value or service".to_string(), changed),
        ] {
            if !names.is_empty() {
                self.lines.push(format!("{what}: {}", listed(&names)));
            }
        }
    }

    fn resources(&mut self, tier: Tier, one: &Resources, other: &Resources) {
        for (what, one, other) in [("requests", &one.requests, &other.requests), ("limits", &one.limits, &other.limits)]
        {
            self.compare(&format!("{} {what}", tier.as_str()), &amounts(one), &amounts(other));
        }
    }

    fn bounded(mut self) -> Vec<String> {
        let more = self.lines.len().saturating_sub(LINES_MAX);
        if more > 0 {
            self.lines.truncate(LINES_MAX.saturating_sub(1));
            self.lines.push(format!("and {} more", more + 1));
        }
        self.lines
    }
}

fn amounts(all: &BTreeMap<String, Quantity>) -> String {
    all.iter().map(|(name, amount)| format!("{name}={}", amount.0)).collect::<Vec<_>>().join(" ")
}

/// Names of a list, as many as can be read.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn environment(name: &str, type_: &str, spec: &Value) -> Environment {
        let mut whole = json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment", "metadata": { "name": name },
            "spec": { "type": type_ },
        });
        for (key, value) in spec.as_object().unwrap() {
            whole["spec"][key] = value.clone();
        }
        serde_json::from_value(whole).unwrap()
    }

    #[test]
    fn twins_differ_in_their_strategy_alone() {
        let (stage, production) =
            (environment("stage", "Stage", &json!({})), environment("prod", "Production", &json!({})));
        assert_eq!(differences(&stage, &production), ["strategy: stage AllAtOnce, prod Rolling"]);
    }

    #[test]
    fn an_approver_sees_what_the_tests_could_not_and_no_value_of_a_variable() {
        let stage = environment(
            "stage",
            "Stage",
            &json!({
                "rollout": { "strategy": "Rolling" },
                "variables": [{ "name": "KEY", "value": "stage-key" }, { "name": "DEBUG", "value": "1" }],
                "publish": { "resources": { "limits": { "memory": "1Gi" } } },
            }),
        );
        let production = environment(
            "prod",
            "Production",
            &json!({
                "variables": [{ "name": "KEY", "value": "prod-key" }, { "name": "CDN", "value": "https://cdn" }],
                "publish": { "replicas": 4, "resources": { "limits": { "memory": "4Gi", "cpu": "2" } } },
                "author": { "storage": { "size": "10Gi" } },
            }),
        );
        let told = differences(&stage, &production);
        assert_eq!(
            told,
            [
                "variables on stage only: DEBUG",
                "variables on prod only: CDN",
                "variables of other value or service: KEY",
                "pairs: stage 1, prod 4",
                "publish limits: stage memory=1Gi, prod cpu=2 memory=4Gi",
                "author's volume: stage none, prod 10Gi",
            ]
        );
    }

    #[test]
    fn packages_are_compared_with_those_that_production_has() {
        let execution = |ids: &[&str]| -> PipelineExecution {
            let files: Vec<Value> = ids
                .iter()
                .map(|id| json!({ "name": format!("{id}.zip"), "sha256": format!("sha256:{}", "0".repeat(64)), "size": 1, "id": id }))
                .collect();
            let mut execution = crate::cli::samples::waiting();
            let status = execution.status.as_mut().unwrap();
            let reference = format!("registry.example.com/wknd/artifacts@sha256:{}", "0".repeat(64));
            status.artifact = serde_json::from_value(json!({ "reference": reference, "files": files })).unwrap();
            execution
        };
        let (coming, there) = (execution(&["wknd:all:2", "wknd:new:1"]), execution(&["wknd:all:1", "wknd:old:3"]));
        assert_eq!(
            packages(&coming, Some(&there)),
            [
                "packages that are new: wknd:new:1",
                "packages that go away: wknd:old:3",
                "packages of another version: wknd:all 1 → 2",
            ]
        );
        assert_eq!(packages(&coming, Some(&coming)), Vec::<String>::new());
        assert_eq!(packages(&coming, None), Vec::<String>::new());
    }

    #[test]
    fn the_report_is_bounded() {
        let names: Vec<Value> =
            (0..100).map(|number| json!({ "name": format!("VAR_{number}"), "value": "x" })).collect();
        let stage = environment("stage", "Stage", &json!({ "variables": names }));
        let told = differences(&stage, &environment("prod", "Production", &json!({})));
        assert!(told.len() <= LINES_MAX && told.iter().all(|line| line.len() < 250), "{told:?}");
        assert!(told[0].ends_with("and 92 more"), "{}", told[0]);
    }
}
