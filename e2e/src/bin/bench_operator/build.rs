//! What the Job of a build from Git costs beside its commands.
//!
//! The demo's site is built by an execution and by a plain Job in turns, with one image, one command, the same limits and the
//! same cache volume, which the first round fills. The plain Job clones the repository and runs the command, in one container.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use launchway_crds::names::{child_name, labels};
use launchway_e2e::{
    Failure, Outcome,
    cluster::{Cluster, call},
    git_server::{self, Checkout, GitServer},
    images::Images,
    lives::Lives,
    program::{DEVELOPER, Options, Program},
    scenario::measured,
    volume::{self, Volume},
};
use serde_json::{Value, json};

use crate::{SCENARIO, pods::took, spread};

const LONG: Duration = Duration::from_secs(280);
/// Rounds that count, after one that does not.
const ROUNDS: usize = 5;
const NAME: &str = "build";
const REPOSITORY: &str = "site.git";
const COMMAND: &str = "mvn --batch-mode -Drelease=1 package";
/// A volume for the cache, where nobody provides one.
const VOLUME: &str = "launchway-bench-build-cache";
const SIZE: &str = "512Mi";
const MEMORY: &str = "1Gi";
/// Label of the pods of plain Jobs.
const PLAIN: &str = "launchway.dev/e2e-plain";

/// Figures of one build.
struct Took {
    /// From the pod to the end of its last container.
    whole: Duration,
    /// The command alone, by the clock of its container.
    command: Duration,
}

/// Builds several times, and prints medians.
///
/// # Errors
/// When a build does not end well.
pub async fn measure(cluster: &Cluster, images: &Images) -> Outcome {
    println!("\nbuild: the demo's site by Maven, {ROUNDS} rounds (about 4 minutes)");
    let program = Program::set_up(cluster, images, "e2e-bench-build", &Options::stand_in(1).of(SCENARIO)).await?;
    let own = git_server::Images::provide(cluster).await?;
    let server = GitServer::start(&program, &own.git).await?;
    Checkout::of_site(&server, REPOSITORY, 1)?.push()?;
    let claim = child_name(NAME, "build-cache");
    Volume { name: VOLUME, namespace: &program.namespace, claim: &claim, size: SIZE }.provide(cluster).await?;
    program.apply(&pipeline(&program, &server, &own.builder)).await?;
    let mut rounds = vec![];
    for number in 0..=ROUNDS {
        let ours = by_execution(&program, &format!("run-{number}")).await?;
        let plain = by_plain_job(&program, &plain_job(number, &server, &own.builder, &claim)).await?;
        if number > 0 {
            rounds.push((ours, plain));
        }
    }
    tell(&rounds);
    program.remove().await?;
    volume::remove(cluster, VOLUME).await
}

fn tell(rounds: &[(Took, Took)]) {
    let of = |digits, figure: fn(&(Took, Took)) -> f64| spread(&rounds.iter().map(figure).collect::<Vec<_>>(), digits);
    measured("the command alone, in the Job of an execution (ms)", of(0, |(ours, _)| ours.command.as_secs_f64() * 1e3));
    measured("the command alone, in a plain Job (ms)", of(0, |(_, plain)| plain.command.as_secs_f64() * 1e3));
    measured(
        "the Job of an execution, from its pod to its end (ms)",
        of(0, |(ours, _)| ours.whole.as_secs_f64() * 1e3),
    );
    measured("the plain Job (ms)", of(0, |(_, plain)| plain.whole.as_secs_f64() * 1e3));
    measured(
        "the Job of an execution over the plain Job",
        of(2, |(ours, plain)| ours.whole.as_secs_f64() / plain.whole.as_secs_f64()),
    );
    measured(
        "the Job of an execution over the command alone",
        of(2, |(ours, plain)| ours.whole.as_secs_f64() / plain.command.as_secs_f64()),
    );
}

/// Builds, counts, uploads and checks; keeps nothing from build to build but the cache.
fn pipeline(program: &Program, server: &GitServer, builder: &str) -> Value {
    let artifacts = format!("{}/{}/built", program.cluster.registry, program.namespace);
    json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": { "name": NAME },
        "spec": { "type": "CodeQuality", "source": { "git": {
            "url": server.url(REPOSITORY), "branch": "main", "reuse": false,
            "artifacts": { "repository": artifacts, "plainHTTP": true },
            "builder": {
                "image": builder, "commands": [timed(COMMAND)], "cache": { "size": SIZE },
                "resources": { "limits": { "memory": MEMORY } },
            },
        } } },
    })
}

/// The command between two lines with the time in nanoseconds.
fn timed(command: &str) -> String {
    format!("echo begin $(date +%s%N); {command}; echo end $(date +%s%N)")
}

async fn by_execution(program: &Program, name: &str) -> Outcome<Took> {
    let lives = Lives::watch(program, &format!("{}=build", labels::STEP)).await?;
    program.run_spec(name, json!({ "pipelineRef": { "name": NAME }, "requestedBy": DEVELOPER })).await?;
    program.succeeded(name, LONG).await?;
    let (pod, whole) = took(&lives, name, LONG).await?;
    Ok(Took { whole, command: command(program, &pod).await? })
}

async fn by_plain_job(program: &Program, job: &Value) -> Outcome<Took> {
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let lives = Lives::watch(program, PLAIN).await?;
    program.apply(job).await?;
    let (pod, whole) = took(&lives, name, LONG).await?;
    Ok(Took { whole, command: command(program, &pod).await? })
}

/// How long the command took, by the log of its container.
async fn command(program: &Program, pod: &str) -> Outcome<Duration> {
    let pods: Api<Pod> = Api::namespaced(program.cluster.client.clone(), &program.namespace);
    let of_build = LogParams { container: Some("build".into()), ..LogParams::default() };
    let log = call(pods.logs(pod, &of_build)).await?;
    // Maven leaves marks of colours at the beginning of the line after its own.
    let time = |word: &str| log.lines().find_map(|line| line.split_once(word)?.1.trim().parse::<u64>().ok());
    let took = time("begin ").zip(time("end ")).and_then(|(begin, end)| end.checked_sub(begin));
    took.map(Duration::from_nanos)
        .ok_or_else(|| Failure::new(format!("the log of the build in {pod} does not say how long it took")).seen(&log))
}

/// What somebody would write who has a cluster and no operator.
fn plain_job(number: usize, server: &GitServer, builder: &str, claim: &str) -> Value {
    let clone = format!("git clone --quiet --depth 1 {} site; cd site", server.url(REPOSITORY));
    let repository = "/home/build/.m2/repository";
    let maven = format!("-Duser.home=/home/build -Dmaven.repo.local={repository}");
    let work = |path: &str| json!({ "name": "work", "mountPath": path, "subPath": path.trim_matches('/') });
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": format!("plain-{number}") },
        "spec": { "backoffLimit": 0, "template": {
            "metadata": { "labels": { PLAIN: "true" } },
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 5,
                "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "build", "image": builder, "workingDir": "/workspace",
                    "command": ["/bin/sh", "-e", "-c", format!("{clone}; {}", timed(COMMAND))],
                    "env": [{ "name": "HOME", "value": "/home/build" }, { "name": "MAVEN_OPTS", "value": maven }, { "name": "MAVEN_CONFIG", "value": "" }],
                    "resources": { "requests": { "cpu": "500m" }, "limits": { "memory": MEMORY } },
                    "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
                    "volumeMounts": [work("/workspace"), work("/home/build"), work("/tmp"), { "name": "cache", "mountPath": repository, "subPath": "maven" }],
                }],
                "volumes": [{ "name": "work", "emptyDir": {} }, { "name": "cache", "persistentVolumeClaim": { "claimName": claim } }],
            },
        } },
    })
}
