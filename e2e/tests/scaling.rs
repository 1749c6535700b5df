//! An autoscaler adds and takes away pairs in the middle of a rollout: every pod is on the release that its ordinal should have,
//! and no visitor notices. Nor does any when a pair comes and goes while nothing is rolled.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::{call, until},
    external_metrics::ExternalMetrics,
    failure::ensure,
    ordinals::{Made, Set},
    paths,
    program::{Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};
use serde_json::{Value, json};

const ROLL: Duration = Duration::from_secs(420);
/// How long two pairs serve before one of them goes.
const MEET: Duration = Duration::from_secs(3);
/// The autoscaler looks every 15 s.
const LOOKS: Duration = Duration::from_secs(60);

#[test]
fn pairs_come_and_go_during_a_rollout() -> Outcome {
    scenario::run("scaling", |scenario| async move {
        let options = Options::stand_in(2);
        let program = scenario.program("", &options).await?;
        let metrics = ExternalMetrics::start(&program).await?;
        // Slow enough that the rollout is still under way when the autoscaler, which looks every 15 s, has seen another number.
        let mut production = program.environment_object(PRODUCTION, "Production", 2, &options);
        production["spec"]["variables"] = json!([{"name": "STANDIN_START_SECONDS", "value": "8"}]);
        // The number of pairs is the autoscaler's.
        production["spec"]["publish"].as_object_mut().ok_or("a spec without publish")?.remove("replicas");
        program.apply(&production).await?;
        pairs_for(&metrics, 2).await?;
        program.apply(&autoscaler()?).await?;
        scenario.deploy(&program, "r1", 1).await?;
        autoscaled(&program, 2).await?;
        selected(&program).await?;
        let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
        program.run("r2", Some(artifact.digest())).await?;
        scenario.on_failure(&program, "r2", program.awaits_approval("r2", ROLL)).await?;
        let visitors = Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
        program.approve("r2", &scenario.launchway).await?;
        let over = AtomicBool::new(false);
        let (scaled, watched) = tokio::join!(
            async {
                let scaled = scaled(&scenario, &program, &metrics).await;
                over.store(true, Ordering::Relaxed);
                scaled
            },
            every_second(&program, &over)
        );
        let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
        scaled.and(watched).and(judged)?;
        program.serves(PRODUCTION, "Release 2").await?;
        at_rest(&program).await
    })
}

/// The autoscaler that docs/concepts.md shows, without its patience: two changes in a minute are what is tested.
fn autoscaler() -> Outcome<Value> {
    let page = std::fs::read_to_string(paths::of_repository("docs/concepts.md")).map_err(|error| error.to_string())?;
    let blocks = page.split("```yaml").skip(1).filter_map(|rest| rest.split("```").next());
    let shown = blocks.into_iter().find(|block| block.contains("kind: HorizontalPodAutoscaler"));
    let shown = shown.ok_or("docs/concepts.md shows no HorizontalPodAutoscaler")?;
    let mut object: Value = serde_yaml::from_str(shown).map_err(|error| error.to_string())?;
    object["metadata"].as_object_mut().ok_or("an object without metadata")?.remove("namespace");
    object["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = json!(0);
    Ok(object)
}

/// Has the autoscaler want this many pairs: each of them is good for 20 requests a second.
async fn pairs_for(metrics: &ExternalMetrics, pairs: i32) -> Outcome {
    metrics.set("requests_per_second", "environment=prod", &(pairs * 20).to_string()).await
}

/// Waits until the autoscaler has asked for this many pairs, and gives what it found for each of those that it counted.
async fn autoscaled(program: &Program, pairs: i32) -> Outcome<String> {
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    until(&format!("the autoscaler has asked for {pairs} pairs"), LOOKS, || async {
        let wanted = program.environment(PRODUCTION).await?.spec.publish.replicas;
        let status = call(autoscalers.get(PRODUCTION)).await?.status.unwrap_or_default();
        if wanted != pairs || status.desired_replicas != pairs {
            return Ok(Err(format!("{wanted} pairs are asked for: {status:?}")));
        }
        let found = status.current_metrics.iter().flatten().find_map(|metric| metric.external.as_ref());
        let each = found.and_then(|found| found.current.average_value.clone());
        Ok(each.map(|each| each.0).ok_or_else(|| format!("{status:?}")))
    })
    .await
}

/// Metrics of pods are looked for by the selector of the scale subresource: it selects the publishes and nothing else.
async fn selected(program: &Program) -> Outcome {
    let pods: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    until("the scale subresource tells of two publishes", LOOKS, || async {
        let scale = call(program.environments().get_scale(PRODUCTION)).await?;
        let status = scale.status.unwrap_or_default();
        let selector = status.selector.clone().unwrap_or_default();
        let found = call(pods.list(&ListParams::default().labels(&selector))).await?.items;
        let mut names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        names.sort();
        let told = names == ["prod-publish-0", "prod-publish-1"] && status.replicas == 2;
        Ok(if told { Ok(()) } else { Err(format!("{status:?}: {names:?}")) })
    })
    .await
}

/// Two pairs become four when the surge pair is there, and one when the first of the old ones was replaced.
async fn scaled(scenario: &Scenario, program: &Program, metrics: &ExternalMetrics) -> Outcome {
    rolls(program, "a pod of release 2 is there", |set| set.current != set.update).await?;
    pairs_for(metrics, 4).await?;
    let each = autoscaled(program, 4).await?;
    println!("  the autoscaler asks for 4 pairs");
    ensure(each == "40", || {
        format!("80 requests are 40 for each of two pairs, without the one of the rollout: {each}")
    })?;
    rolls(program, "the first of four pairs is replaced", |set| {
        set.replicas >= 4 && set.current != set.update && set.partition < 4
    })
    .await?;
    pairs_for(metrics, 1).await?;
    autoscaled(program, 1).await?;
    let sets = program.sets(PRODUCTION).await?;
    ensure(sets.iter().any(|set| set.current != set.update), || {
        format!("the rollout was over before the autoscaler asked for 1 pair: {sets:?}")
    })?;
    println!("  the autoscaler asks for 1 pair");
    scenario.on_failure(program, "r2", program.succeeded("r2", ROLL)).await?;
    one_is_left(program).await
}

async fn one_is_left(program: &Program) -> Outcome {
    until("one pair is left, on the new release", ROLL, || async {
        let sets = program.sets(PRODUCTION).await?;
        let mut pods = vec![];
        for set in &sets {
            pods.extend(program.made_by(&set.name).await?);
        }
        let settled = sets.iter().all(|set| set.replicas == 1 && set.current == set.update) && pods.len() == 3;
        Ok(if settled { Ok(()) } else { Err(format!("{sets:?}\n{pods:?}")) })
    })
    .await
}

/// One pair becomes two and one again while nothing is rolled. A person says so: the autoscaler would take its 15 s each time.
async fn at_rest(program: &Program) -> Outcome {
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    call(autoscalers.delete(PRODUCTION, &DeleteParams::default())).await.map(drop)?;
    let visitors = Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
    let scaled = out_and_in(program).await;
    let judged = traffic::judge(&visitors.go().await, &["Release 2"]);
    scaled.and(judged)
}

async fn out_and_in(program: &Program) -> Outcome {
    pairs_wanted(program, 2).await?;
    until("two pairs get visitors", ROLL, || async {
        let members = program.members(PRODUCTION).await?;
        let ready = members.iter().filter(|member| member.tier == "dispatcher" && member.ready).count();
        let status = program.environment(PRODUCTION).await?.status.unwrap_or_default();
        let serve = ready == 2 && status.ready_replicas == 2;
        Ok(if serve { Ok(()) } else { Err(format!("{} pairs are ready: {members:?}", status.ready_replicas)) })
    })
    .await?;
    // Long enough for every visitor to have met both of them.
    tokio::time::sleep(MEET).await;
    pairs_wanted(program, 1).await?;
    one_is_left(program).await
}

/// What `kubectl scale` does.
async fn pairs_wanted(program: &Program, pairs: i32) -> Outcome {
    let change = Patch::Merge(json!({"spec": {"replicas": pairs}}));
    call(program.environments().patch_scale(PRODUCTION, &PatchParams::default(), &change)).await.map(drop)
}

async fn rolls(program: &Program, what: &str, there: impl Fn(&Set) -> bool) -> Outcome {
    until(what, ROLL, || async {
        let sets = program.sets(PRODUCTION).await?;
        let publish = sets.iter().find(|set| set.name.ends_with("-publish"));
        Ok(if publish.is_some_and(&there) { Ok(()) } else { Err(format!("{sets:?}")) })
    })
    .await
}

/// A pod that an ordinal got since the last look is of the revision that its ordinal had then, or has a second later: the
/// controller of a StatefulSet makes a pod of a new template before it writes the new revision into the status.
async fn every_second(program: &Program, over: &AtomicBool) -> Outcome {
    let mut known: BTreeMap<String, Made> = BTreeMap::new();
    let mut before: Vec<Set> = program.sets(PRODUCTION).await?;
    let (mut looks, mut made, mut most) = (0, 0, 0);
    while !over.load(Ordering::Relaxed) {
        let mut now = BTreeMap::new();
        for set in &before {
            now.extend(program.made_by(&set.name).await?.into_iter().map(|pod| (pod.name.clone(), (&set.name, pod))));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = program.sets(PRODUCTION).await?;
        for (name, (set, pod)) in &now {
            let Some(old) = known.get(name).filter(|old| old.uid == pod.uid) else {
                let should = before.iter().chain(&after).filter(|known| known.name == **set);
                let should: Vec<&str> = should.map(|set| set.of(pod.ordinal)).collect();
                ensure(should.contains(&pod.revision.as_str()), || format!("{pod:?} should be of one of {should:?}"))?;
                made += 1;
                continue;
            };
            // One that was there before: it goes away, or it still fits.
            ensure(pod.terminating || pod.revision == old.revision, || format!("{pod:?}"))?;
        }
        most = most.max(now.len());
        known = now.into_iter().map(|(name, (_, pod))| (name, pod)).collect();
        before = after;
        looks += 1;
    }
    measured("looks at every pod", format!("{looks}, {made} pods, {most} at a time, each on the right release"));
    ensure(made > 9, || format!("only {made} pods were seen: nothing was scaled"))
}
