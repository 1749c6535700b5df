//! The frame of a scenario test: in its turn, on a cluster that is up, with the operator of this repository on it.

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    Failure, Outcome,
    cluster::Cluster,
    executions::told,
    images::{self, Images},
    install, process,
    program::{self, Options, Program},
    steps::short,
    turn::{self, Turn},
};

/// The longest that any scenario takes.
const LIMIT: Duration = Duration::from_secs(2400);

/// What a scenario works with.
#[derive(Clone)]
pub struct Scenario {
    /// The cluster.
    pub cluster: Cluster,
    /// Images in its registry.
    pub images: Images,
    /// The binary, which is the plugin too.
    pub launchway: PathBuf,
    /// Name of the scenario, and the beginning of its namespaces.
    pub name: &'static str,
}

/// Runs a scenario beside others; what it leaves stays when it fails, and is removed when it passes.
///
/// # Errors
/// The scenario's failure, with what the operator and the pods say.
pub fn run<F, Fut>(name: &'static str, scenario: F) -> Outcome
where
    F: FnOnce(Scenario) -> Fut,
    Fut: Future<Output = Outcome>,
{
    in_turn(name, Turn::Shared, scenario)
}

/// Runs a scenario while no other runs, whoever started them; otherwise as [`run`].
///
/// # Errors
/// As [`run`].
pub fn alone<F, Fut>(name: &'static str, scenario: F) -> Outcome
where
    F: FnOnce(Scenario) -> Fut,
    Fut: Future<Output = Outcome>,
{
    in_turn(name, Turn::Alone, scenario)
}

fn in_turn<F, Fut>(name: &'static str, wanted: Turn, scenario: F) -> Outcome
where
    F: FnOnce(Scenario) -> Fut,
    Fut: Future<Output = Outcome>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("no threads: {error}")))?;
    let _turn = turn::turn(name, wanted)?;
    // What others left is removed when nobody else is there who may need it.
    let earlier = (wanted == Turn::Shared).then_some(name);
    runtime.block_on(async {
        let began = Instant::now();
        let set_up = set_up(name, earlier).await.map_err(|failure| failure.during(&format!("{name} cannot begin")))?;
        println!("{name}: begins ({} of preparation)", short(began.elapsed()));
        let began = Instant::now();
        let cluster = set_up.cluster.clone();
        let result = match tokio::time::timeout(LIMIT, scenario(set_up)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(format!("it did not end within {} s", LIMIT.as_secs()))),
        };
        match result {
            Ok(()) => {
                println!("{name}: passed in {}", short(began.elapsed()));
                program::let_scenarios_go(&cluster, earlier).await.map(drop)
            }
            Err(failure) => {
                println!("{name}: FAILED after {}", short(began.elapsed()));
                println!("operator:\n{}", install::log(&cluster).await);
                // Alone it stays, for somebody to look at. In the suite its pods would keep the node from those that follow.
                if std::env::var_os("LAUNCHWAY_SUITE").is_some() {
                    program::let_scenarios_go(&cluster, earlier).await?;
                }
                Err(failure.during(name))
            }
        }
    })
}

async fn set_up(name: &'static str, earlier: Option<&str>) -> Outcome<Scenario> {
    let _mine = turn::set_up(name)?;
    println!("{name}: cluster, images and operator (10 s when they are there; 20 minutes from nothing)");
    let cluster = Cluster::start().await?;
    let launchway = process::launchway().await?;
    let images = images::provide(&cluster, &launchway).await?;
    program::remove_scenarios(&cluster, earlier).await?;
    install::install(&cluster, &images).await?;
    Ok(Scenario { cluster, images, launchway, name })
}

impl Scenario {
    /// A program of this scenario.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn program(&self, part: &str, options: &Options) -> Outcome<Program> {
        let namespace =
            if part.is_empty() { format!("e2e-{}", self.name) } else { format!("e2e-{}-{part}", self.name) };
        Program::set_up(&self.cluster, &self.images, &namespace, &options.clone().of(self.name)).await
    }

    /// Runs a release to production, approved at once.
    ///
    /// # Errors
    /// When it does not succeed.
    pub async fn deploy(&self, program: &Program, name: &str, release: u32) -> Outcome {
        let limit = Duration::from_secs(600);
        let zips = crate::artifacts::site(release, None).await?;
        let artifact = program.push(zips.path()).await?;
        program.run(name, Some(artifact.digest())).await?;
        self.on_failure(program, name, async {
            program.awaits_approval(name, limit).await?;
            program.approve(name, &self.launchway).await?;
            program.succeeded(name, limit).await
        })
        .await?;
        program.serves(program::PRODUCTION, &format!("Release {release}")).await
    }

    /// Types a command of the plugin, as this person.
    ///
    /// # Errors
    /// When the plugin or the apiserver refuses.
    pub async fn types(&self, program: &Program, who: &str, words: &[&str]) -> Outcome {
        program.types(&self.launchway, who, words).await
    }

    /// Adds what the execution and the pods say to a failure.
    ///
    /// # Errors
    /// The work's own.
    pub async fn on_failure<T>(
        &self,
        program: &Program,
        execution: &str,
        work: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        match work.await {
            Ok(value) => Ok(value),
            Err(failure) => {
                let status = program.execution(execution).await.ok().and_then(|execution| execution.status);
                println!("execution {execution}:\n{}", told(&status.unwrap_or_default()));
                println!("pods:\n{}", program.pods_told().await);
                println!("logs of Jobs:\n{}", program.logs_told().await);
                Err(failure)
            }
        }
    }
}

/// Says what was measured, in a form that stands out.
pub fn measured(what: &str, value: impl std::fmt::Display) {
    println!("  measured: {what}: {value}");
}
