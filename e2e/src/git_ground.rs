//! What scenarios that build from Git share: a program, a Git server in its namespace, and pipelines that build.

use std::time::Duration;

use launchway_crds::execution::PipelineExecutionStatus;
use serde_json::{Value, json};

use crate::{
    Outcome,
    git_server::{GitServer, Images},
    program::{DEVELOPER, Options, Program},
    scenario::Scenario,
};

/// A build and everything after it.
pub const WHOLE: Duration = Duration::from_secs(900);
/// A build that fails, or one of a moment.
pub const SHORT: Duration = Duration::from_secs(420);

/// What every part works with.
pub struct Ground {
    /// The scenario.
    pub scenario: Scenario,
    /// Its program.
    pub program: Program,
    /// The builder's image, and that of the server.
    pub images: Images,
    /// The server.
    pub server: GitServer,
}

impl Ground {
    /// A program with a Git server in its namespace.
    ///
    /// # Errors
    /// When one of the images cannot be built, or the server does not start.
    pub async fn prepare(scenario: Scenario) -> Outcome<Self> {
        let program = scenario.program("", &Options::stand_in(1)).await?;
        let images = Images::provide(&scenario.cluster).await?;
        let server = GitServer::start(&program, &images.git).await?;
        Ok(Self { scenario, program, images, server })
    }

    /// Creates an execution of a pipeline as the developer; `more` is added to its spec.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub async fn run(&self, pipeline: &str, name: &str, more: Value) -> Outcome {
        let spec = json!({ "pipelineRef": { "name": pipeline }, "requestedBy": DEVELOPER });
        self.program.run_spec(name, with(spec, more)).await.map(drop)
    }

    /// Waits until an execution has its packages.
    ///
    /// # Errors
    /// When it gets none.
    pub async fn built(&self, name: &str) -> Outcome<PipelineExecutionStatus> {
        let waits = self.program.wait(name, "has its packages", WHOLE, |status| status.artifact.is_some());
        let execution = self.scenario.on_failure(&self.program, name, waits).await?;
        execution.status.ok_or_else(|| "no status".into())
    }

    /// Cancels an execution that has shown what it was for.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn cancel(&self, name: &str) -> Outcome {
        self.scenario.types(&self.program, DEVELOPER, &["cancel", name, "--reason", "seen"]).await?;
        self.program.ended(name, SHORT).await.map(drop)
    }

    /// Applies a pipeline that does nothing but build and check, in the name of a Git source.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub async fn code_quality(&self, name: &str, git: Value, trigger: Value) -> Outcome {
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
#[must_use]
pub fn with(mut one: Value, more: Value) -> Value {
    if let Value::Object(fields) = more {
        for (key, value) in fields {
            one[key] = value;
        }
    }
    one
}
