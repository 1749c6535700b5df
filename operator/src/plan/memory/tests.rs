//! What is kept of a pipeline's past.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use launchway_crds::{Environment, Pipeline, PipelineExecution, conditions::reasons};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Action, next,
    world::{InUse, Revision, World},
};
use crate::outline::ExecutionOutline;

fn pipeline(name: &str, type_: &str, created: i64) -> Pipeline {
    let mut spec = json!({
        "type": type_, "source": { "artifact": { "repository": "registry.example.com/wknd/artifacts" } },
        "history": { "succeeded": 2, "failed": 1 },
    });
    if ["FullStack", "StageOnly"].contains(&type_) {
        spec["stage"] = json!({ "environment": "stage" });
    }
    if ["FullStack", "ProductionOnly"].contains(&type_) {
        spec["production"] = json!({ "environment": "prod" });
    }
    if type_ == "ProductionOnly" {
        spec["source"] = json!({ "pipeline": "stage-only" });
    }
    if type_ == "Deployment" {
        spec["deployment"] = json!({ "environment": "stage" });
    }
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "spec": spec,
        "metadata": {
            "name": name, "namespace": "wknd", "uid": name, "generation": 1,
            "creationTimestamp": jiff::Timestamp::from_second(created).unwrap().to_string(),
        },
    }))
    .unwrap()
}

fn environment(name: &str, type_: &str) -> Environment {
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": "wknd" }, "spec": { "type": type_ },
    }))
    .unwrap()
}

fn image(letter: char) -> String {
    format!("registry.example.com/wknd/images@sha256:{}", letter.to_string().repeat(64))
}

fn release(number: usize) -> String {
    image(char::from(b"0123456789abcdef"[number % 16]))
}

/// An execution that ended: its object and its entry in the ledger.
fn ended(pipeline: &str, number: usize, state: &str) -> (PipelineExecution, Value) {
    let name = format!("{pipeline}-{number}");
    let at = jiff::Timestamp::from_second(1_000_000 + i64::try_from(number).unwrap()).unwrap().to_string();
    let execution = serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": name, "namespace": "wknd", "uid": format!("uid-{name}"), "resourceVersion": "7" },
        "spec": { "pipelineRef": { "name": pipeline } },
        "status": { "state": state, "completionTime": at, "steps": [] },
    }))
    .unwrap();
    let entry = json!({
        "name": name, "uid": format!("uid-{name}"), "specHash": "h", "result": state, "at": at,
        "release": release(number), "images": { "aem": image('a'), "dispatcher": image('b') },
    });
    (execution, entry)
}

/// A pipeline after executions that ended in these states, the first one first.
struct History {
    world: World,
}

impl History {
    fn new(type_: &str, states: &[&str]) -> Self {
        let mut own = pipeline("wknd", type_, 1);
        let all: Vec<_> = states.iter().enumerate().map(|(number, state)| ended("wknd", number, state)).collect();
        let known = [reasons::ALREADY_EXECUTED, reasons::NAME_REUSED];
        let ledger: Vec<_> = all
            .iter()
            .rev()
            .filter(|(_, entry)| !known.contains(&entry["result"].as_str().unwrap()))
            .map(|(_, entry)| entry.clone())
            .collect();
        own.status = Some(serde_json::from_value(json!({ "ledger": ledger })).unwrap());
        let world = World {
            pipelines: vec![own.clone()],
            pipeline: own,
            environments: vec![environment("stage", "Stage"), environment("prod", "Production")],
            executions: all.iter().map(|(execution, _)| Arc::new(ExecutionOutline::of(execution))).collect(),
            revisions: vec![],
            in_use: None,
        };
        Self { world }
    }

    /// Production runs the release of this execution.
    fn runs(mut self, number: usize) -> Self {
        let environment = &mut self.world.environments[1];
        environment.status = Some(
            serde_json::from_value(json!({ "deployed": {
                "execution": format!("wknd-{number}"), "uid": format!("uid-wknd-{number}"), "release": release(number),
                "images": { "aem": image('a'), "dispatcher": image('b') }, "at": "2026-11-21T10:00:00Z",
            }}))
            .unwrap(),
        );
        self
    }

    /// Names of the executions that are deleted.
    fn deleted(&self) -> Vec<String> {
        let names = next(&self.world).into_iter().filter_map(|action| match action {
            Action::DeleteExecution { name, uid, version } => {
                assert_eq!((uid, version.as_str()), (format!("uid-{name}"), "7"), "only as it was seen");
                Some(name.trim_start_matches("wknd-").to_owned())
            }
            Action::DeleteRevision { .. } => None,
        });
        names.collect()
    }
}

const DONE: &str = reasons::FINISHED;
const BAD: &str = reasons::FAILED;

#[test]
fn the_oldest_beyond_each_limit_go() {
    assert!(History::new("CodeQuality", &[DONE, DONE, BAD]).deleted().is_empty());
    assert_eq!(History::new("CodeQuality", &[DONE, BAD, DONE, DONE, BAD, DONE]).deleted(), ["0", "1", "2"]);
    assert_eq!(
        History::new("CodeQuality", &[reasons::CANCELLED, reasons::ERROR, BAD]).deleted(),
        ["0", "1"],
        "whatever did not succeed counts together"
    );
}

#[test]
fn what_only_says_that_it_ran_before_stays() {
    let states = [DONE, reasons::ALREADY_EXECUTED, reasons::NAME_REUSED, reasons::ALREADY_EXECUTED, DONE];
    assert!(History::new("CodeQuality", &states).deleted().is_empty(), "a GitOps tool would create it again for ever");
}

#[test]
fn what_the_ledger_does_not_tell_of_stays() {
    let mut history = History::new("CodeQuality", &[DONE, DONE, DONE, DONE]);
    history.world.pipeline.status.as_mut().unwrap().ledger.retain(|entry| entry.name != "wknd-0");
    assert_eq!(history.deleted(), ["1"], "created again, it would run again");
}

#[test]
fn what_production_runs_and_what_it_would_go_back_to_stays() {
    let history = || History::new("FullStack", &[DONE, DONE, DONE, DONE, DONE, DONE]);
    assert_eq!(history().runs(5).deleted(), ["0", "1", "2", "3"]);
    // Somebody went back: what runs is old, and where to go back to is the newest.
    assert_eq!(history().runs(1).deleted(), ["0", "2", "3"]);
    let mut strict = history().runs(5);
    strict.world.pipeline.spec.history.succeeded = 0;
    assert_eq!(strict.deleted(), ["0", "1", "2", "3"], "5 runs, and 4 is where a roll-back goes");
}

#[test]
fn who_has_not_ended_keeps_what_it_takes() {
    let mut history = History::new("StageOnly", &[DONE, DONE, DONE, DONE, DONE]);
    let waits = |spec: Value, status: Value| {
        let waits: PipelineExecution = serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
            "metadata": { "name": "p", "namespace": "wknd", "uid": "uid-p" }, "spec": spec, "status": status,
        }))
        .unwrap();
        Arc::new(ExecutionOutline::of(&waits))
    };
    let spec = json!({ "pipelineRef": { "name": "production" }, "sourceExecution": "wknd-0" });
    history.world.executions.push(waits(spec, Value::Null));
    let took = json!({ "source": { "pipeline": "wknd", "execution": "wknd-1", "uid": "uid-wknd-1" }, "steps": [] });
    history.world.executions.push(waits(json!({ "pipelineRef": { "name": "production" } }), took));
    assert_eq!(history.deleted(), ["2"]);
}

#[test]
fn the_last_one_the_last_success_and_debt_stay() {
    let mut history = History::new("StageOnly", &[DONE, BAD, DONE, BAD, BAD]);
    history.world.pipeline.spec.history =
        launchway_crds::pipeline::History { succeeded: 0, failed: 0, ..Default::default() };
    assert_eq!(history.deleted(), ["0", "1", "3"], "2 can be promoted, 4 executed again");
    let owes = json!([{ "step": "securityTest", "execution": "wknd-0", "since": "2026-11-21T10:00:00Z" }]);
    history.world.pipelines[0].status.as_mut().unwrap().debt = serde_json::from_value(owes).unwrap();
    assert_eq!(history.deleted(), ["1", "3"]);
}

#[test]
fn versions_that_nobody_runs_go_and_none_while_somebody_has_not_said() {
    let kept = |name: &str| Revision { name: name.into(), uid: format!("uid-{name}") };
    let mut world = History::new("FullStack", &[]).world;
    world.revisions = vec![kept("wknd-a"), kept("wknd-b")];
    let running = |revision: Value| {
        let whole = serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution", "metadata": { "name": "x" },
            "spec": { "pipelineRef": { "name": "wknd" } }, "status": revision,
        }));
        ExecutionOutline::of(&whole.unwrap())
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    let one = running(json!({
        "steps": [], "pipelineRevision": { "generation": 1, "name": "wknd-a", "digest": digest },
    }));
    world.in_use = Some(InUse::by(std::slice::from_ref(&one)));
    assert_eq!(next(&world), [Action::DeleteRevision { name: "wknd-b".into(), uid: "uid-wknd-b".into() }]);
    world.in_use = Some(InUse::by(&[one, running(Value::Null)]));
    assert!(next(&world).is_empty());
}

proptest! {
    /// Whatever ended how, and whatever runs: nothing that is needed is deleted, and what is deleted would not run again.
    #[test]
    fn nothing_that_is_needed_is_deleted(
        ends in prop::collection::vec(prop::sample::select(vec![DONE, BAD, reasons::CANCELLED, reasons::ALREADY_EXECUTED]), 0..30),
        runs in 0..30_usize,
        succeeded in 0..6_i32,
        failed in 0..6_i32,
    ) {
        let mut history = History::new("FullStack", &ends);
        if runs < ends.len() {
            history = history.runs(runs);
        }
        history.world.pipeline.spec.history = launchway_crds::pipeline::History { succeeded, failed, ..Default::default() };
        let deleted = history.deleted();
        let ledger = &history.world.pipeline.status.as_ref().unwrap().ledger;
        for number in &deleted {
            let name = format!("wknd-{number}");
            prop_assert!(ledger.iter().any(|entry| entry.name == name));
            prop_assert_ne!(number.parse::<usize>().unwrap(), runs);
            prop_assert_ne!(&ledger[0].name, &name);
            let newest = ledger.iter().find(|entry| entry.has_passed()).map(|entry| &entry.name);
            prop_assert_ne!(newest, Some(&name));
        }
        let left = |wanted: &str| ends.iter().enumerate().filter(|(at, end)| **end == wanted && !deleted.contains(&at.to_string())).count();
        let succeeded = usize::try_from(succeeded).unwrap();
        let done = ends.iter().filter(|end| **end == DONE).count();
        prop_assert!(left(DONE) >= succeeded.min(done), "as many as the limit says are kept");
        // The newest, where a way back goes, and both that made what runs: of 30 releases two may be the same.
        prop_assert!(left(DONE) <= (succeeded + 4).max(done.saturating_sub(20)), "and not many more");
    }
}
