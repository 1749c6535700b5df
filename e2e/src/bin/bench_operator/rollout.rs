//! A rollout pair by pair, against the time that its pods need by themselves, and against plain StatefulSets of the same
//! pods that are restarted as `kubectl rollout restart` does it: each replaces its pods as it likes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use launchway_crds::names::labels;
use launchway_e2e::{
    Failure, Outcome,
    cluster::{Cluster, call, until},
    images::Images,
    lives::{Life, Lives},
    program::{Options, PRODUCTION, Program},
    scenario::{Scenario, measured},
    watched::Moment,
};
use serde_json::{Value, json};

use crate::spread;

const PAIRS: i32 = 2;
/// Rollouts of each kind that count, in turns.
const ROUNDS: usize = 3;
/// Tiers of a pair.
const TIERS: [&str; 2] = ["publish", "dispatcher"];
/// Less than a watch lasts.
const LONG: Duration = Duration::from_secs(240);
/// Between two rollouts, so that nothing of one is in the other.
const REST: Duration = Duration::from_secs(5);
/// The label of pods that the operator knows nothing of.
const PLAIN: &str = "plain";

/// How one pair was replaced; lengths in seconds.
struct Pair {
    /// Its dispatcher was told to end.
    left: Timestamp,
    /// Both pods were ready.
    back: Timestamp,
    /// Both new pods, each from created to ready: the dispatcher's lasts until its publish is ready.
    starts: f64,
    /// Both old pods, each from being told to end to gone.
    ends: f64,
    /// From the old dispatcher gone to the old publish told to end, and from that one gone to the new one.
    between: f64,
}

impl Pair {
    fn wall(&self) -> f64 {
        seconds(self.left, self.back)
    }
}

/// Rolls both several times, and prints medians.
///
/// # Errors
/// When a rollout does not end.
pub async fn measure(cluster: &Cluster, images: &Images, launchway: &Path) -> Outcome {
    println!("\nrollout: {PAIRS} pairs, {ROUNDS} times, and plain StatefulSets of the same pods (about 5 minutes)");
    let scenario = Scenario {
        cluster: cluster.clone(),
        images: images.clone(),
        launchway: launchway.to_path_buf(),
        name: "bench-rollout",
    };
    let program = scenario.program("", &Options::stand_in(PAIRS)).await?;
    scenario.deploy(&program, "r1", 1).await?;
    for tier in TIERS {
        plain(&program, tier).await?;
    }
    settled(&program).await?;
    let mut figures = Figures::default();
    for number in 0..ROUNDS {
        // Each kind begins every other round.
        for plain in [number % 2 == 0, number % 2 != 0] {
            tokio::time::sleep(REST).await;
            if plain {
                figures.plain.push(restarted(&program).await?);
            } else {
                figures.add(&program, number).await?;
            }
        }
    }
    figures.tell();
    program.remove().await
}

/// Seconds, of all rounds.
#[derive(Default)]
struct Figures {
    pairs: Vec<Pair>,
    /// From a pair that is back to the next one's detachment.
    next: Vec<f64>,
    /// From the first detachment to the last pair that is back.
    all_pairs: Vec<f64>,
    /// From the change to the end of everything.
    whole: Vec<f64>,
    plain: Vec<f64>,
}

impl Figures {
    async fn add(&mut self, program: &Program, number: usize) -> Outcome {
        let lives = Lives::watch(program, labels::ENVIRONMENT).await?;
        let began = Instant::now();
        program.greets(PRODUCTION, &format!("Greeting {number}"), LONG).await?;
        self.whole.push(began.elapsed().as_secs_f64());
        let seen = lives.seen();
        let round: Vec<Pair> = (0..PAIRS).rev().map(|ordinal| pair(&seen, ordinal)).collect::<Outcome<_>>()?;
        self.next.extend(round.windows(2).map(|two| seconds(two[0].back, two[1].left)));
        self.all_pairs.extend(round.first().zip(round.last()).map(|(first, last)| seconds(first.left, last.back)));
        self.pairs.extend(round);
        Ok(())
    }

    fn tell(&self) {
        let of = |figure: fn(&Pair) -> f64| spread(&self.pairs.iter().map(figure).collect::<Vec<_>>(), 1);
        measured("a pair, from its dispatcher told to end to both pods ready (s)", of(Pair::wall));
        measured("  its new pods, each from created to ready, sum (s)", of(|pair| pair.starts));
        measured("  its old pods, each from told to end to gone, sum (s)", of(|pair| pair.ends));
        measured("  between them, when none of the two ends or starts (s)", of(|pair| pair.between));
        measured("  more than the sum of its new pods' own starts (s)", of(|pair| pair.wall() - pair.starts));
        let next: Vec<f64> = self.next.iter().map(|value| value * 1e3).collect();
        measured("from a pair that is back to the next one's detachment (ms)", spread(&next, 0));
        measured(&format!("{PAIRS} pairs, first detachment to last ready (s)"), spread(&self.all_pairs, 1));
        measured(&format!("{PAIRS} pairs with author, surge pair and its end (s)"), spread(&self.whole, 1));
        measured("plain StatefulSets of the same pods, restarted (s)", spread(&self.plain, 1));
        let by = |of: &[f64]| middle(of) / middle(&self.plain);
        measured(
            "  of that: the pairs alone, the whole",
            format!("{:.2}, {:.2}", by(&self.all_pairs), by(&self.whole)),
        );
    }
}
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn pair(seen: &[Life], ordinal: i32) -> Outcome<Pair> {
    let of = |tier: &str, new: bool| {
        let name = format!("{PRODUCTION}-{tier}-{ordinal}");
        let found = seen.iter().find(|life| life.name == name && life.made.is_some() == new);
        found.ok_or_else(|| Failure::new(format!("the watch has not seen {name} being replaced: {seen:?}")))
    };
    let at = |moment: Option<Moment>| {
        moment.map(|moment| moment.at).ok_or_else(|| Failure::new(format!("no whole life in {seen:?}")))
    };
    let (old, publish_old) = (of("dispatcher", false)?, of("publish", false)?);
    let (new, publish_new) = (of("dispatcher", true)?, of("publish", true)?);
    let left = at(old.leaves)?;
    let back = at(new.ready)?.max(at(publish_new.ready)?);
    let start = |life: &Life| Ok::<f64, Failure>(seconds(at(life.made)?, at(life.ready)?));
    let end = |life: &Life| Ok::<f64, Failure>(seconds(at(life.leaves)?, at(life.gone)?));
    let detached = seconds(at(old.gone)?, at(publish_old.leaves)?);
    let between = detached + seconds(at(publish_old.gone)?, at(publish_new.made)?);
    let (starts, ends) = (start(new)? + start(publish_new)?, end(old)? + end(publish_old)?);
    Ok(Pair { left, back, starts, ends, between })
}

fn sets(program: &Program) -> Api<StatefulSet> {
    Api::namespaced(program.cluster.client.clone(), &program.namespace)
}

/// Makes a StatefulSet of the pods that production has, with the order that a StatefulSet has by itself.
async fn plain(program: &Program, tier: &str) -> Outcome {
    let source = call(sets(program).get(&format!("{PRODUCTION}-{tier}"))).await?;
    let template = source.spec.map(|spec| spec.template).ok_or("a StatefulSet without a spec")?;
    let mut pod = serde_json::to_value(template.spec).map_err(|error| error.to_string())?;
    for list in ["initContainers", "containers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            on_its_own(container);
        }
    }
    let (name, labels) = (format!("{PLAIN}-{tier}"), json!({PLAIN: tier}));
    program
        .apply(&json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": PAIRS, "serviceName": name, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }))
        .await?;
    for ordinal in 0..PAIRS {
        program
            .apply(&json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": format!("{PLAIN}-pair-{ordinal}")},
                "spec": {
                    "selector": {PLAIN: "publish", "apps.kubernetes.io/pod-index": ordinal.to_string()},
                    "ports": [{"port": 80, "targetPort": "http"}],
                },
            }))
            .await?;
    }
    Ok(())
}

/// A container that has its publish from a Service of this benchmark, and nothing from objects that the operator takes away.
fn on_its_own(container: &mut Value) {
    if let Some(fields) = container.as_object_mut() {
        fields.remove("envFrom");
    }
    let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) else { return };
    for variable in variables {
        if variable["name"] == "AEM_HOST" {
            variable["value"] = json!(format!("{PLAIN}-pair-$(LAUNCHWAY_ORDINAL)"));
        }
    }
}

/// Restarts the plain StatefulSets together, as `kubectl rollout restart` does. Answers with how long that took.
async fn restarted(program: &Program) -> Outcome<f64> {
    let began = Instant::now();
    let change = json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": Timestamp::now().to_string(),
    }}}}});
    for tier in TIERS {
        let name = format!("{PLAIN}-{tier}");
        call(sets(program).patch(&name, &PatchParams::default(), &Patch::Merge(&change))).await.map(drop)?;
    }
    settled(program).await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Waits until every pod of the plain StatefulSets is ready and made of the newest template.
async fn settled(program: &Program) -> Outcome {
    until("the plain StatefulSets are settled", LONG, || async {
        for tier in TIERS {
            let set = call(sets(program).get(&format!("{PLAIN}-{tier}"))).await?;
            let status = set.status.unwrap_or_default();
            let there = status.observed_generation == set.metadata.generation
                && status.current_revision == status.update_revision
                && status.ready_replicas == Some(PAIRS)
                && status.updated_replicas == Some(PAIRS);
            if !there {
                return Ok(Err(format!("{tier}: {status:?}")));
            }
        }
        Ok(Ok(()))
    })
    .await
}
