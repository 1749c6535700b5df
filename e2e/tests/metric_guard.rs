//! A release that answers a part of its visitors badly is seen on its first pair and goes back by itself; one that does well
//! is let through, and status says by which figures.

use std::time::{Duration, Instant};

use launchway_crds::{
    conditions::reasons,
    environment::RolloutState,
    guard::{Verdict, Watch, WatchResult},
    step::{StepName, StepState},
};
use launchway_e2e::{
    Outcome, artifacts,
    cluster::until,
    executions::{step, told},
    failure::ensure,
    program::{Options, PAGE, PRODUCTION, Program},
    scenario::{self, Scenario, measured},
    traffic::{self, Seen, Visitors},
};
use serde_json::json;

const LONG: Duration = Duration::from_secs(420);
const SHORT: Duration = Duration::from_secs(180);
/// How long a pair is watched: at 40 requests a second it answers some 400 of them meanwhile.
const WATCH: &str = "30s";
/// Share of the requests that the bad release fails on production, in percent.
const BAD: u64 = 30;

#[test]
fn visitors_decide_whether_a_release_goes_on() -> Outcome {
    scenario::run("metric-guard", |scenario| async move {
        let options = Options::stand_in(2);
        let program = scenario.program("", &options).await?;
        let mut production = program.environment_object(PRODUCTION, "Production", 2, &options);
        production["spec"]["rollout"]["onFailure"] = json!("Restore");
        production["spec"]["rollout"]["guard"] = json!({"watch": WATCH, "withoutData": "Fail"});
        program.apply(&production).await?;
        // The first release replaces everything together: there is nothing to compare it with, and nobody who comes.
        scenario.deploy(&program, "first", 1).await?;
        let before = program.running(PRODUCTION).await?;

        goes_back(&scenario, &program).await?;
        let after = program.running(PRODUCTION).await?;
        ensure(before == after, || format!("{before:?} became {after:?}"))?;
        goes_through(&scenario, &program).await
    })
}

/// Visitors of a page that no cache has: each request is answered by a publish.
async fn visitors(program: &Program) -> Outcome<Visitors> {
    Visitors::come(&format!("{}{PAGE}?visit=1", program.address(PRODUCTION).await?))
}

async fn begins(scenario: &Scenario, program: &Program, name: &str, zips: &std::path::Path) -> Outcome<Visitors> {
    let artifact = program.push(zips).await?;
    program.run(name, Some(artifact.digest())).await?;
    scenario.on_failure(program, name, program.awaits_approval(name, LONG)).await?;
    let visitors = visitors(program).await?;
    program.approve(name, &scenario.launchway).await?;
    Ok(visitors)
}

/// The watch that the status of production tells of.
async fn watch(program: &Program) -> Outcome<Watch> {
    let rollout = program.environment(PRODUCTION).await?.status.and_then(|status| status.rollout);
    Ok(rollout.and_then(|rollout| rollout.watch).ok_or("status.rollout has no watch")?)
}

fn figures(Watch { pair, result, .. }: &Watch) -> Outcome<&WatchResult> {
    let result = result.as_ref().ok_or("the watch has no result")?;
    for (release, figures) in [("new", result.new), ("previous", result.previous)] {
        measured(
            &format!("{pair}, {:?}, {release} release", result.verdict),
            format!(
                "{} requests, {} failed, {} ms in the mean",
                figures.requests, figures.errors, figures.mean_milliseconds
            ),
        );
    }
    Ok(result)
}

/// A release that fails a part of the requests on production alone: no test before could know.
async fn goes_back(scenario: &Scenario, program: &Program) -> Outcome {
    let name = "bad";
    let zips = artifacts::site(2, None).await?;
    artifacts::wishes(zips.path(), &format!(r#"errors="{BAD}" runModes="publish,prod""#))?;
    let visitors = begins(scenario, program, name, zips.path()).await?;
    let watched = until("the surge pair is watched", LONG, || async {
        Ok(watch(program).await.map(|watch| watch.since).map_err(|failure| failure.to_string()))
    })
    .await;
    let began = Instant::now();
    let ended = scenario.on_failure(program, name, program.ended(name, LONG)).await;
    measured("seconds from the beginning of the watch to the old release alone", began.elapsed().as_secs());
    let seen = visitors.go().await;
    let (status, _) = (ended?, watched?);
    let step = step(&status, StepName::DeployProduction)?;
    let message = step.message.clone().unwrap_or_default();
    ensure(step.state == StepState::RolledBack && status.state == reasons::FAILED, || told(&status))?;
    println!("  {name}: {message}");
    ensure(message.contains("requests to the new release failed"), || {
        format!("the message does not say why: {message}")
    })?;
    suffered(&seen)?;

    let watch = watch(program).await?;
    ensure(watch.pair == "Surge", || format!("seen no sooner than on {}", watch.pair))?;
    let result = figures(&watch)?;
    ensure(result.verdict == Verdict::Worse && result.previous.errors == 0, || format!("{result:?}"))?;
    // Requests that were on their way when counters were read make the difference.
    let share = result.new.errors * 100 / result.new.requests.max(1);
    ensure((20..=40).contains(&share), || format!("{share} % of what was counted failed, and {BAD} % did"))?;

    until("production is back and free", SHORT, || async {
        let environment = program.environment(PRODUCTION).await?.status.unwrap_or_default();
        let back = environment.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::RolledBack);
        let free = environment.target.is_none() && environment.lock.is_none();
        Ok(if back && free { Ok(()) } else { Err(format!("{environment:?}")) })
    })
    .await?;
    program.serves(PRODUCTION, "Release 1").await?;
    let visitors = self::visitors(program).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    traffic::judge(&visitors.go().await, &["Release 1"])
}

/// Visitors had what the guard saw, and no more: answers of 500, from one pair of three, until it went.
fn suffered(seen: &[(&'static str, Seen)]) -> Outcome {
    let (total, failed) = seen
        .iter()
        .fold((0, 0), |(total, failed), (_, seen)| (total + seen.total(), failed + seen.failed.len() as u64));
    measured("requests while the bad release was tried", format!("{total}, {failed} failed"));
    let other = seen.iter().flat_map(|(_, seen)| &seen.failed).find(|failed| !failed.why.contains("500"));
    ensure(other.is_none(), || format!("a request failed otherwise than with 500: {other:?}"))?;
    ensure(failed > 0 && failed * 100 < total * BAD / 2, || format!("{failed} of {total} requests failed"))
}

/// A release that does well, under the same guard.
async fn goes_through(scenario: &Scenario, program: &Program) -> Outcome {
    let name = "good";
    let zips = artifacts::site(3, None).await?;
    let visitors = begins(scenario, program, name, zips.path()).await?;
    let began = Instant::now();
    let rolled = scenario.on_failure(program, name, program.succeeded(name, LONG)).await;
    measured("rollout of 2 pairs, two of them watched for 30 s", format!("{} s", began.elapsed().as_secs()));
    let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 3"]);
    rolled?;
    judged?;
    let watch = watch(program).await?;
    ensure(watch.pair == "Pair 2", || format!("watched last: {}", watch.pair))?;
    let result = figures(&watch)?;
    ensure(result.verdict == Verdict::Good, || format!("{result:?}"))?;
    for figures in [result.new, result.previous] {
        ensure(figures.requests >= 100 && figures.errors == 0, || format!("{result:?}"))?;
    }
    program.serves(PRODUCTION, "Release 3").await
}
