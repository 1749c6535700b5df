//! The main job: two releases to production, with visitors, dying pods, and the audit log as witness.

use std::time::Duration;

use jiff::Timestamp;
use launchway_crds::{digest::Sha256Digest, execution::PipelineExecutionStatus};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::{self, Audit, Write},
    cluster::until,
    executions::seconds,
    failure::ensure,
    pods::Member,
    program::{APPROVER, DEVELOPER, Options, PAGE, PRODUCTION, Program, STAGE},
    scenario::{self, Scenario, measured},
    traffic::{self, Visitors},
};

const ROLL: Duration = Duration::from_secs(600);
/// Exit code of `plan` where something would change (docs/commands.md).
const DIFFERS: i32 = 1;

#[test]
fn two_releases_reach_production_as_they_were_tested() -> Outcome {
    scenario::alone("main-job", |scenario| async move {
        let program = scenario.program("", &Options::default()).await?;
        let audit = Audit::from_now_on(&scenario.cluster)?;

        let first = tested(&scenario, &program, "r1", 1).await?;
        program.approve("r1", &scenario.launchway).await?;
        let done = scenario.on_failure(&program, "r1", program.succeeded("r1", ROLL)).await?;
        runs_what_was_tested(&program, &done, &first).await?;
        program.serves(PRODUCTION, "Release 1").await?;
        account(&audit, &program, "r1", &done)?;

        let second_log = Audit::from_now_on(&scenario.cluster)?;
        let second = tested(&scenario, &program, "r2", 2).await?;
        ensure(first.aem != second.aem, || "releases 1 and 2 have the same image".into())?;
        planned(&scenario, &program, "r2").await?;
        let rolled =
            scenario.on_failure(&program, "r2", roll_with_visitors(&scenario, &program, &first, &second)).await?;
        runs_what_was_tested(&program, &rolled, &second).await?;
        account(&second_log, &program, "r2", &rolled)?;

        let killed = program.member(&format!("{PRODUCTION}-publish-0")).await?;
        program.kill(&killed.name).await?;
        let back = program.comes_back(&killed, ROLL).await?;
        ensure(back.image == Some(second.aem), || format!("{} came back with {:?}", back.name, back.image))?;
        program.serves(PRODUCTION, "Release 2").await?;
        println!("  {} was killed and came back on release 2", back.name);
        Ok(())
    })
}

/// Image digests that stage's pods ran while the release was tested.
#[derive(Clone, Copy)]
struct Tested {
    aem: Sha256Digest,
    dispatcher: Sha256Digest,
}

async fn tested(scenario: &Scenario, program: &Program, name: &str, release: u32) -> Outcome<Tested> {
    let zips = artifacts::site(release, None).await?;
    let artifact = program.push(zips.path()).await?;
    program.run(name, Some(artifact.digest())).await?;
    scenario.on_failure(program, name, program.awaits_approval(name, ROLL)).await?;
    let running = program.running(STAGE).await?;
    let of = |tier: &str| running.get(tier).copied().ok_or_else(|| Failure::new(format!("stage has no {tier}")));
    ensure(of("author")? == of("publish")?, || "author and publish of stage run two images".into())?;
    let said = program.heading(STAGE).await?;
    ensure(said == format!("Release {release}"), || format!("stage says '{said}'"))?;
    Ok(Tested { aem: of("publish")?, dispatcher: of("dispatcher")? })
}

/// The bytes on production are those that stage tested and that the status names: by what the container runtime says.
async fn runs_what_was_tested(program: &Program, status: &PipelineExecutionStatus, tested: &Tested) -> Outcome {
    let named = status.images.as_ref().ok_or("the status names no images")?;
    let running = program.running(PRODUCTION).await?;
    for (tier, named, tested) in [
        ("author", named.aem.digest(), tested.aem),
        ("publish", named.aem.digest(), tested.aem),
        ("dispatcher", named.dispatcher.digest(), tested.dispatcher),
    ] {
        let runs = running.get(tier).copied();
        ensure(runs == Some(tested) && named == tested, || {
            format!("{tier}: stage tested {tested}, the status names {named}, production runs {runs:?}")
        })?;
        println!("  {tier:10} tested = in status = running on production: {tested}");
    }
    Ok(())
}

/// Before anybody approves, the plugin says that production would change, and whose pods would be replaced.
async fn planned(scenario: &Scenario, program: &Program, name: &str) -> Outcome {
    let words = ["plan", PRODUCTION, "--execution", name, "--plain-http", &scenario.cluster.registry];
    let said = program.asks(&scenario.launchway, DEVELOPER, &words).await?;
    let told = || format!("exit code {:?}\n{}\n{}", said.code, said.stdout, said.stderr);
    ensure(said.code == Some(DIFFERS), told)?;
    for tier in ["author", "publish", "dispatcher"] {
        let set = format!("{PRODUCTION}-{tier}");
        let changes = said.stdout.lines().any(|line| line == format!("~ StatefulSet {set}"));
        ensure(changes && said.last_line().contains(&set), told)?;
    }
    println!("  planned: {}", said.last_line());
    Ok(())
}

/// The rollout of release 2 under the eyes of visitors, while a pod dies that it has not reached yet.
async fn roll_with_visitors(
    scenario: &Scenario,
    program: &Program,
    first: &Tested,
    second: &Tested,
) -> Outcome<PipelineExecutionStatus> {
    let victim = program.member(&format!("{PRODUCTION}-publish-0")).await?;
    let visitors = Visitors::come_often(&format!("{}{PAGE}", program.address(PRODUCTION).await?))?;
    program.approve("r2", &scenario.launchway).await?;
    let rolled = tokio::join!(
        program.succeeded("r2", ROLL),
        kill_one_not_yet_reached(program, &victim, first, second),
        never_a_mix(program, first, second)
    );
    let judged = traffic::judge(&visitors.go().await, &["Release 1", "Release 2"]);
    let status = rolled.0?;
    rolled.1?;
    rolled.2?;
    judged?;
    program.serves(PRODUCTION, "Release 2").await?;
    Ok(status)
}

/// Kills publish 0, the last that a rollout reaches, when the first pod of the new release is there.
async fn kill_one_not_yet_reached(program: &Program, victim: &Member, first: &Tested, second: &Tested) -> Outcome {
    until("a publish pod of release 2 starts on production", ROLL, || async {
        let members = program.members(PRODUCTION).await?;
        let new = members.iter().any(|member| member.tier == "publish" && member.image == Some(second.aem));
        Ok(if new { Ok(()) } else { Err(format!("{members:?}")) })
    })
    .await?;
    let now = program.member(&victim.name).await?;
    ensure(now.uid == victim.uid && now.image == Some(first.aem), || {
        format!("{} was reached already: {now:?}", victim.name)
    })?;
    program.kill(&victim.name).await?;
    let back = until(&format!("{} runs again", victim.name), ROLL, || async {
        let now = program.member(&victim.name).await?;
        Ok(if now.uid != victim.uid && now.image.is_some() { Ok(now) } else { Err(format!("{now:?}")) })
    })
    .await?;
    ensure(back.image == Some(first.aem) && back.revision == victim.revision, || {
        format!("{} was not reached yet, but came back with another release: {back:?}", back.name)
    })?;
    println!("  {} was killed during the rollout and came back on release 1", back.name);
    Ok(())
}

/// Until the rollout is over, no pod runs an image of another release than its template's.
async fn never_a_mix(program: &Program, first: &Tested, second: &Tested) -> Outcome {
    let old = program.members(PRODUCTION).await?;
    let old: Vec<String> = old.into_iter().map(|member| member.revision).collect();
    let (mut looks, mut over) = (0, false);
    while !over {
        over = program.execution("r2").await?.status.is_some_and(|status| status.completion_time.is_some());
        for member in program.members(PRODUCTION).await? {
            let release = if old.contains(&member.revision) { first } else { second };
            let wanted = if member.tier == "dispatcher" { release.dispatcher } else { release.aem };
            ensure(member.image.is_none_or(|image| image == wanted), || format!("a mix in {member:?}"))?;
        }
        looks += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("  no pod mixed releases in {looks} looks");
    Ok(())
}

/// What the audit log says about an execution.
fn account(audit: &Audit, program: &Program, name: &str, status: &PipelineExecutionStatus) -> Outcome {
    let writes = audit.of_operator()?;
    ensure(!writes.is_empty(), || "the audit log knows no write by the operator: is this the right log?".into())?;
    audit::never_pods(&writes)?;
    let approval = approved_at(audit, program, name)?;
    audit::none_before(&writes, approval, &program.namespace, PRODUCTION)?;
    let first = writes.iter().find(|write| write.at >= approval && write.of_workloads(&program.namespace, PRODUCTION));
    let first = first.ok_or("the operator never wrote to production")?;
    measured(
        &format!("{name}: approval to the first write on production"),
        format!("{} ms", first.at.duration_since(approval).as_millis()),
    );
    let asked = asked_at(audit, program, name)?;
    let own: Vec<&Write> =
        writes.iter().filter(|write| write.namespace == program.namespace && write.at >= asked).collect();
    let counts = audit::counted(own.iter().copied());
    measured(&format!("{name}: writes by the operator, Events apart"), counts.values().sum::<usize>());
    counts.iter().for_each(|(what, count)| println!("    {count:4}  {what}"));
    let took = status.completion_time.as_ref().zip(status.start_time.as_ref());
    let took = took.map(|(end, start)| end.0.duration_since(start.0).as_secs());
    measured(&format!("{name}: from start to end"), format!("{} s", took.unwrap_or_default()));
    for step in &status.steps {
        println!("    {:4}  {}", seconds(step).map_or("-".into(), |seconds| format!("{seconds}s")), step.name.as_str());
    }
    Ok(())
}

/// When the execution was asked for.
fn asked_at(audit: &Audit, program: &Program, name: &str) -> Outcome<Timestamp> {
    let writes = audit.writes(Some(DEVELOPER))?;
    let created = writes.iter().rev().find(|write| {
        write.namespace == program.namespace && write.resource == "pipelineexecutions" && write.verb == "create"
    });
    created.map(|write| write.at).ok_or_else(|| Failure::new(format!("the audit log has no creation of {name}")))
}

/// When the apiserver had stored the approval.
fn approved_at(audit: &Audit, program: &Program, name: &str) -> Outcome<Timestamp> {
    let writes = audit.writes(Some(APPROVER))?;
    let approval = writes.iter().find(|write| {
        write.namespace == program.namespace
            && write.resource == "pipelineexecutions"
            && write.name == name
            && write.code == 200
    });
    approval.map(|write| write.done).ok_or_else(|| Failure::new(format!("the audit log has no approval of {name}")))
}
