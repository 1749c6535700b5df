//! How long one call of the planner takes on the largest world, at every step. For `make bench-planner`; the goal is 50 µs at
//! the 99th percentile.
//!
//! The execution is of a full-stack pipeline with every step and as many sinks as there may be. At their bounds are: the
//! message, the metrics and the names of every step that it has come to; the files of the artifact with their texts; the
//! conditions; approvals, overrides of every gate and the schedule, once it has passed them; what it waits for; what is
//! untold; the ledger of its pipeline; annotations of others. What a person or an image wrote is all quotes, two bytes each
//! as JSON. Not filled is what such an execution never has: the step, the commit and the build record of other pipelines, and
//! anything of a step that has not begun. So a status stays below the largest that the schema allows, which has all of that
//! at once (`crds/tests/generated.rs`).

#[path = "../tests/support/planned.rs"]
mod planned;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use launchway_crds::{
    digest::{ImageRef, MAX_IMAGE_REF},
    execution::{
        ApprovalRecord, ArtifactFile, Child, FILES_MAX, OverrideRecord, PipelineExecutionStatus, STATUS_MAX,
        ScheduleRecord, Step, WaitingFor,
    },
    notification::{Happening, SINKS_MAX, UNTOLD_MAX, Untold},
    pipeline::{LEDGER_MAX, LedgerEntry},
    step::{Comparator, METRIC_NAME_MAX, METRIC_VALUE_MAX, METRICS_MAX, Metric, Severity, StepName},
};
use launchway_operator::plan::execution::{needs, next, world::World};
use serde_json::{Value, json};

use planned::{annotate, at, everything, fresh, image};

/// Calls for each step, after some that warm up.
const CALLS: usize = 4000;
const WARM: usize = 400;

/// Bounds of the schema that have no name in it.
const TEXT_MAX: usize = 1024;
const WORD_MAX: usize = 64;
const PERSON_MAX: usize = 256;
const NAME_MAX: usize = 63;
const APPROVALS_MAX: usize = 16;
const CONDITIONS_MAX: usize = 16;

/// Of a text that somebody wrote: what takes the most room.
fn quotes(count: usize) -> String {
    "\"".repeat(count)
}

/// A reference of the greatest length.
fn longest(letter: char) -> ImageRef {
    let (registry, digest) = ("registry.example.com/", image(letter).digest());
    let path = "x".repeat(MAX_IMAGE_REF - registry.len() - format!("@{digest}").len());
    ImageRef::new(&format!("{registry}{path}"), digest).unwrap_or_else(|error| panic!("the longest reference: {error}"))
}

/// The pipeline that has most.
fn pipeline() -> Value {
    let mut pipeline = everything("FullStack");
    let sink = |at| json!({ "url": format!("https://events.example.com/{at}"), "secretRef": { "name": "signs" } });
    let sinks = (0..SINKS_MAX).map(sink);
    pipeline["notifications"] = sinks.collect();
    pipeline
}

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
        name: format!("{at:03}{}", quotes(252)),
        sha256: image('f').digest(),
        size: i64::MAX,
        kind: Some("x".repeat(32)),
        id: Some(quotes(255)),
        reason: Some(quotes(255)),
    }
}

fn entry(at: usize) -> LedgerEntry {
    let value = json!({
        "name": format!("wknd-{}", at + 2), "uid": format!("uid-{}", at + 2), "specHash": "0", "result": "Finished",
        "release": image('e'), "at": "2026-11-21T10:00:00Z",
    });
    serde_json::from_value(value).unwrap_or_else(|error| panic!("an entry of the ledger: {error}"))
}

/// A step that passed, with all that it may leave.
fn passed(found: &mut Step, now: &Time) {
    found.message = Some(quotes(TEXT_MAX));
    found.reason = Some("x".repeat(WORD_MAX));
    found.metrics = (0..METRICS_MAX).map(metric).collect();
    found.deadline = Some(now.clone());
    found.child = Some(Child { kind: "Job".into(), name: "x".repeat(NAME_MAX), uid: "x".repeat(WORD_MAX) });
    found.report = Some(longest('9'));
}

/// What people did until this step, as often as it is recorded.
fn people(status: &mut PipelineExecutionStatus, step: StepName, now: &Time) {
    let by = || quotes(PERSON_MAX);
    if step > StepName::ApprovalStage {
        let approval = || ApprovalRecord {
            step: StepName::ApprovalStage,
            by: by(),
            at: now.clone(),
            release: image('e').digest(),
        };
        status.approvals = (0..APPROVALS_MAX).map(|_| approval()).collect();
    }
    let gates = StepName::GATES.into_iter().filter(|gate| *gate < step);
    let accepted = || (0..METRICS_MAX).map(|at| metric(at).name).collect();
    status.overrides =
        gates.map(|step| OverrideRecord { step, by: by(), at: now.clone(), metrics: accepted() }).collect();
    if step > StepName::Schedule {
        status.scheduled = Some(ScheduleRecord { by: by(), at: now.clone(), text: "x".repeat(WORD_MAX) });
    }
}

/// What is said of the execution as a whole.
fn whole(status: &mut PipelineExecutionStatus, step: StepName, now: &Time) {
    let condition = |at: usize| Condition {
        type_: format!("{at:02}{}", "x".repeat(PERSON_MAX - 2)),
        status: "Unknown".into(),
        reason: "x".repeat(PERSON_MAX),
        message: quotes(TEXT_MAX),
        last_transition_time: now.clone(),
        observed_generation: Some(i64::MAX),
    };
    // The planner adds two or three of its own.
    status.conditions = (0..CONDITIONS_MAX - 3).map(condition).collect();
    status.waiting_for = Some(WaitingFor {
        step,
        why: quotes(TEXT_MAX),
        since: now.clone(),
        until: Some(now.clone()),
        expiring_since: Some(now.clone()),
        who: Some(quotes(PERSON_MAX)),
        command: Some(quotes(TEXT_MAX)),
    });
    let untold = Untold { event: Happening::Expiring, step: Some(StepName::ReportPerformanceTest), at: now.clone() };
    status.untold = vec![untold; UNTOLD_MAX];
}

/// An execution at a step, whose record is as large as it can be.
fn largest(step: StepName) -> World {
    let mut world = at(fresh(&pipeline(), &json!({})), step);
    let now = Time(world.now);
    if let Some(status) = &mut world.execution.status {
        status.steps.iter_mut().filter(|found| found.name < step).for_each(|found| passed(found, &now));
        people(status, step, &now);
        whole(status, step, &now);
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
    for step in planned::steps(&fresh(&pipeline(), &json!({}))) {
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
