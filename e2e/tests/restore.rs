//! A release fails on production, what ran before comes back without a failed request, and every pod of it can be started
//! again, although the Secret that its variables came from was edited and deleted since.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use launchway_crds::{
    conditions::{self, reasons, types},
    environment::RolloutState,
    names::labels,
    step::{StepName, StepState},
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    executions::{step, told},
    failure::ensure,
    program::{Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};
use serde_json::json;

const LONG: Duration = Duration::from_secs(420);
const SHORT: Duration = Duration::from_secs(180);
/// How soon a failure has to be told once the kubelet knows it, in seconds.
const TOLD: i64 = 30;

#[test]
fn what_ran_before_comes_back_and_every_pod_of_it_starts_again() -> Outcome {
    scenario::run("restore", |scenario| async move {
        let options = Options::stand_in(2);
        let program = scenario.program("", &options).await?;
        set_secret(&program, "first").await?;
        let mut production = program.environment_object(PRODUCTION, "Production", 2, &options);
        production["spec"]["rollout"]["onFailure"] = json!("Restore");
        let variable = json!({"name": "API_KEY", "secretKeyRef": {"name": "api", "key": "key"}});
        production["spec"]["variables"].as_array_mut().ok_or("no variables")?.push(variable);
        program.apply(&production).await?;
        scenario.deploy(&program, "good", 1).await?;
        let before = program.running(PRODUCTION).await?;
        let serving = serving(&program).await?;

        let fails = artifacts::site(2, None).await?;
        artifacts::wishes(fails.path(), r#"fails="the disk is full" runModes="publish,prod""#)?;
        goes_back(&scenario, &program, "fails", fails.path(), &["prod-publish-2", "the disk is full"]).await?;
        let vhost = artifacts::site(3, Some("bad-vhost-production")).await?;
        goes_back(&scenario, &program, "vhost", vhost.path(), &["prod-dispatcher-2", "config-test"]).await?;
        let after = program.running(PRODUCTION).await?;
        ensure(before == after, || format!("{before:?} became {after:?}"))?;
        let still = self::serving(&program).await?;
        ensure(serving == still, || format!("pods that served were replaced: {serving:?} became {still:?}"))?;

        // Whoever made the Secret takes it away: nothing is rolled, and every pod starts again with what it had.
        call(secrets(&program).delete("api", &DeleteParams::default())).await?;
        says(&program, reasons::CONFIGURATION_MISSING, "Secret api does not exist: create it").await?;
        every_pod_comes_back(&program).await?;
        let after = program.running(PRODUCTION).await?;
        ensure(before == after, || format!("after a kill of every pod {before:?} became {after:?}"))?;
        let revisions = revisions(&program).await?;

        // It comes with another value: that is rolled out by the same machine, without an execution.
        let visitors = Visitors::come(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
        set_secret(&program, "second").await?;
        let rolled = until("the changed Secret is rolled out", LONG, || async {
            let now = self::revisions(&program).await?;
            let ready = ready(&program).await?;
            Ok(if now != revisions && now.len() == 2 && ready.0 == "True" {
                Ok(())
            } else {
                Err(format!("{now:?} {ready:?}"))
            })
        })
        .await;
        let judged = traffic::judge(&visitors.go().await, &["Release 1"]);
        rolled?;
        judged?;
        kept(&program).await?;
        scenario.deploy(&program, "good-again", 4).await
    })
}

/// Runs a release that fails on production and not on stage: visitors notice nothing, and the record says what happened.
async fn goes_back(
    scenario: &Scenario,
    program: &Program,
    name: &str,
    zips: &std::path::Path,
    says: &[&str],
) -> Outcome {
    let artifact = program.push(zips).await?;
    program.run(name, Some(artifact.digest())).await?;
    scenario.on_failure(program, name, program.awaits_approval(name, LONG)).await?;
    let visitors = Visitors::come(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
    program.approve(name, &scenario.launchway).await?;
    let told_in =
        until("the failure is told", LONG, || async { Ok(told_after(program).await?.ok_or("not yet".into())) }).await;
    let ended = scenario.on_failure(program, name, program.ended(name, LONG)).await;
    let judged = traffic::judge(&visitors.go().await, &["Release 1"]);
    let (status, told_in) = (ended?, told_in?);
    judged?;
    let step = step(&status, StepName::DeployProduction)?;
    let message = step.message.clone().unwrap_or_default();
    ensure(step.state == StepState::RolledBack && status.state == reasons::FAILED, || told(&status))?;
    for part in says {
        ensure(message.contains(part), || format!("{name}: the message has no `{part}`: {message}"))?;
    }
    println!("  {name}: {message}");
    measured("seconds from the kubelet's knowledge to status", told_in);
    ensure(told_in <= TOLD, || format!("{name}: the failure was told {told_in} s after the kubelet knew it"))?;
    until("production is back and free", SHORT, || async {
        let environment = program.environment(PRODUCTION).await?.status.unwrap_or_default();
        let back = environment.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::RolledBack);
        let free = environment.target.is_none() && environment.lock.is_none();
        Ok(if back && free { Ok(()) } else { Err(format!("{environment:?}")) })
    })
    .await?;
    program.serves(PRODUCTION, "Release 1").await
}

/// Seconds between the last word of the kubelet about a pod that is not ready and the status that tells of the failure:
/// none while it is not told.
async fn told_after(program: &Program) -> Outcome<Option<i64>> {
    let status = program.environment(PRODUCTION).await?.status.unwrap_or_default();
    let Some(restore) = status.restore.filter(|_| status.target.is_some()) else { return Ok(None) };
    let pods: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let own = ListParams::default().labels(&format!("{}={PRODUCTION}", labels::ENVIRONMENT));
    let before = [&restore.revisions.aem, &restore.revisions.dispatcher];
    let fails = |pod: &&Pod| pod.labels().get(labels::REVISION).is_some_and(|revision| !before.contains(&revision));
    let known = call(pods.list(&own)).await?.items.iter().filter(fails).filter_map(failed_at).min();
    Ok(Some(known.map_or(0, |known| restore.since.0.duration_since(known).as_secs())))
}

/// When the kubelet first saw a container of the pod end badly twice, or the container began to run.
fn failed_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let tests = status.init_container_statuses.iter().flatten();
    let ended = tests
        .filter_map(|test| test.last_state.as_ref()?.terminated.as_ref()?.finished_at.clone())
        .map(|at| at.0)
        .max();
    let ready = status.conditions.iter().flatten().any(|is| is.type_ == "Ready" && is.status == "True");
    let main = status.container_statuses.iter().flatten();
    let begun = main
        .filter_map(|container| container.state.as_ref()?.running.as_ref()?.started_at.clone())
        .map(|at| at.0)
        .max();
    ended.or_else(|| begun.filter(|_| !ready))
}

fn secrets(program: &Program) -> Api<Secret> {
    Api::namespaced(program.cluster.client.clone(), &program.namespace)
}

async fn set_secret(program: &Program, value: &str) -> Outcome {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api"}, "stringData": {"key": value}});
    program.apply(&secret).await
}

/// The pods that visitors reach, by identity.
async fn serving(program: &Program) -> Outcome<Vec<(String, String)>> {
    let members = program.members(PRODUCTION).await?.into_iter().filter(|member| member.tier != "author");
    let mut all: Vec<_> = members.map(|member| (member.name, member.uid)).collect();
    all.sort();
    Ok(all)
}

async fn ready(program: &Program) -> Outcome<(String, String, String)> {
    let status = program.environment(PRODUCTION).await?.status.unwrap_or_default();
    let ready = conditions::get(&status.conditions, types::READY).ok_or("no condition Ready")?;
    Ok((ready.status.clone(), ready.reason.clone(), ready.message.clone()))
}

async fn says(program: &Program, reason: &str, part: &str) -> Outcome {
    until(&format!("production says {reason}"), SHORT, || async {
        let ready = ready(program).await?;
        Ok(if ready.1 == reason && ready.2.contains(part) { Ok(()) } else { Err(format!("{ready:?}")) })
    })
    .await
}

/// Every pod is killed, one after the other, and comes back.
async fn every_pod_comes_back(program: &Program) -> Outcome {
    let all = program.members(PRODUCTION).await?;
    ensure(all.len() == 5, || format!("{all:?}"))?;
    for killed in &all {
        program.kill(&killed.name).await?;
        let back = program.comes_back(killed, SHORT).await?;
        ensure(back.release == killed.release && back.revision == killed.revision, || {
            format!("{killed:?} became {back:?}")
        })?;
    }
    measured("pods killed and back on their release", all.len());
    Ok(())
}

/// How many pods are on which revision.
async fn revisions(program: &Program) -> Outcome<BTreeMap<String, usize>> {
    let mut all = BTreeMap::new();
    for member in program.members(PRODUCTION).await? {
        *all.entry(member.revision).or_default() += 1;
    }
    Ok(all)
}

/// Configuration that a template may still ask for stays, and what users named is not what pods use. Author and publish have two
/// generations of it, dispatchers, who do not get the Secret, one.
async fn kept(program: &Program) -> Outcome {
    let maps: Api<ConfigMap> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let own = ListParams::default().labels(&format!("{}={PRODUCTION},{}", labels::ENVIRONMENT, labels::VARIABLES));
    let names: Vec<String> = call(maps.list(&own)).await?.iter().map(ResourceExt::name_any).collect();
    measured("configuration objects kept", names.len());
    ensure(names.len() >= 5, || format!("the configuration of what ran before is gone: {names:?}"))?;
    for name in names.iter().filter(|name| !name.contains("-dispatcher-")) {
        let secret = call(secrets(program).get_opt(name)).await?;
        let immutable = secret.is_some_and(|secret| secret.immutable == Some(true));
        ensure(immutable, || format!("Secret {name} is not there, or can be changed"))?;
    }
    Ok(())
}
