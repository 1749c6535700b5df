//! One release, the work of the peers' figures: five Jobs, one after the other, and one wait for a person.
//!
//! Three of the five Jobs do their real work (package checks, an image build that finds nothing new, requests of a
//! page) where the peers' ran `true`. The peers' deployed nothing; ours deploys to one Environment (`StageOnly`), or to two
//! (`FullStack`). They run the release already: no pod of theirs is in the figures.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use launchway_crds::{digest::ImageRef, names::labels, step::StepName};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::{self, Audit, Write},
    cluster::Cluster,
    images::Images,
    lives::Lives,
    program::{APPROVER, DEVELOPER, Options, PAGE, Program},
    scenario::measured,
};
use serde_json::{Value, json};

use crate::{
    SCENARIO,
    pods::{self, Gap},
    spread,
};

const LONG: Duration = Duration::from_secs(300);
/// Events that follow the last transition are written by then.
const SETTLE: Duration = Duration::from_secs(5);
/// Runs that count, after one that does not.
const ROUNDS: usize = 5;

/// What is run.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// One Environment, with the approval between the second Job and the third.
    StageOnly,
    /// Two Environments, with the approval after the fifth Job.
    FullStack,
}

impl Work {
    const ALL: [Self; 2] = [Self::StageOnly, Self::FullStack];

    /// The type of its pipeline.
    const fn type_(self) -> &'static str {
        match self {
            Self::StageOnly => "StageOnly",
            Self::FullStack => "FullStack",
        }
    }

    /// What its pipeline and executions are called.
    const fn name(self) -> &'static str {
        match self {
            Self::StageOnly => "stage-only",
            // The program has it: there is one of this type for its Environments.
            Self::FullStack => "demo",
        }
    }

    /// Where it waits for a person.
    const fn waits(self) -> StepName {
        match self {
            Self::StageOnly => StepName::ApprovalStage,
            Self::FullStack => StepName::ApprovalProduction,
        }
    }

    /// Five Jobs: package checks, image build, smoke test, product test, functional test.
    fn pipeline(self, program: &Program) -> Value {
        let mut pipeline = program.pipeline(&program.images.tester);
        pipeline["metadata"]["name"] = json!(self.name());
        let spec = &mut pipeline["spec"];
        spec["type"] = json!(self.type_());
        let quick = json!({"image": program.images.tester, "variables": {"LAUNCHWAY_TEST_PATH": PAGE}});
        spec["stage"]["tests"]["product"] = quick.clone();
        spec["stage"]["tests"]["functional"] = quick;
        if let (Self::StageOnly, Some(all)) = (self, spec.as_object_mut()) {
            all.remove("production");
            spec["stage"]["approval"] = json!({"required": true});
        }
        pipeline
    }
}

/// Figures of one run.
struct Round {
    wall: Duration,
    writes: usize,
    events: usize,
    next_pods: Vec<Gap>,
    approval: Duration,
}

/// Runs each kind of release several times, and prints medians.
///
/// # Errors
/// When a run does not succeed.
pub async fn measure(cluster: &Cluster, images: &Images, launchway: &Path) -> Outcome {
    println!("\nrelease: five Jobs and one approval, {ROUNDS} runs of each kind (about 4 minutes)");
    let program = Program::set_up(cluster, images, "e2e-bench-release", &Options::stand_in(1).of(SCENARIO)).await?;
    let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
    for work in Work::ALL {
        program.apply(&work.pipeline(&program)).await?;
        let mut rounds = vec![];
        for number in 0..=ROUNDS {
            let name = format!("{}-{number}", work.name());
            let round = run(&program, launchway, work, &name, &artifact).await?;
            // The first one deploys to Environments that run nothing yet.
            if number > 0 {
                rounds.push(round);
            }
        }
        println!("  {}:", work.type_());
        tell(&rounds);
    }
    program.remove().await
}

async fn run(program: &Program, launchway: &Path, work: Work, name: &str, artifact: &ImageRef) -> Outcome<Round> {
    let audit = Audit::from_now_on(&program.cluster)?;
    let lives = Lives::watch(program, labels::STEP).await?;
    let (pipeline, digest) = (json!({"name": work.name()}), json!({"digest": artifact.digest()}));
    let spec = json!({"pipelineRef": pipeline, "artifact": digest, "requestedBy": DEVELOPER});
    program.run_spec(name, spec).await?;
    program.begins(name, work.waits(), LONG).await?;
    let asked = Instant::now();
    program.approve(name, launchway).await?;
    let (waited, said) = (asked.elapsed(), Timestamp::now());
    let status = program.succeeded(name, LONG).await?;
    tokio::time::sleep(SETTLE).await;
    let (began, ended) = (status.start_time, status.completion_time);
    let wall = began.zip(ended).map(|(began, ended)| ended.0.duration_since(began.0));
    let wall = wall.and_then(|wall| Duration::try_from(wall).ok()).unwrap_or_default();
    round(program, &audit, wall.saturating_sub(waited), pods::gaps(lives.seen(), name, said)?)
}

fn round(program: &Program, audit: &Audit, wall: Duration, next_pods: Vec<Gap>) -> Outcome<Round> {
    let writes = audit.of_operator()?;
    let own: Vec<&Write> = writes.iter().filter(|write| write.namespace == program.namespace).collect();
    let events = own.iter().filter(|write| write.resource == "events").count();
    let counts = audit::counted(own.iter().copied());
    println!("    {counts:?}, {events} Events");
    let stored = audit.writes(Some(APPROVER))?.into_iter().find(|write| write.resource == "pipelineexecutions");
    let stored = stored.ok_or_else(|| Failure::new("the audit log has no approval"))?.done;
    let next = own.iter().find(|write| write.at >= stored && !write.housekeeping()).map(|write| write.at);
    let approval = next.map(|next| next.duration_since(stored)).and_then(|time| Duration::try_from(time).ok());
    Ok(Round {
        wall,
        writes: counts.values().sum(),
        events,
        next_pods,
        approval: approval.ok_or_else(|| Failure::new("nothing was written after the approval"))?,
    })
}

fn tell(rounds: &[Round]) {
    let of = |figure: fn(&Round) -> f64| spread(&rounds.iter().map(figure).collect::<Vec<_>>(), 0);
    measured(
        "from start to end, the person left out (s, by the status's whole seconds)",
        of(|round| round.wall.as_secs_f64()),
    );
    measured("writes by the operator, Events and the Lease left out", of(|round| round.writes as f64));
    measured("Events written", of(|round| round.events as f64));
    measured("approval stored to the next write (ms)", of(|round| round.approval.as_secs_f64() * 1e3));
    let gaps = |of: fn(&Gap) -> Duration| {
        let all = rounds.iter().flat_map(|round| &round.next_pods).map(|gap| of(gap).as_secs_f64() * 1e3);
        spread(&all.collect::<Vec<_>>(), 0)
    };
    measured("end of a step's last container to the next pod (ms, as a watch sees both)", gaps(|gap| gap.last));
    measured("the same from its first container's end", gaps(|gap| gap.first));
}
