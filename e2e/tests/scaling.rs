//! Pairs are added and taken away in the middle of a rollout: every pod is on the release that its ordinal should have,
//! and no visitor notices.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use launchway_e2e::{
    Outcome, artifacts,
    cluster::until,
    failure::ensure,
    ordinals::{Made, Set},
    program::{Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};
use serde_json::json;

const ROLL: Duration = Duration::from_secs(420);

#[test]
fn pairs_come_and_go_during_a_rollout() -> Outcome {
    scenario::run("scaling", |scenario| async move {
        let options = Options::stand_in(2);
        let program = scenario.program("", &options).await?;
        // Slow enough that the rollout is still under way when the number of pairs changes.
        let mut production = program.environment_object(PRODUCTION, "Production", 2, &options);
        production["spec"]["variables"] = json!([{"name": "STANDIN_START_SECONDS", "value": "4"}]);
        program.apply(&production).await?;
        scenario.deploy(&program, "r1", 1).await?;
        let artifact = program.push(artifacts::site(2, None).await?.path()).await?;
        program.run("r2", Some(artifact.digest())).await?;
        scenario.on_failure(&program, "r2", program.awaits_approval("r2", ROLL)).await?;
        let visitors = Visitors::come(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
        program.approve("r2", &scenario.launchway).await?;
        let over = AtomicBool::new(false);
        let (scaled, watched) = tokio::join!(
            async {
                let scaled = scaled(&scenario, &program).await;
                over.store(true, Ordering::Relaxed);
                scaled
            },
            every_second(&program, &over)
        );
        let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
        scaled.and(watched).and(judged)?;
        program.serves(PRODUCTION, "Release 2").await
    })
}

/// Two pairs become four when the surge pair is there, and one when the first of the old ones was replaced.
async fn scaled(scenario: &Scenario, program: &Program) -> Outcome {
    rolls(program, "a pod of release 2 is there", |set| set.current != set.update).await?;
    program.scale(PRODUCTION, 4).await?;
    println!("  4 pairs are asked for");
    rolls(program, "the first of four pairs is replaced", |set| {
        set.replicas >= 4 && set.current != set.update && set.partition < 4
    })
    .await?;
    program.scale(PRODUCTION, 1).await?;
    println!("  1 pair is asked for");
    scenario.on_failure(program, "r2", program.succeeded("r2", ROLL)).await?;
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
