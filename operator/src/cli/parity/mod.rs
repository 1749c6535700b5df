//! What differs between the Environment where a release was tested and the one that it goes to: an approver should know
//! what the tests could not see. Computed from the two Environments alone; values of variables are never shown.
//!
//! Every field of an Environment's spec is taken apart here by name, so that a new one does not compile before somebody has
//! decided whether it is compared.

mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use launchway_crds::{
    Environment, PipelineExecution,
    digest::ImageRef,
    environment::{AuthorTier, DispatcherTier, EnvironmentSpec, PublishTier, Resources, Rollout, Runtime, Storage},
    guard::MetricGuard,
    network::{AuthorRoute, Network, Peer, Route},
    restore::OlderReleases,
    step::StepName,
};

use self::report::{Report, listed};
use super::tree::Around;
use crate::{plan::environment::strategy, text::one_line};

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
    let of = |name: Option<&String>| around.environments.get(name?);
    // A production-only pipeline has no stage of its own.
    Some((of(names.stage.as_ref().or(around.tested_on.as_ref()))?, of(names.production.as_ref())?))
}

/// What differs, a line each: what it is, then stage, then production.
#[must_use]
pub fn differences(stage: &Environment, production: &Environment) -> Vec<String> {
    let (one, other) = (&stage.spec, &production.spec);
    let mut report = Report::on(stage.name_any(), production.name_any());
    report.compare("runs now", &release(stage), &release(production));
    for ((what, one), (_, other)) in bases(one).iter().zip(&bases(other)) {
        report.compare(what, one, other);
    }
    report.entries("variables", "of other value or service", &variables(one), &variables(other));
    for ((what, one), (_, other)) in traits(one).iter().zip(&traits(other)) {
        report.compare(what, one, other);
    }
    report.entries("route annotations", "of other value", &annotations(one), &annotations(other));
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

/// A trait of an Environment: what it is called, and how it is here.
type Trait = (&'static str, String);

fn release(environment: &Environment) -> String {
    let deployed = environment.status.as_ref().and_then(|status| status.deployed.as_ref());
    deployed.map_or_else(
        || "no release".to_string(),
        |deployed| format!("{} of {}", deployed.release.digest().short(), one_line(&deployed.execution)),
    )
}

fn bases(spec: &EnvironmentSpec) -> [Trait; 2] {
    let (aem, dispatcher) = spec.runtime.as_ref().map_or((None, None), |runtime| {
        let Runtime {
            aem,
            dispatcher,
            // How images are fetched, not what they are.
            image_pull_secrets: _,
            // It concerns an Environment that nothing was deployed to.
            bare: _,
        } = runtime;
        (aem.as_ref(), dispatcher.as_ref())
    });
    let told = |image: Option<&ImageRef>| image.map_or_else(|| "the installation's".into(), ToString::to_string);
    [("AEM base image", told(aem)), ("dispatcher base image", told(dispatcher))]
}

fn variables(spec: &EnvironmentSpec) -> BTreeMap<&str, serde_json::Value> {
    let all = spec.variables.iter();
    all.map(|variable| (variable.name.as_str(), serde_json::to_value(variable).unwrap_or_default())).collect()
}

fn annotations(spec: &EnvironmentSpec) -> BTreeMap<&str, &str> {
    let all = spec.route.iter().flat_map(|route| &route.annotations);
    all.map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// What is compared besides base images and what has a name of its own, in the order of the report.
fn traits(spec: &EnvironmentSpec) -> Vec<Trait> {
    let EnvironmentSpec {
        // They differ by what they are.
        type_: _,
        // Compared as `bases`, and as `variables`.
        runtime: _,
        variables: _,
        author,
        publish,
        dispatcher,
        rollout,
        // Who may leave out tests, and when a deployment may begin: not how the release runs. Who waits for it is told.
        emergency_mode: _,
        hold: _,
        windows: _,
        route,
        network,
    } = spec;
    let AuthorTier { resources: of_author, storage } = author;
    let PublishTier { replicas, resources: of_publish } = publish;
    let DispatcherTier { resources: of_dispatcher, drain_seconds, warm_up } = dispatcher;
    let Rollout {
        // Compared as what it comes to: the default is that of the type.
        strategy: _,
        surge,
        ready_timeout,
        on_failure,
        guard,
    } = rollout;
    let mut all = vec![
        ("pairs", replicas.to_string()),
        ("strategy", format!("{:?}", strategy(spec))),
        ("surge pairs", surge.to_string()),
        ("ready time-out", ready_timeout.to_string()),
        ("a rollout that fails", format!("{on_failure:?}")),
        ("metric guard", guard.as_ref().map_or_else(String::new, watched)),
    ];
    all.extend(amounts(["author requests", "author limits"], of_author));
    all.extend(amounts(["publish requests", "publish limits"], of_publish));
    all.extend(amounts(["dispatcher requests", "dispatcher limits"], of_dispatcher));
    all.extend([
        ("author's volume", storage.as_ref().map_or_else(String::new, volume)),
        ("drain seconds", drain_seconds.to_string()),
        ("warm-up", warm_up.join(" ")),
    ]);
    all.extend(ways_in(route.as_ref()));
    let Network { policies, author_from, publish_from } = network;
    all.extend([
        ("network policies", format!("{policies:?}")),
        ("also reach the author", peers(author_from)),
        ("also reach publish", peers(publish_from)),
    ]);
    all
}

fn watched(guard: &MetricGuard) -> String {
    let MetricGuard { watch, minimum_requests, error_increase_points, latency_increase_milliseconds, without_data } =
        guard;
    format!(
        "{watch}, errors +{error_increase_points} points, mean +{latency_increase_milliseconds} ms, of {minimum_requests} requests, else {without_data:?}"
    )
}

fn volume(storage: &Storage) -> String {
    let Storage {
        size,
        storage_class_name,
        // It concerns the deletion of the Environment.
        retain: _,
        older_releases,
    } = storage;
    let class = storage_class_name.as_ref().map(|class| format!(" of class {class}")).unwrap_or_default();
    let older = match older_releases {
        OlderReleases::Refuse => "",
        OlderReleases::Accept => ", older releases accepted",
    };
    format!("{}{class}{older}", size.0)
}

/// Routes by what is behind their names, which differ by what they are.
fn ways_in(route: Option<&Route>) -> [Trait; 2] {
    let tls = |secret: &Option<String>| if secret.is_some() { "Ingress with TLS" } else { "Ingress" };
    let (visitors, editors) = route.map_or_else(Default::default, |route| {
        let Route {
            hosts: _,
            tls_secret_name,
            ingress_class_name,
            // Compared by their keys.
            annotations: _,
            author,
        } = route;
        let class = ingress_class_name.as_ref().map(|class| format!(" of class {class}")).unwrap_or_default();
        let editors = author.as_ref().map(|AuthorRoute { hosts: _, tls_secret_name }| tls(tls_secret_name));
        (format!("{}{class}", tls(tls_secret_name)), editors.unwrap_or_default().to_string())
    });
    [("route of visitors", visitors), ("route of editors", editors)]
}

fn peers(all: &[Peer]) -> String {
    let pairs = |labels: &BTreeMap<String, String>| {
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    };
    let told = all.iter().map(|Peer { pod_labels, namespace_labels, cidr }| {
        let (pods, namespaces) = (pairs(pod_labels), pairs(namespace_labels));
        let parts = [("", cidr.clone().unwrap_or_default()), ("pods ", pods), ("namespaces ", namespaces)];
        let parts = parts.iter().filter(|(_, part)| !part.is_empty());
        parts.map(|(what, part)| format!("{what}{part}")).collect::<Vec<_>>().join(" of ")
    });
    told.collect::<Vec<_>>().join("; ")
}

fn amounts([requested, limited]: [&'static str; 2], resources: &Resources) -> [Trait; 2] {
    let Resources { requests, limits } = resources;
    let told = |all: &BTreeMap<String, Quantity>| {
        all.iter().map(|(name, amount)| format!("{name}={}", amount.0)).collect::<Vec<_>>().join(" ")
    };
    [(requested, told(requests)), (limited, told(limits))]
}
