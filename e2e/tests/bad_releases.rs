//! Releases that stage has passed and production cannot run: the old one is served throughout, and the status says in
//! seconds which pod it is, why, and what it said.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use launchway_crds::{conditions::reasons, names::labels, step::StepName};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    executions::{reason, step, told},
    failure::ensure,
    program::{Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};

const LONG: Duration = Duration::from_secs(240);
/// From what the kubelet knows to what the Environment's status says.
const TOLD: Duration = Duration::from_secs(30);

/// A release that fails on production alone.
struct Bad {
    name: &'static str,
    /// Variant of the demo site.
    variant: Option<&'static str>,
    /// What the stand-in is told.
    wishes: Option<&'static str>,
    /// The pod of production that cannot run: a part of the pair that is tried first.
    pod: &'static str,
    /// Words of the cause, as the pod says it.
    says: &'static [&'static str],
}

const BADS: [Bad; 4] = [
    Bad {
        name: "package-fails",
        variant: None,
        wishes: Some(r#"fails="the index is broken" runModes="publish,prod""#),
        pod: "publish-2",
        says: &["dev.launchway.e2e:launchway-standin:1.0.0", "the index is broken"],
    },
    Bad {
        name: "broken-vhost",
        variant: Some("bad-vhost-production"),
        wishes: None,
        pod: "dispatcher-2",
        says: &["config-test", "LaunchwayDemoDirectiveThatDoesNotExist"],
    },
    Bad {
        name: "exits",
        variant: None,
        wishes: Some(r#"exits="7" runModes="publish,prod""#),
        pod: "publish-2",
        says: &["asks to exit with 7"],
    },
    Bad {
        name: "never-ready",
        variant: None,
        wishes: Some(r#"waits="an endless migration" runModes="publish,prod""#),
        pod: "publish-2",
        says: &["dev.launchway.e2e:launchway-standin:1.0.0", "an endless migration"],
    },
];

#[test]
fn production_serves_the_old_release_whatever_is_wrong_with_the_new_one() -> Outcome {
    scenario::run("bad-releases", |scenario| async move {
        let program = scenario.program("", &Options { ready_timeout: "45s", ..Options::stand_in(2) }).await?;
        scenario.deploy(&program, "good-1", 1).await?;
        let visitors = Visitors::come(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
        let mut tried = Ok(());
        for bad in &BADS {
            if tried.is_ok() {
                tried = bad.tried(&scenario, &program).await;
            }
        }
        let judged = traffic::judge(&visitors.go().await, &["Release 1"]);
        tried.and(judged)?;
        scenario.deploy(&program, "good-2", 2).await
    })
}

impl Bad {
    async fn tried(&self, scenario: &Scenario, program: &Program) -> Outcome {
        let zips = artifacts::site(2, self.variant).await?;
        if let Some(wishes) = self.wishes {
            artifacts::wishes(zips.path(), wishes)?;
        }
        let artifact = program.push(zips.path()).await?;
        program.run(self.name, Some(artifact.digest())).await?;
        scenario.on_failure(program, self.name, program.awaits_approval(self.name, LONG)).await?;
        let before = names(program).await?;
        program.approve(self.name, &scenario.launchway).await?;
        let said = scenario.on_failure(program, self.name, self.is_told(program, &before)).await?;
        measured(&format!("{}: from the kubelet's word to the status", self.name), format!("{} ms", said.as_millis()));
        let status = scenario.on_failure(program, self.name, program.ended(self.name, LONG)).await?;
        ensure(reason(&status, StepName::DeployProduction) == reasons::DEPLOYMENT_FAILED, || told(&status))?;
        let message = step(&status, StepName::DeployProduction)?.message.clone().unwrap_or_default();
        self.names_it(&message)?;
        println!("  {}: {message}", self.name);
        program.serves(PRODUCTION, "Release 1").await
    }

    /// How long after the pod is in trouble the Environment says so.
    async fn is_told(&self, program: &Program, before: &[String]) -> Outcome<Duration> {
        until(&format!("{} cannot run", self.pod), LONG, || async {
            let pod =
                pods(program).await?.into_iter().find(|pod| pod.name_any() == format!("{PRODUCTION}-{}", self.pod));
            Ok(match pod {
                Some(pod) if !before.contains(&pod.uid().unwrap_or_default()) && in_trouble(&pod) => Ok(()),
                other => Err(format!("{:?}", other.and_then(|pod| pod.status))),
            })
        })
        .await?;
        let began = Instant::now();
        until("the Environment names pod and cause", TOLD, || async {
            let rollout = program.environment(PRODUCTION).await?.status.and_then(|status| status.rollout);
            let message = rollout.map(|rollout| rollout.message).unwrap_or_default();
            Ok(self.names_it(&message).map_err(|failure| failure.to_string()))
        })
        .await?;
        Ok(began.elapsed())
    }

    fn names_it(&self, message: &str) -> Outcome {
        let missing: Vec<&&str> =
            self.says.iter().chain([&self.pod]).filter(|word| !message.contains(**word)).collect();
        ensure(missing.is_empty(), || format!("{}: the message does not say {missing:?}: {message}", self.name))
    }
}

async fn pods(program: &Program) -> Outcome<Vec<Pod>> {
    let api: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let selector = ListParams::default().labels(&format!("{}={PRODUCTION}", labels::ENVIRONMENT));
    Ok(call(api.list(&selector)).await?.items)
}

/// Identities of the pods.
async fn names(program: &Program) -> Outcome<Vec<String>> {
    Ok(pods(program).await?.iter().filter_map(ResourceExt::uid).collect())
}

/// Whether the kubelet knows of something: a container runs without being ready, waits after a failure, or has ended.
fn in_trouble(pod: &Pod) -> bool {
    let status = pod.status.clone().unwrap_or_default();
    let failed = status.init_container_statuses.iter().flatten().any(|container| {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        container.restart_count > 0 || ended.is_some_and(|ended| ended.exit_code != 0)
    });
    let unready = status.container_statuses.iter().flatten().any(|container| {
        let state = container.state.clone().unwrap_or_default();
        !container.ready && (state.running.is_some() || state.terminated.is_some() || container.restart_count > 0)
    });
    failed || unready
}
