//! How long one call of the planner takes on the largest world: every list and every text at its bound, at every step.
//! For `make bench-planner`; the goal is 50 µs at the 99th percentile.

#[path = "../tests/support/planned.rs"]
mod planned;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use launchway_crds::{
    execution::{ArtifactFile, FILES_MAX, STATUS_MAX},
    pipeline::{LEDGER_MAX, LedgerEntry},
    step::{Comparator, METRIC_NAME_MAX, METRIC_VALUE_MAX, METRICS_MAX, Metric, Severity, StepName},
};
use launchway_operator::plan::execution::{needs, next, world::World};
use serde_json::json;

use planned::{annotate, at, everything, fresh, image};

/// Calls for each step, after some that warm up.
const CALLS: usize = 4000;
const WARM: usize = 400;

fn metric(at: usize) -> Metric {
    let name = format!("m{at}");
    Metric {
        name: format!("{name}{}", "x".repeat(METRIC_NAME_MAX - name.len())),
        severity: Severity::Informational,
        comparator: Comparator::Eq,
        expected: "1".repeat(METRIC_VALUE_MAX),
        actual: "1".repeat(METRIC_VALUE_MAX),
        passed: true,
    }
}

fn file(at: usize) -> ArtifactFile {
    ArtifactFile {
        name: format!("{at}{}", "x".repeat(250)),
        sha256: image('f').digest(),
        size: 1,
        kind: Some("content-package".into()),
        id: Some("x".repeat(255)),
        reason: Some("x".repeat(255)),
    }
}

fn entry(at: usize) -> LedgerEntry {
    let value = json!({
        "name": format!("wknd-{}", at + 2), "uid": format!("uid-{}", at + 2), "specHash": "0", "result": "Finished",
        "release": image('e'), "at": "2026-11-21T10:00:00Z",
    });
    serde_json::from_value(value).unwrap_or_else(|error| panic!("an entry of the ledger: {error}"))
}

/// An execution at a step, whose record is as large as it can be.
fn largest(step: StepName) -> World {
    let mut world = at(fresh(&everything("FullStack"), &json!({})), step);
    if let Some(status) = &mut world.execution.status {
        for found in &mut status.steps {
            if found.name < step {
                found.message = Some("x".repeat(1024));
                found.metrics = (0..METRICS_MAX).map(metric).collect();
            }
        }
        if let Some(artifact) = &mut status.artifact {
            artifact.files = (0..FILES_MAX).map(file).collect();
        }
    }
    if let Some(pipeline) = &mut world.pipeline {
        pipeline.status.get_or_insert_default().ledger = (0..LEDGER_MAX).map(entry).collect();
    }
    for other in 0..20 {
        annotate(&mut world, &format!("example.com/{other}"), &"x".repeat(1024));
    }
    world
}

fn measure(world: &World) -> Vec<Duration> {
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..WARM + CALLS {
        let began = Instant::now();
        let needed = needs(black_box(world));
        let plan = next(black_box(world));
        let took = began.elapsed();
        // What a round costs is the decision: that its memory is given back is in the next call's time.
        black_box((needed, plan));
        if call >= WARM {
            times.push(took);
        }
    }
    times.sort();
    times
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    let at = (times.len() * percent).div_ceil(100).clamp(1, times.len()) - 1;
    times[at].as_secs_f64() * 1e6
}

fn main() {
    let mut all = vec![];
    let mut by_step = BTreeMap::new();
    println!("{:<24} {:>10} {:>10} {:>10}", "step", "bytes", "p50 us", "p99 us");
    for step in planned::steps(&fresh(&everything("FullStack"), &json!({}))) {
        let world = largest(step);
        let size = serde_json::to_vec(&world.execution.status).map_or(0, |bytes| bytes.len());
        assert!(size <= STATUS_MAX, "a status of {size} bytes cannot be");
        let times = measure(&world);
        let row = (size, percentile(&times, 50), percentile(&times, 99));
        println!("{:<24} {:>10} {:>10.1} {:>10.1}", step.as_str(), row.0, row.1, row.2);
        by_step.insert(step, row);
        all.extend(times);
    }
    all.sort();
    let largest = by_step.values().map(|row| row.2).fold(0.0, f64::max);
    println!("{:<24} {:>10} {:>10.1} {:>10.1}", "all", "", percentile(&all, 50), percentile(&all, 99));
    println!("slowest step at p99: {largest:.1} us; goal 50 us");
}
