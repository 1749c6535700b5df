//! What pods say: ready or not, and why not, in words that a person can act on.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use kube::{Client, ResourceExt};
use launchway_crds::{conditions::truncate, environment::Tier, names::labels};

use crate::{
    context::Context,
    error::Error,
    plan::environment::world::{self, Silent},
    render::{
        configuration,
        service::METRICS_NAME,
        workload::{CONFIG_TEST, CONTAINER},
    },
};

use super::{fresh, log, now, readiness};

/// Longest problem of one pod, with the end of what its container left.
pub(super) const PROBLEM_MAX: usize = 480;

/// What is found of the pods of an Environment.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// For the planner.
    pub facts: Vec<world::Pod>,
    /// Configuration objects that they refer to.
    pub referred: BTreeSet<String>,
    /// Where dispatchers that are ready say what they have counted, by ordinal.
    pub counters: BTreeMap<i32, Result<SocketAddr, Silent>>,
}

/// Everything about the pods of an Environment.
pub(super) async fn of_environment(context: &Context, namespace: &str, environment: &str) -> Result<Found, Error> {
    let mut found = Found::default();
    for pod in fresh::of_environment::<Pod>(context, "list pods", namespace, environment).await? {
        found.referred.extend(pod.spec.iter().flat_map(configuration::referred));
        let Some((tier, ordinal)) = place(&pod) else { continue };
        let ready = is_ready(&pod);
        let Why { problem, since, troubled, hopeless, log } =
            if ready { Why::default() } else { why_not_ready(&context.client, namespace, &pod).await? };
        let terminating = pod.metadata.deletion_timestamp.is_some();
        if tier == Tier::Dispatcher && ready && !terminating {
            found.counters.insert(ordinal, counters_at(&pod));
        }
        found.facts.push(world::Pod {
            tier,
            ordinal,
            revision: pod.labels().get(labels::REVISION).cloned().unwrap_or_default(),
            ready,
            terminating,
            since: whole_seconds(since.or_else(|| is_so_since(&pod)).unwrap_or_else(now)),
            problem,
            troubled,
            hopeless,
            log,
            asks: asks(&pod),
            runs: runs(&pod),
        });
    }
    Ok(found)
}

/// Where a dispatcher says what it has counted.
fn counters_at(pod: &Pod) -> Result<SocketAddr, Silent> {
    let main = pod.spec.iter().flat_map(|spec| &spec.containers).find(|container| container.name == CONTAINER);
    let mut ports = main.iter().flat_map(|main| main.ports.iter().flatten());
    let named = ports.find(|port| port.name.as_deref() == Some(METRICS_NAME)).ok_or(Silent::NoPort)?;
    let port = u16::try_from(named.container_port).map_err(|_| Silent::NoPort)?;
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()?.parse().ok());
    Ok(SocketAddr::new(address.ok_or_else(|| Silent::Away("it has no address".into()))?, port))
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
    readiness_of(pod).is_some_and(|condition| condition.status == "True")
}

fn readiness_of(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Since when a pod is ready; or since when its container runs, or it is there, when it is not.
fn is_so_since(pod: &Pod) -> Option<Timestamp> {
    if let Some(ready) = readiness_of(pod).filter(|condition| condition.status == "True") {
        return ready.last_transition_time.as_ref().map(|at| at.0);
    }
    let container = running(pod).and_then(|main| main.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    container.or(pod.metadata.creation_timestamp.as_ref()).map(|at| at.0)
}

/// Not before that moment: a plan that waits for a time in whole seconds is not made again within that second.
fn whole_seconds(at: Timestamp) -> Timestamp {
    let whole = at.as_second().saturating_add(i64::from(at.subsec_nanosecond() > 0));
    Timestamp::from_second(whole).unwrap_or(at)
}

/// The container that runs.
fn running(pod: &Pod) -> Option<&ContainerStatus> {
    let mut all = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    all.find(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
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
        return Some(format!("{}: {reason}: {}", status.name, end(said)));
    }
    let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let said = ended.message.as_deref().unwrap_or_default();
    Some(format!("{} exited with {}: {}", status.name, ended.exit_code, end(said)))
}

/// The end of what a container left: the kubelet gives the end of its log, where the cause is.
fn end(said: &str) -> String {
    log::tail(said, log::TAIL_MAX).unwrap_or_default()
}

/// Whether the configuration test failed, and failed again: the same files in the same image give the
/// same answer for ever. Once may be an accident of the node.
fn configuration_is_refused(pod: &Pod) -> bool {
    let tests = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    tests.filter(|test| test.name == CONFIG_TEST).any(|test| test.restart_count > 0 && !test.ready)
}

/// Why a pod is not ready.
#[derive(Clone, Debug, Default)]
struct Why {
    problem: Option<String>,
    /// Since when its readiness probe says so.
    since: Option<Timestamp>,
    /// The kubelet names it.
    troubled: bool,
    /// Waiting cannot help: its readiness probe says that a package failed to install (base-image contract).
    hopeless: bool,
    /// The end of its log, when the problem does not have it.
    log: Option<String>,
}

async fn why_not_ready(client: &Client, namespace: &str, pod: &Pod) -> Result<Why, Error> {
    if let Some(problem) = problem(pod) {
        // A container that ended well, or was killed, leaves no message: its log may say more.
        let log = match silent(pod) {
            Some(container) => log::last(client, namespace, pod, container, true).await,
            None => None,
        };
        let hopeless = configuration_is_refused(pod);
        return Ok(Why { problem: Some(problem), since: None, troubled: true, hopeless, log });
    }
    let Some(container) = running(pod) else { return Ok(Why::default()) };
    let heard = readiness::heard(client, namespace, pod, &container.name).await?;
    let since = heard.said.as_ref().and_then(|said| said.since);
    let (problem, hopeless) = heard.said.map_or((None, false), readiness::Said::into_problem);
    Ok(Why { problem, since, troubled: false, hopeless, log: heard.tail })
}

/// A container that was started again and left no message when it ended.
fn silent(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let quiet = |container: &&ContainerStatus| {
        let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        last.is_some_and(|last| last.message.as_deref().unwrap_or_default().trim().is_empty())
    };
    containers.filter(quiet).map(|container| container.name.as_str()).next()
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

    #[test]
    fn since_when_a_pod_is_so_is_its_own_word() {
        let pod = |ready: &str, running: Option<&str>| {
            serde_json::from_value(serde_json::json!({
                "metadata": { "creationTimestamp": "2026-11-28T10:00:00Z" },
                "status": {
                    "conditions": [{ "type": "Ready", "status": ready, "lastTransitionTime": "2026-11-28T10:00:40Z" }],
                    "containerStatuses": [{
                        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                        "state": { "running": running.map(|at| serde_json::json!({ "startedAt": at })) },
                    }],
                },
            }))
            .unwrap()
        };
        let started = Some("2026-11-28T10:00:10Z");
        for (ready, running, since) in [("True", started, 40), ("False", started, 10), ("False", None, 0)] {
            let at = is_so_since(&pod(ready, running)).unwrap();
            assert_eq!(at.to_string(), format!("2026-11-28T10:00:{since:02}Z"));
        }
    }

    #[test]
    fn a_time_is_in_whole_seconds_and_never_earlier() {
        for (at, whole) in [("10:00:00", "10:00:00"), ("10:00:00.000000001", "10:00:01"), ("10:00:59.9", "10:01:00")] {
            let [at, whole] = [at, whole].map(|at| format!("2026-11-28T{at}Z").parse::<Timestamp>().unwrap());
            assert_eq!(whole_seconds(at), whole);
        }
    }

    #[test]
    fn counters_are_asked_for_at_the_port_of_their_name() {
        let at = |ports: serde_json::Value, ip: Option<&str>| {
            let pod = serde_json::json!({
                "spec": { "containers": [
                    { "name": "sidecar", "ports": [{ "name": "metrics", "containerPort": 1 }] },
                    { "name": "main", "ports": ports },
                ] },
                "status": { "podIP": ip },
            });
            counters_at(&serde_json::from_value(pod).unwrap())
        };
        let both = serde_json::json!([
            { "name": "http", "containerPort": 80 }, { "name": "metrics", "containerPort": 9180 },
        ]);
        assert_eq!(at(both.clone(), Some("10.42.0.7")), Ok("10.42.0.7:9180".parse().unwrap()));
        assert_eq!(at(both.clone(), Some("fd00::7")), Ok("[fd00::7]:9180".parse().unwrap()));
        assert!(matches!(at(both, None), Err(Silent::Away(_))));
        let one = serde_json::json!([{ "name": "http", "containerPort": 80 }]);
        assert_eq!(at(one, Some("10.42.0.7")), Err(Silent::NoPort));
    }

    #[test]
    fn a_container_that_ended_is_told_by_the_end_of_its_log() {
        let log =
            format!("{}AH00526: Syntax error on line 3 of /etc/httpd/x.vhost: Invalid command", "noise ".repeat(300));
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "status": { "initContainerStatuses": [{
                "name": "config-test", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s" } },
                "lastState": { "terminated": { "exitCode": 1, "message": log } },
            }] },
        }))
        .unwrap();
        let told = problem(&pod).unwrap();
        assert!(told.starts_with("config-test: CrashLoopBackOff: …") && told.ends_with("Invalid command"), "{told}");
        assert!(told.len() <= PROBLEM_MAX);
        assert_eq!(silent(&pod), None);
    }
}
