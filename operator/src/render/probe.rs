//! Probes of the containers that serve, in the form that their base image's contract states.

use k8s_openapi::{
    api::core::v1::{ExecAction, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use launchway_crds::environment::Tier;

use crate::image::contract::Probe as Asked;

/// How often readiness is asked for, in seconds, and how many failures in a row end it. One may be the node's, which was too
/// busy to run a command in time. An author and a publish have nobody who takes over: that they are taken out of their
/// Service for a moment helps nobody. A dispatcher whose publish is gone has to leave soon. A pod that is being deleted
/// leaves at once, whatever these say, and one whose container ended is not ready from then on.
const READY: (i32, i32) = (3, 3);
const DISPATCHER_READY: (i32, i32) = (2, 2);
/// A start may take 300 s, or longer by as much as commands take longer than 2 s to answer. Until it is over, the kubelet
/// asks for nothing else: so as often as it costs little.
const START_BY_COMMAND: (i32, i32) = (2, 150);
const START_BY_HTTP: (i32, i32) = (1, 300);
/// A minute of silence, and the container is started again.
const LIVE: (i32, i32) = (10, 6);
/// Seconds until an answer is none.
const PATIENCE: i32 = 10;

/// Whether visitors may come.
pub(super) fn readiness(asked: &Asked, tier: Tier) -> Probe {
    let often = match tier {
        Tier::Dispatcher => DISPATCHER_READY,
        Tier::Author | Tier::Publish => READY,
    };
    probe(asked, often)
}

/// Whether it has started. A JVM may take long; until it did, only readiness speaks.
pub(super) fn startup(live: &Asked) -> Probe {
    match live {
        Asked::Command(_) => probe(live, START_BY_COMMAND),
        // A server that takes a connection and says nothing would make a start ten times as long.
        Asked::Http { .. } => Probe { timeout_seconds: Some(START_BY_HTTP.0), ..probe(live, START_BY_HTTP) },
    }
}

/// Whether it has to be started again.
pub(super) fn liveness(live: &Asked) -> Probe {
    probe(live, LIVE)
}

/// A command in the container.
pub(super) fn exec(command: &[String]) -> ExecAction {
    ExecAction { command: Some(command.to_vec()) }
}

fn probe(asked: &Asked, (period, failures): (i32, i32)) -> Probe {
    let (exec, http_get) = match asked {
        Asked::Command(command) => (Some(exec(command)), None),
        Asked::Http { path, port } => {
            let port = IntOrString::Int(i32::from(*port));
            (None, Some(HTTPGetAction { path: Some(path.clone()), port, ..HTTPGetAction::default() }))
        }
    };
    Probe {
        exec,
        http_get,
        period_seconds: Some(period),
        timeout_seconds: Some(PATIENCE),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        image::contract::Probes,
        render::tests::{dispatcher_pod, rendered},
    };

    use super::*;

    #[test]
    fn one_probe_that_a_busy_node_was_too_slow_for_takes_no_pod_out_of_its_service() {
        for (tier, period, failures) in [(Tier::Author, 3, 3), (Tier::Publish, 3, 3), (Tier::Dispatcher, 2, 2)] {
            let probe = rendered(tier)["spec"]["template"]["spec"]["containers"][0]["readinessProbe"].clone();
            assert_eq!(probe["exec"]["command"], json!(["/ready"]));
            assert_eq!(
                (&probe["periodSeconds"], &probe["failureThreshold"]),
                (&json!(period), &json!(failures)),
                "{tier:?}"
            );
            assert_eq!(probe["successThreshold"], 1, "what is good again serves at once");
        }
    }

    /// What stands in the templates of Environments that run: another word, and an upgrade of the operator would replace all pods.
    #[test]
    fn probes_by_command_are_what_they_were() {
        let probe = |command: &str, period, failures| {
            json!({
                "exec": { "command": [command] },
                "periodSeconds": period, "timeoutSeconds": 10, "failureThreshold": failures, "successThreshold": 1,
            })
        };
        let container = rendered(Tier::Publish)["spec"]["template"]["spec"]["containers"][0].clone();
        assert_eq!(container["readinessProbe"], probe("/ready", 3, 3));
        assert_eq!(container["startupProbe"], probe("/live", 2, 150));
        assert_eq!(container["livenessProbe"], probe("/live", 10, 6));
    }

    #[test]
    fn a_probe_by_http_starts_no_process() {
        let http = |path: &str| Asked::Http { path: path.into(), port: 9181 };
        let pod =
            dispatcher_pod(|contract| contract.probes = Probes { ready: http("/ready"), live: Some(http("/live")) });
        let container = &pod["containers"][0];
        for (name, path, period, failures, patience) in [
            ("readinessProbe", "/ready", 2, 2, 10),
            ("startupProbe", "/live", 1, 300, 1),
            ("livenessProbe", "/live", 10, 6, 10),
        ] {
            let wanted = json!({
                "httpGet": { "path": path, "port": 9181 },
                "periodSeconds": period, "timeoutSeconds": patience, "failureThreshold": failures, "successThreshold": 1,
            });
            assert_eq!(container[name], wanted, "{name}");
        }
        let ports = container["ports"].as_array().unwrap();
        assert!(
            ports.iter().all(|port| port["containerPort"] != 9181),
            "it is for the kubelet, which needs no name: {ports:?}"
        );
    }
}
