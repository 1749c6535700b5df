//! `make bench-operator`: what the operator costs on the local cluster, beside the figures that peers had there.
//!
//! Every figure comes from outside of the operator: the apiserver's audit log, a watch of this program's own, the
//! kernel's account of the process.

use std::process::ExitCode;

use launchway_e2e::{
    Outcome,
    cluster::Cluster,
    images, install, metrics, process, program,
    scenario::measured,
    turn::{self, Turn},
};

mod build;
mod crowd;
mod fleet;
mod pods;
mod release;
mod rollout;

/// What its namespaces are labelled with, as a scenario's are.
const SCENARIO: &str = "bench-operator";

/// Executions that are there at once, unless arguments say otherwise.
const FEW: usize = 1000;
const MANY: usize = 10_000;

/// What peers needed on this cluster for the same work (Tekton Pipelines 1.12.0, Argo Workflows 4.0.7, shipped defaults, 2
/// cores, 2026-11-21): not measured in this run.
const PEERS: &str = "\
recorded on 2026-11-21, not in this run      Tekton              Argo Workflows
  idle memory                                295 MiB (4 proc.)   60 MiB
  release, from start to end                 15.9 s              58.2 s
  release, writes without Events and leases  71                  18, and 15 in pods
  release, Events                            50                  27
  container end to next pod                  44 ms               7.0 s
  memory with 1,000 finished runs            98 MiB              106 MiB";

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Scenarios stop operators: none may run meanwhile.
    let result = turn::turn(SCENARIO, Turn::Alone).and_then(|_turn| runtime.block_on(bench()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench-operator: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Outcome {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let cluster = Cluster::start().await?;
    let launchway = process::launchway().await?;
    let images = images::provide(&cluster, &launchway).await?;
    program::remove_scenarios(&cluster, None).await?;
    install::install(&cluster, &images).await?;
    if wanted("release") {
        idle(&cluster).await?;
        release::measure(&cluster, &images, &launchway).await?;
    }
    if wanted("build") {
        build::measure(&cluster, &images).await?;
    }
    if wanted("rollout") {
        rollout::measure(&cluster, &images, &launchway).await?;
    }
    if wanted("waiting") {
        crowd::waiting(&cluster, &images, FEW).await?;
    }
    if wanted("finished") {
        crowd::finished(&cluster, &images, FEW).await?;
    }
    if wanted("many") {
        crowd::finished(&cluster, &images, MANY).await?;
    }
    // On a machine that is too small for all of them: environments=100.
    let fewer = parts.iter().find_map(|part| part.strip_prefix("environments=")?.parse().ok());
    if let Some(count) = fewer.or(wanted("environments").then_some(FEW)) {
        fleet::measure(&cluster, &images, count).await?;
    }
    println!("\n{PEERS}");
    program::remove_scenarios(&cluster, None).await
}

/// A fresh operator with nothing to do.
async fn idle(cluster: &Cluster) -> Outcome {
    crowd::restarted(cluster).await?;
    tokio::time::sleep(crowd::QUIET).await;
    measured("memory of an idle operator", megabytes(metrics::operator_memory(cluster).await?));
    Ok(())
}

/// Bytes for people.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB ({:.1} MiB)", bytes as f64 / 1e6, bytes as f64 / f64::from(1 << 20))
}

/// Median and range.
fn spread(values: &[f64], digits: usize) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(least), Some(middle), Some(most)) => format!("{middle:.digits$} [{least:.digits$}..{most:.digits$}]"),
        _ => "nothing was measured".into(),
    }
}
