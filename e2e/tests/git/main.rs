//! From `git push` to production: a Git server in the cluster, builds in it, and the approval as the only command. Each
//! test is a part that can be run by itself.

mod bad;
mod builds;
mod controller;
mod flux;
mod polls;
mod pushed;
mod scanned;
mod shared;
mod version;

use std::time::Duration;

use launchway_crds::execution::PipelineExecutionStatus;
use launchway_e2e::{
    Outcome,
    git_server::{GitServer, Images},
    program::{DEVELOPER, Options, Program},
    scenario::{self, Scenario},
};
use serde_json::{Value, json};

/// A build and everything after it.
const WHOLE: Duration = Duration::from_secs(900);
/// A build that fails, or one of a moment.
const SHORT: Duration = Duration::from_secs(420);

#[test]
fn a_pushed_page_reaches_production() -> Outcome {
    scenario::run("git", |scenario| async move { pushed::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn bad_sources_end_with_a_reason_of_their_own() -> Outcome {
    scenario::run("git-bad", |scenario| async move { bad::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn builds_by_ssh_are_reused_and_have_a_cache() -> Outcome {
    scenario::run("git-builds", |scenario| async move { builds::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn fifty_pipelines_ask_one_server() -> Outcome {
    scenario::alone("git-polls", |scenario| async move { polls::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn packages_carry_a_generated_version() -> Outcome {
    scenario::run("git-version", |scenario| async move { version::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn five_pushes_on_a_shared_branch_are_one_more_run() -> Outcome {
    scenario::run("git-shared", |scenario| async move { shared::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn a_build_is_followed_alone_and_its_scan_is_told() -> Outcome {
    scenario::run("git-scanned", |scenario| async move { scanned::check(&Ground::prepare(scenario).await?).await })
}

#[test]
fn flux_says_which_revision_is_built() -> Outcome {
    scenario::run("git-flux", |scenario| async move { flux::check(&Ground::prepare(scenario).await?).await })
}

/// What every part works with.
struct Ground {
    scenario: Scenario,
    program: Program,
    images: Images,
    server: GitServer,
}

impl Ground {
    async fn prepare(scenario: Scenario) -> Outcome<Self> {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let images = Images::provide(&scenario.cluster).await?;
        let server = GitServer::start(&program, &images.git).await?;
        Ok(Self { scenario, program, images, server })
    }

    /// Creates an execution of a pipeline as the developer; `more` is added to its spec.
    async fn run(&self, pipeline: &str, name: &str, more: Value) -> Outcome {
        let spec = json!({ "pipelineRef": { "name": pipeline }, "requestedBy": DEVELOPER });
        self.program.run_spec(name, with(spec, more)).await.map(drop)
    }

    /// Waits until an execution has its packages.
    async fn built(&self, name: &str) -> Outcome<PipelineExecutionStatus> {
        let waits = self.program.wait(name, "has its packages", WHOLE, |status| status.artifact.is_some());
        let execution = self.scenario.on_failure(&self.program, name, waits).await?;
        execution.status.ok_or_else(|| "no status".into())
    }

    /// Cancels an execution that has shown what it was for.
    async fn cancel(&self, name: &str) -> Outcome {
        self.scenario.types(&self.program, DEVELOPER, &["cancel", name, "--reason", "seen"]).await?;
        self.program.ended(name, SHORT).await.map(drop)
    }

    /// Applies a pipeline that does nothing but build and check, in the name of a Git source.
    async fn code_quality(&self, name: &str, git: Value, trigger: Value) -> Outcome {
        let artifacts = json!({ "repository": format!("{}/{}/built", self.program.cluster.registry, self.program.namespace), "plainHTTP": true });
        let spec = json!({ "type": "CodeQuality", "source": { "git": with(git, json!({ "artifacts": artifacts })) } });
        let pipeline = json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": { "name": name },
            "spec": with(spec, trigger),
        });
        self.program.apply(&pipeline).await
    }
}

/// One object with the fields of another.
fn with(mut one: Value, more: Value) -> Value {
    if let Value::Object(fields) = more {
        for (key, value) in fields {
            one[key] = value;
        }
    }
    one
}
