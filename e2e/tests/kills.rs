//! Publish and dispatcher pods die again and again while releases are rolled: each comes back on the right digest.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use launchway_crds::execution::PipelineExecutionStatus;
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::until,
    failure::ensure,
    program::{Options, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
};
use serde_json::json;

const ROLL: Duration = Duration::from_secs(900);
/// Between two kills, in milliseconds, at most.
const PAUSE_MAX: u64 = 4000;
/// How often each of the pods has to die.
const TIMES: u32 = 20;
/// Pods that die.
const VICTIMS: [&str; 4] = ["prod-publish-0", "prod-dispatcher-0", "prod-publish-1", "prod-dispatcher-1"];
/// A pod that died is there again.
const BACK: Duration = Duration::from_secs(90);

#[test]
fn pods_that_die_in_any_phase_come_back_on_the_right_release() -> Outcome {
    scenario::run("kills", |scenario| async move {
        let program = scenario.program("", &Options { ready_timeout: "5m", ..Options::stand_in(2) }).await?;
        // Nobody has to approve: this is about what happens to pods.
        let mut pipeline = program.pipeline(&program.images.tester);
        pipeline["spec"]["production"]["approval"] = json!({"required": false});
        pipeline["spec"]["stage"]["tests"] = json!({});
        program.apply(&pipeline).await?;
        rolled(&scenario, &program, "first", 1).await?;
        let enough = AtomicBool::new(false);
        let (rollouts, killed) = tokio::join!(
            async {
                let rolled = rollouts(&scenario, &program, &enough).await;
                enough.store(true, Ordering::Relaxed);
                rolled
            },
            killed(&program, &enough)
        );
        let (rollouts, killed) = (rollouts?, killed?);
        measured("pods that died and came back on the right revision", format!("{killed:?}, in {rollouts} rollouts"));
        let least = killed.values().min().copied().unwrap_or_default();
        ensure(least >= TIMES, || format!("each of {VICTIMS:?} should have died {TIMES} times: {killed:?}"))?;
        let release = if rollouts % 2 == 0 { "Release 1" } else { "Release 2" };
        program.serves(PRODUCTION, release).await
    })
}

async fn rolled(scenario: &Scenario, program: &Program, name: &str, release: u32) -> Outcome<PipelineExecutionStatus> {
    let artifact = program.push(artifacts::site(release, None).await?.path()).await?;
    program.run(name, Some(artifact.digest())).await?;
    scenario.on_failure(program, name, program.succeeded(name, ROLL)).await
}

/// Releases 2 and 1 in turn, until enough pods have died. How many.
async fn rollouts(scenario: &Scenario, program: &Program, enough: &AtomicBool) -> Outcome<u32> {
    let mut count = 0;
    while !enough.load(Ordering::Relaxed) {
        rolled(scenario, program, &format!("r{count}"), 2 - count % 2).await?;
        count += 1;
    }
    Ok(count)
}

/// Kills one pod after the other at moments that nobody chose, until each died often enough. How often.
async fn killed(program: &Program, over: &AtomicBool) -> Outcome<BTreeMap<&'static str, u32>> {
    let mut times: BTreeMap<&'static str, u32> = VICTIMS.into_iter().map(|victim| (victim, 0)).collect();
    while !over.load(Ordering::Relaxed) {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        tokio::time::sleep(Duration::from_millis(u64::from(nanos / 1000) % PAUSE_MAX)).await;
        let Some((victim, _)) = times.iter().min_by_key(|(_, count)| **count).filter(|(_, count)| **count < TIMES)
        else {
            over.store(true, Ordering::Relaxed);
            break;
        };
        let victim = *victim;
        if killed_once(program, victim).await? {
            *times.entry(victim).or_default() += 1;
        }
    }
    Ok(times)
}

/// Kills a pod, and looks at the one that comes instead: it is of a revision that its ordinal had since the kill.
async fn killed_once(program: &Program, victim: &str) -> Outcome<bool> {
    let (set, ordinal) = victim.rsplit_once('-').ok_or("a pod without a number")?;
    let ordinal: i32 = ordinal.parse().map_err(|_| "a pod without a number")?;
    let Some(old) = program.made_by(set).await?.into_iter().find(|pod| pod.ordinal == ordinal && !pod.terminating)
    else {
        // The rollout is replacing it just now.
        return Ok(false);
    };
    let mut should = vec![right(program, set, ordinal).await?];
    if program.kill(victim).await.is_err() {
        return Ok(false);
    }
    let new = until(&format!("{victim} is there again"), BACK, || async {
        let now = program.made_by(set).await?.into_iter().find(|pod| pod.ordinal == ordinal && pod.uid != old.uid);
        Ok(now.ok_or_else(|| format!("{old:?} is gone")))
    })
    .await?;
    should.push(right(program, set, ordinal).await?);
    ensure(should.contains(&new.revision), || {
        format!("{victim} came back of {}, not of one of {should:?}", new.revision)
    })?;
    Ok(true)
}

async fn right(program: &Program, set: &str, ordinal: i32) -> Outcome<String> {
    let sets = program.sets(PRODUCTION).await?;
    let found =
        sets.iter().find(|known| known.name == set).ok_or_else(|| Failure::new(format!("no StatefulSet {set}")))?;
    Ok(found.of(ordinal).to_string())
}
