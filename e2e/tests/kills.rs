//! Publish and dispatcher pods die again and again while releases are rolled: each comes back on the right digest, and
//! visitors lose no more than what was under way on a pod that died.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use kube::api::ListParams;
use launchway_crds::{digest::Sha256Digest, execution::PipelineExecutionStatus};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    cluster::{call, until},
    failure::ensure,
    ordinals::Made,
    pods::Member,
    program::{Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
    traffic::{self, Killed, Visitors},
};
use serde_json::json;

const ROLL: Duration = Duration::from_secs(900);
/// Between two kills, in milliseconds, at most.
const PAUSE_MAX: u64 = 4000;
/// How often each of the pods has to die, and to come back.
const TIMES: usize = 20;
/// A pod that died is there again.
const BACK: Duration = Duration::from_secs(90);
/// Pods that die.
const VICTIMS: [&str; 4] = ["prod-publish-0", "prod-dispatcher-0", "prod-publish-1", "prod-dispatcher-1"];
/// Who dies in which phase of the rollout that visitors see: somebody else serves each time.
const IN_PHASES: [(&str, &str); 5] = [
    ("Author", "prod-dispatcher-1"),
    ("Surge", "prod-publish-1"),
    ("Pair 2", "prod-dispatcher-0"),
    ("Pair 1", "prod-publish-1"),
    ("Settle", "prod-dispatcher-0"),
];

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
        let mut victims = Victims::default();
        seen_by_visitors(&scenario, &program, &mut victims).await?;
        let enough = AtomicBool::new(false);
        let (rollouts, killed) = tokio::join!(
            async {
                let rolled = rollouts(&scenario, &program, &enough).await;
                enough.store(true, Ordering::Relaxed);
                rolled
            },
            async {
                let killed = victims.die(&program, &enough).await;
                enough.store(true, Ordering::Relaxed);
                killed
            }
        );
        let rollouts = rollouts?;
        killed?;
        measured("pods that died and came back on the right digest", format!("{:?}", victims.back));
        measured("phases in which they died", format!("{:?}, in {} rollouts", victims.phases, rollouts + 1));
        victims.enough()?;
        let release = if rollouts % 2 == 0 { "Release 2" } else { "Release 1" };
        program.serves(PRODUCTION, release).await
    })
}

async fn rolled(scenario: &Scenario, program: &Program, name: &str, release: u32) -> Outcome<PipelineExecutionStatus> {
    let artifact = program.push(artifacts::site(release, None).await?.path()).await?;
    program.run(name, Some(artifact.digest())).await?;
    scenario.on_failure(program, name, program.succeeded(name, ROLL)).await
}

/// Release 2 is rolled before visitors, and one pod dies in each phase.
async fn seen_by_visitors(scenario: &Scenario, program: &Program, victims: &mut Victims) -> Outcome {
    let visitors = Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
    let work = tokio::try_join!(rolled(scenario, program, "visited", 2), async {
        let mut killed = vec![];
        for (phase, victim) in IN_PHASES {
            program.reaches(PRODUCTION, phase, ROLL).await?;
            let died = victims.dies(program, victim).await?;
            let at = died.ok_or_else(|| format!("{victim} was not there to be killed in the phase {phase}"))?;
            killed.push(Killed { what: format!("{victim} in the phase {phase}"), at });
        }
        Ok::<_, Failure>(killed)
    });
    let seen = visitors.go().await;
    let (_, killed) = work?;
    traffic::judge_beside(&seen, &["Release 1", "Release 2"], &killed)?;
    victims.come_back(program).await
}

/// Releases 1 and 2 in turn, until enough pods have died. How many.
async fn rollouts(scenario: &Scenario, program: &Program, enough: &AtomicBool) -> Outcome<u32> {
    let mut count = 0;
    while !enough.load(Ordering::Relaxed) {
        rolled(scenario, program, &format!("r{count}"), 1 + count % 2).await?;
        count += 1;
    }
    Ok(count)
}

/// Pods that die, and what became of them.
#[derive(Default)]
struct Victims {
    /// What came instead of a pod that died last, until it was seen to run.
    successors: BTreeMap<&'static str, Made>,
    /// How often a pod came back and ran what its release says.
    back: BTreeMap<&'static str, usize>,
    /// How often a pod died in a phase.
    phases: BTreeMap<String, usize>,
}

impl Victims {
    /// Kills one pod after the other at moments that nobody chose, until each came back often enough, or the rollouts are over.
    async fn die(&mut self, program: &Program, over: &AtomicBool) -> Outcome {
        while !over.load(Ordering::Relaxed) {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
            tokio::time::sleep(Duration::from_millis(u64::from(nanos / 1000) % PAUSE_MAX)).await;
            let died = |victim: &str| {
                self.back.get(victim).copied().unwrap_or_default() + usize::from(self.successors.contains_key(victim))
            };
            match VICTIMS.into_iter().map(|victim| (died(victim), victim)).min() {
                Some((died, victim)) if died < TIMES => {
                    self.dies(program, victim).await?;
                }
                _ => {
                    // One that the rollout replaced before it ran has to die once more.
                    self.come_back(program).await?;
                    if self.enough().is_ok() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn enough(&self) -> Outcome {
        let least = VICTIMS.iter().map(|victim| self.back.get(victim).copied().unwrap_or_default()).min();
        ensure(least >= Some(TIMES), || format!("each should have died and come back {TIMES} times: {:?}", self.back))
    }

    /// Kills a pod, and looks at the one that comes instead: it is of a revision that its ordinal had since the kill. When it
    /// died; not at all when the rollout is replacing it just now.
    async fn dies(&mut self, program: &Program, victim: &'static str) -> Outcome<Option<Timestamp>> {
        self.comes_back(program, victim).await?;
        let (set, ordinal) = victim.rsplit_once('-').ok_or("a pod without a number")?;
        let ordinal: i32 = ordinal.parse().map_err(|_| "a pod without a number")?;
        let Some(old) = program.made_by(set).await?.into_iter().find(|pod| pod.ordinal == ordinal && !pod.terminating)
        else {
            return Ok(None);
        };
        let mut should = vec![right(program, set, ordinal).await?];
        let rollout = program.environment(PRODUCTION).await?.status.and_then(|status| status.rollout);
        let at = Timestamp::now();
        if program.kill(victim).await.is_err() {
            return Ok(None);
        }
        *self.phases.entry(rollout.map(|rollout| rollout.phase).unwrap_or_default()).or_default() += 1;
        let new = until(&format!("{victim} is there again"), BACK, || async {
            let now = program.made_by(set).await?.into_iter().find(|pod| pod.ordinal == ordinal && pod.uid != old.uid);
            Ok(now.ok_or_else(|| format!("{old:?} is gone")))
        })
        .await?;
        should.push(right(program, set, ordinal).await?);
        ensure(should.contains(&new.revision), || {
            format!("{victim} came back of {}, not of one of {should:?}", new.revision)
        })?;
        self.successors.insert(victim, new);
        Ok(Some(at))
    }

    /// Waits until everything that came instead of a pod was seen to run.
    async fn come_back(&mut self, program: &Program) -> Outcome {
        for victim in VICTIMS {
            self.comes_back(program, victim).await?;
        }
        Ok(())
    }

    /// What came instead runs the image of the release that its template names, by the container runtime's word. It does not
    /// count when the rollout replaced it before it ran.
    async fn comes_back(&mut self, program: &Program, victim: &'static str) -> Outcome {
        let Some(new) = self.successors.remove(victim) else { return Ok(()) };
        let runs = until(&format!("{victim} runs something"), BACK, || async {
            let now = program.member(victim).await?;
            Ok(if now.image.is_some() { Ok(now) } else { Err(format!("{now:?}")) })
        })
        .await?;
        let wanted = image(program, &runs).await?;
        ensure(runs.image == Some(wanted), || format!("{victim} should run {wanted}: {runs:?}"))?;
        if runs.uid == new.uid {
            *self.back.entry(victim).or_default() += 1;
        }
        Ok(())
    }
}

/// The image that an execution made for a pod's release and tier.
async fn image(program: &Program, pod: &Member) -> Outcome<Sha256Digest> {
    let all = call(program.executions().list(&ListParams::default())).await?.items;
    let mut known = all.into_iter().filter_map(|execution| execution.status);
    let made = known.find(|status| status.release.as_ref().is_some_and(|release| release.to_string() == pod.release));
    let images = made.and_then(|status| status.images);
    let images = images.ok_or_else(|| Failure::new(format!("no execution made the release of {pod:?}")))?;
    Ok(if pod.tier == "dispatcher" { images.dispatcher.digest() } else { images.aem.digest() })
}

async fn right(program: &Program, set: &str, ordinal: i32) -> Outcome<String> {
    let sets = program.sets(PRODUCTION).await?;
    let found =
        sets.iter().find(|known| known.name == set).ok_or_else(|| Failure::new(format!("no StatefulSet {set}")))?;
    Ok(found.of(ordinal).to_string())
}
