//! What pods say: ready or not, and why not, in words that a person can act on.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use launchway_crds::{conditions::truncate, environment::Tier, names::labels};

use crate::{
    error::{Error, bounded},
    plan::environment::world,
    render::workload::{CONFIG_TEST, CONTAINER},
};

use super::readiness;

/// Longest problem of one pod.
pub(super) const PROBLEM_MAX: usize = 400;

/// Facts about the pods of an Environment.
pub(super) async fn of_environment(
    client: &Client,
    namespace: &str,
    environment: &str,
) -> Result<Vec<world::Pod>, Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = ListParams::default().labels(&format!("{}={environment}", labels::ENVIRONMENT));
    let mut facts = vec![];
    for pod in bounded("list pods", pods.list(&selector)).await?.items {
        let Some((tier, ordinal)) = place(&pod) else { continue };
        let ready = is_ready(&pod);
        let (problem, hopeless) = if ready { (None, false) } else { why_not_ready(client, namespace, &pod).await? };
        facts.push(world::Pod {
            tier,
            ordinal,
            revision: pod.labels().get(labels::REVISION).cloned().unwrap_or_default(),
            ready,
            terminating: pod.metadata.deletion_timestamp.is_some(),
            problem,
            hopeless,
            asks: asks(&pod),
            runs: runs(&pod),
        });
    }
    Ok(facts)
}

fn place(pod: &Pod) -> Option<(Tier, i32)> {
    let tier = pod.labels().get(labels::TIER)?;
    let tier = Tier::ALL.into_iter().find(|candidate| candidate.as_str() == tier)?;
    let (_, ordinal) = pod.metadata.name.as_deref()?.rsplit_once('-')?;
    Some((tier, ordinal.parse().ok()?))
}

/// The image that the main container is asked to run.
fn asks(pod: &Pod) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter(|container| container.name == CONTAINER).find_map(|main| main.image.clone()).unwrap_or_default()
}

/// The image that the container runtime says the main container runs.
fn runs(pod: &Pod) -> String {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers
        .filter(|container| container.name == CONTAINER)
        .map(|main| main.image_id.clone())
        .next()
        .unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What keeps a pod from running, as far as its own status tells.
pub(super) fn problem(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        return Some(format!("cannot be scheduled: {}", condition.message.as_deref().unwrap_or_default()));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter_map(trouble).next().map(|text| truncate(&text, PROBLEM_MAX))
}

fn trouble(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if ["ContainerCreating", "PodInitializing"].contains(&reason) {
            return None;
        }
        let said = last.and_then(|last| last.message.as_deref()).or(waiting.message.as_deref()).unwrap_or_default();
        return Some(format!("{}: {reason}: {}", status.name, said.trim()));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let said = ended.message.as_deref().unwrap_or_default();
    Some(format!("{} exited with {}: {}", status.name, ended.exit_code, said.trim()))
}

/// Whether the configuration test failed, and failed again: the same files in the same image give the
/// same answer for ever. Once may be an accident of the node.
fn configuration_is_refused(pod: &Pod) -> bool {
    let tests = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    tests.filter(|test| test.name == CONFIG_TEST).any(|test| test.restart_count > 0 && !test.ready)
}

/// Why a pod is not ready, and whether waiting cannot help: its readiness command says that a
/// package failed to install (base-image contract).
async fn why_not_ready(client: &Client, namespace: &str, pod: &Pod) -> Result<(Option<String>, bool), Error> {
    if let Some(problem) = problem(pod) {
        return Ok((Some(problem), configuration_is_refused(pod)));
    }
    let running = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    if !running {
        return Ok((None, false));
    }
    Ok(readiness::said(client, namespace, pod).await?.map_or((None, false), readiness::Said::into_problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_is_refused_twice_is_hopeless() {
        for (restarts, ready, hopeless) in [(0, false, false), (1, false, true), (3, true, false)] {
            let pod: Pod = serde_json::from_value(serde_json::json!({
                "status": { "initContainerStatuses": [{
                    "name": "config-test", "image": "", "imageID": "", "ready": ready, "restartCount": restarts,
                }] },
            }))
            .unwrap();
            assert_eq!(configuration_is_refused(&pod), hopeless, "{restarts} {ready}");
        }
    }
}
