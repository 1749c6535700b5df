//! Sources that end with a reason of their own, and a good one after them.

use std::time::Instant;

use launchway_crds::step::StepName;
use launchway_e2e::{
    Outcome,
    executions::{step, told},
    failure::ensure,
    git_ground::{Ground, SHORT, with},
    git_server::Checkout,
    process::Program as Process,
    program::PIPELINE,
    scenario::measured,
};
use serde_json::{Value, json};

/// How an execution has to end.
struct Bad {
    name: &'static str,
    /// Added to the pipeline's Git source.
    git: Value,
    /// Added to the execution.
    execution: Value,
    step: StepName,
    reason: &'static str,
}

/// A build of these commands that ends with this reason.
fn built(name: &'static str, command: &'static str, reason: &'static str) -> Bad {
    let git = json!({ "builder": { "commands": [command] } });
    Bad { name, git, execution: json!({}), step: StepName::Build, reason }
}

const FAILING_TEST: &str = "mkdir -p target/surefire-reports; echo \"<testsuite><testcase name='a'><failure/></testcase></testsuite>\" >target/surefire-reports/TEST-a.xml";
const BROKEN_TEST: &str = "mkdir -p target/surefire-reports; echo \"<testsuite><testcase name='a'><error/></testcase></testsuite>\" >target/surefire-reports/TEST-a.xml";
/// A branch with one file, which is larger than the disk of who takes it.
const LARGE: &str = "large";
const NO_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TAG: &str = "v1";
/// The kubelet keeps the newest 50 MiB or so of what a container says.
const GIGABYTES: &str = "head -c 2G /dev/zero | tr '\\000' x | fold -w 16000; exit 3";
const TWO_JARS: &str = "mkdir target; echo zip >target/a.zip; echo 'Cloud-Manager-TestType: integration-test' >m; jar cfm target/a.jar m m; cp target/a.jar target/b.jar";

fn cases(ground: &Ground) -> Vec<Bad> {
    let found = |name, git, reason| Bad { name, git, execution: json!({}), step: StepName::Validate, reason };
    vec![
        found("no-branch", json!({ "branch": "missing" }), "RefNotFound"),
        found("no-repository", json!({ "url": ground.server.url("missing.git") }), "RepositoryNotFound"),
        Bad {
            name: "moved",
            git: json!({ "tag": TAG }),
            execution: json!({ "commit": NO_COMMIT }),
            step: StepName::Validate,
            reason: "TagMoved",
        },
        found("no-login", json!({ "url": ground.server.url("private/small.git") }), "GitRefused"),
        Bad {
            // As after a force push: the server does not have it any more.
            name: "vanished",
            execution: json!({ "commit": NO_COMMIT }),
            ..built("vanished", "true", "CommitNotFound")
        },
        built("fails", "echo broken; exit 3", "BuildFailed"),
        built("no-pom", "mvn --batch-mode clean package", "NoPom"),
        Bad {
            name: "large",
            git: json!({ "branch": LARGE, "builder": { "disk": "16Mi" } }),
            ..built("large", "", "TooLarge")
        },
        built("tests-fail", FAILING_TEST, "UnitTestsFailed"),
        built("tests-break", BROKEN_TEST, "UnitTestsFailed"),
        built("no-zip", "mkdir target", "NoArtifacts"),
        built("leaks", "mkdir target; ln -s /var/run/launchway/credentials target/a.zip", "ArtifactInvalid"),
        built("escapes", "mkdir target; echo zip >\"target/a$(printf '\\033')[2J.zip\"", "ArtifactInvalid"),
        built("two-jars", TWO_JARS, "ArtifactInvalid"),
        built("chatty", GIGABYTES, "BuildFailed"),
        built("hungry", "tail /dev/zero", "OutOfMemory"),
        Bad {
            name: "endless",
            git: json!({ "builder": { "commands": ["sleep 600"], "timeout": "30s" } }),
            ..built("endless", "", "TimedOut")
        },
    ]
}

pub async fn check(ground: &Ground) -> Outcome {
    let Ground { scenario, program, images, server } = ground;
    let checkout = Checkout::empty(server, "small.git")?;
    checkout.write("README", "nothing to build")?;
    checkout.push()?;
    checkout.push_as(&format!("refs/tags/{TAG}"))?;
    let large = Checkout::empty(server, "small.git")?;
    Process::new("dd")
        .args(["if=/dev/urandom", "bs=1M", "count=48", "status=none"])
        .args([&format!("of={}", large.folder().join("large").display())])
        .run()
        .await?;
    large.push_as(&format!("refs/heads/{LARGE}"))?;
    let source = |git: Value| {
        let builder = json!({
            "image": images.builder, "timeout": "4m", "disk": "256Mi", "resources": { "limits": { "memory": "128Mi" } },
        });
        let builder = with(builder, git["builder"].clone());
        // A tag stands for itself.
        let reference = if git["tag"].is_null() { json!({ "branch": "main" }) } else { json!({}) };
        let all = with(with(json!({ "url": server.url("small.git") }), reference), git);
        with(all, json!({ "builder": builder }))
    };
    let apply = async |git: Value| {
        let mut pipeline = program.pipeline(&program.images.tester);
        pipeline["spec"]["source"] = json!({ "git": source(git) });
        program.apply(&pipeline).await
    };
    for Bad { name, git, execution, step: wanted, reason } in cases(ground) {
        apply(git).await?;
        let begun = Instant::now();
        ground.run(PIPELINE, name, execution).await?;
        let status = scenario.on_failure(program, name, program.ended(name, SHORT)).await?;
        let ended = step(&status, wanted)?;
        ensure(ended.reason.as_deref() == Some(reason), || format!("{name}: not {reason}: {}", told(&status)))?;
        let message = ended.message.clone().unwrap_or_default();
        ensure(!message.chars().any(char::is_control), || format!("{name}: {message:?}"))?;
        println!("  {name}: {} {reason} after {} s: {message}", wanted.as_str(), begun.elapsed().as_secs());
    }
    apply(json!({ "builder": { "commands": ["mkdir target; echo zip >target/a.zip"] } })).await?;
    checkout.write("README", "mended")?;
    let commit = checkout.push()?;
    ground.run(PIPELINE, "mended", json!({})).await?;
    let status = ground.built("mended").await?;
    let taken = status.commit.map(|commit| commit.id).unwrap_or_default();
    ensure(taken == commit, || format!("built {taken}, pushed {commit}"))?;
    measured("the next push after bad ones", "built");
    program.ended("mended", SHORT).await.map(drop)
}
