use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    conditions::{get, reasons, types},
    pipeline::PipelineStatus,
};
use serde_json::{Value, json};

use super::{
    Plan, Start, needs, next, stage_only,
    world::{Look, LookFor, World},
};
use crate::plan::execution::world::Fault;

const REPOSITORY: &str = "r.example.com/wknd/artifacts";

/// A pipeline of a type that starts on changes.
fn pipeline(name: &str, type_: &str) -> Pipeline {
    let images = json!({"repository": "r.example.com/wknd/images"});
    let (stage, production) = (json!({"environment": "stage"}), json!({"environment": "prod"}));
    let mut spec = json!({
        "type": type_,
        "source": {"artifact": {"repository": REPOSITORY, "tag": "main"}},
        "trigger": "OnChange",
    });
    match type_ {
        "FullStack" => {
            spec["images"] = images;
            spec["stage"] = stage;
            spec["production"] = production;
        }
        "StageOnly" => {
            spec["images"] = images;
            spec["stage"] = stage;
        }
        "ProductionOnly" => {
            spec["production"] = production;
            spec["source"] = json!({"pipeline": "first"});
        }
        "CodeQuality" => {}
        other => panic!("no pipeline of type {other} here"),
    }
    let meta = json!({"name": name, "namespace": "wknd", "uid": format!("uid-{name}"), "generation": 1});
    object(json!({"apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline", "metadata": meta, "spec": spec}))
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn environment(name: &str, type_: &str) -> (String, Environment) {
    let value = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": {"name": name, "namespace": "wknd"}, "spec": {"type": type_},
    });
    (name.to_string(), object(value))
}

fn world(pipeline: Pipeline) -> World {
    World {
        now: "2026-11-27T10:00:00Z".parse().unwrap(),
        pipeline,
        environments: [environment("stage", "Stage"), environment("prod", "Production")].into(),
        source_pipeline: None,
        stage_only: None,
        older: None,
        executions: vec![],
        look: Look::NotYet,
    }
}

fn execution(name: &str, ended: bool) -> PipelineExecution {
    let status = if ended { json!({"completionTime": "2026-11-27T10:00:00Z"}) } else { json!({}) };
    object(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": {"name": name, "namespace": "wknd"},
        "spec": {"pipelineRef": {"name": "wknd"}}, "status": status,
    }))
}

/// A small cluster around one pipeline: a source that changes, executions that run, and the rounds of its controller.
struct Site {
    world: World,
    /// What the source is.
    source: Option<String>,
    /// Executions that were created, in order.
    started: Vec<Start>,
    writes: usize,
}

impl Site {
    fn new(pipeline: Pipeline) -> Self {
        Self { world: world(pipeline), source: None, started: vec![], writes: 0 }
    }

    fn push(&mut self, revision: &str) -> &mut Self {
        self.source = Some(revision.to_string());
        self.world.now += SignedDuration::from_secs(3);
        self
    }

    /// Reads what the planner needs, as `observe::pipeline` does.
    fn observed(&self) -> World {
        let mut seen = self.world.clone();
        if !needs(&seen).executions {
            seen.executions = vec![];
        }
        seen.look = match needs(&seen).look {
            LookFor::Nothing => Look::NotYet,
            LookFor::Last => Look::Seen { revision: self.source.clone(), fresh: false },
            LookFor::Now => Look::Seen { revision: self.source.clone(), fresh: true },
        };
        seen
    }

    fn create(&mut self, start: Start) {
        assert!(self.started.iter().all(|before| before.name != start.name), "{} is created twice", start.name);
        self.world.executions.push(execution(&start.name, false));
        self.started.push(start);
    }

    fn write(&mut self, status: PipelineStatus) {
        if self.world.pipeline.status.as_ref() != Some(&status) {
            self.world.pipeline.status = Some(status);
            self.writes += 1;
        }
    }

    /// Rounds until there is nothing to do; `die` ends the operator before its n-th write.
    fn rounds(&mut self, die: Option<usize>) -> Plan {
        let mut left = die;
        for _ in 0..8 {
            let plan = next(&self.observed());
            if left == Some(0) {
                return plan;
            }
            left = left.map(|left| left - 1);
            if let Some(start) = plan.start.clone() {
                self.create(start);
                continue;
            }
            self.write(plan.status.clone());
            if !plan.again {
                return plan;
            }
        }
        panic!("the rounds do not end");
    }

    fn settle(&mut self) -> Plan {
        self.rounds(None)
    }

    fn end_all(&mut self) -> &mut Self {
        for execution in &mut self.world.executions {
            execution.status.get_or_insert_default().completion_time = Some(Time(self.world.now));
        }
        self
    }

    fn revisions(&self) -> Vec<&str> {
        self.started.iter().map(|start| start.revision.as_str()).collect()
    }

    fn due(&self) -> Option<String> {
        self.world.pipeline.status.as_ref()?.source.as_ref()?.due.clone()
    }

    fn reason(&self) -> String {
        let status = self.world.pipeline.status.clone().unwrap_or_default();
        get(&status.conditions, types::SOURCE_WATCHED).map(|condition| condition.reason.clone()).unwrap_or_default()
    }
}

/// A site whose pipeline has seen the revision `a`.
fn begun(type_: &str) -> Site {
    let mut site = Site::new(pipeline("wknd", type_));
    site.push("sha256:aa").settle();
    assert!(site.started.is_empty());
    site
}

#[test]
fn what_was_there_first_starts_nothing_and_a_change_does() {
    let mut site = begun("StageOnly");
    assert_eq!(site.reason(), reasons::WATCHED);
    site.push("sha256:bb").settle();
    assert_eq!(site.revisions(), ["sha256:bb"]);
    let seen = site.world.pipeline.status.clone().unwrap().source.unwrap();
    assert_eq!((seen.execution.as_ref(), seen.due), (Some(&site.started[0].name), None));
}

#[test]
fn the_first_push_to_an_empty_repository_is_a_change() {
    let mut site = Site::new(pipeline("wknd", "StageOnly"));
    site.settle();
    site.push("sha256:aa").settle();
    assert_eq!(site.revisions(), ["sha256:aa"]);
}

#[test]
fn a_tag_that_is_deleted_starts_nothing() {
    let mut site = begun("StageOnly");
    site.source = None;
    site.settle();
    assert!(site.started.is_empty() && site.due().is_none());
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let mut site = begun("StageOnly");
    let writes = site.writes;
    for _ in 0..100 {
        site.world.now += SignedDuration::from_mins(5);
        let plan = site.settle();
        assert_eq!((plan.wake, plan.watch.unwrap().soon), (None, false));
    }
    assert_eq!(site.writes, writes);
}

#[test]
fn five_pushes_during_a_run_start_one_more_run_for_the_last() {
    let mut site = begun("FullStack");
    site.push("sha256:b1").settle();
    for revision in ["sha256:c1", "sha256:c2", "sha256:c3", "sha256:c4", "sha256:c5"] {
        let plan = site.push(revision).settle();
        assert!(plan.wake.is_some(), "the end of the other execution is not always told");
    }
    assert_eq!(site.revisions(), ["sha256:b1"]);
    assert!(site.due().is_some());
    site.end_all().settle();
    site.end_all().settle();
    assert_eq!(site.revisions(), ["sha256:b1", "sha256:c5"]);
}

#[test]
fn a_push_that_nobody_saw_before_the_end_of_a_run_is_the_one_that_runs() {
    let mut site = begun("FullStack");
    site.push("sha256:b1").settle();
    site.push("sha256:c1").settle();
    // The source is asked again before anything starts.
    site.push("sha256:c2").end_all().settle();
    assert_eq!(site.revisions(), ["sha256:b1", "sha256:c2"]);
}

#[test]
fn a_revision_that_comes_back_runs_again() {
    let mut site = begun("StageOnly");
    for revision in ["sha256:bb", "sha256:aa", "sha256:bb"] {
        site.push(revision).settle();
        site.end_all();
    }
    assert_eq!(site.revisions(), ["sha256:bb", "sha256:aa", "sha256:bb"]);
}

#[test]
fn a_crash_at_any_write_starts_exactly_one_execution() {
    for die in 0..6 {
        let mut site = begun("StageOnly");
        site.push("sha256:bb").rounds(Some(die));
        site.world.now += SignedDuration::from_secs(30);
        site.settle();
        site.end_all().settle();
        assert_eq!(site.revisions(), ["sha256:bb"], "died before write {die}");
    }
}

#[test]
fn an_execution_that_was_deleted_after_its_end_is_not_started_again() {
    let mut site = begun("StageOnly");
    // It was created, and the operator died before it wrote that down.
    site.push("sha256:bb").rounds(Some(2));
    let name = site.started[0].name.clone();
    site.world.executions.clear();
    let entry = json!({"name": name, "uid": "u", "specHash": "0", "result": "Finished", "at": "2026-11-27T10:00:00Z"});
    site.world.pipeline.status.as_mut().unwrap().ledger = vec![object(entry)];
    site.settle();
    assert_eq!((site.revisions(), site.due()), (vec!["sha256:bb"], None));
}

#[test]
fn replace_does_not_wait_for_a_running_execution() {
    let mut pipeline = pipeline("wknd", "StageOnly");
    pipeline.spec.concurrency = launchway_crds::pipeline::Concurrency::Replace;
    let mut site = Site::new(pipeline);
    site.push("sha256:aa").settle();
    site.push("sha256:bb").settle();
    site.push("sha256:cc").settle();
    assert_eq!(site.revisions(), ["sha256:bb", "sha256:cc"]);
}

#[test]
fn an_execution_of_a_person_is_waited_for_too() {
    let mut site = begun("StageOnly");
    site.world.executions.push(execution("by-hand", false));
    site.push("sha256:bb").settle();
    assert!(site.started.is_empty());
    site.end_all().settle();
    assert_eq!(site.revisions(), ["sha256:bb"]);
}

#[test]
fn suspend_holds_a_change_until_it_ends() {
    let mut site = begun("StageOnly");
    site.world.pipeline.spec.suspend = true;
    let plan = site.push("sha256:bb").settle();
    assert_eq!((plan.watch, site.reason().as_str()), (None, reasons::SUSPENDED));
    site.push("sha256:cc").settle();
    assert!(site.started.is_empty());
    site.world.pipeline.spec.suspend = false;
    site.settle();
    assert_eq!(site.revisions(), ["sha256:cc"]);
}

#[test]
fn a_pipeline_that_is_not_ready_starts_nothing_until_it_is() {
    let mut site = begun("StageOnly");
    let all = std::mem::take(&mut site.world.environments);
    let plan = site.push("sha256:bb").settle();
    assert_eq!((plan.watch, site.reason().as_str()), (None, reasons::NOT_READY));
    site.world.environments = all;
    site.settle();
    assert_eq!(site.revisions(), ["sha256:bb"]);
}

#[test]
fn of_two_pipelines_on_one_source_only_the_stage_only_one_starts() {
    let (coupled, first) = (pipeline("wknd", "FullStack"), pipeline("first", "StageOnly"));
    assert_eq!(stage_only(&coupled, std::slice::from_ref(&first)), Some("first".into()));
    assert_eq!(stage_only(&first, std::slice::from_ref(&coupled)), None);
    let mut site = Site::new(coupled);
    site.push("sha256:aa").settle();
    site.world.stage_only = Some("first".into());
    let plan = site.push("sha256:bb").settle();
    assert_eq!((plan.watch, site.reason().as_str()), (None, reasons::STAGE_ONLY_WINS));
    assert!(site.started.is_empty() && plan.status.source.is_none());
    let mut other = Site::new(first);
    other.push("sha256:aa").settle();
    other.push("sha256:bb").settle();
    assert_eq!(other.revisions(), ["sha256:bb"]);
    // What the stage-only pipeline answered is not answered once more when it is gone.
    site.world.stage_only = None;
    site.settle();
    assert!(site.started.is_empty());
    site.push("sha256:cc").settle();
    assert_eq!(site.revisions(), ["sha256:cc"]);
}

#[test]
fn only_a_stage_only_pipeline_on_the_same_source_that_starts_by_itself_wins() {
    let coupled = pipeline("wknd", "FullStack");
    let with = |change: fn(&mut Pipeline)| {
        let mut first = pipeline("first", "StageOnly");
        change(&mut first);
        stage_only(&coupled, &[first])
    };
    assert_eq!(with(|first| first.spec.source.artifact.as_mut().unwrap().tag = Some("other".into())), None);
    assert_eq!(with(|first| first.spec.trigger = launchway_crds::trigger::PipelineTrigger::Manual), None);
    assert_eq!(with(|first| first.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))), None);
    // Which one is configured decides, not which one runs.
    assert_eq!(with(|first| first.spec.suspend = true), Some("first".into()));
    assert_eq!(stage_only(&coupled, &[pipeline("quality", "CodeQuality")]), None);
}

#[test]
fn two_pipelines_on_one_object_of_flux_are_on_one_source() {
    let named = |name: &str, type_: &str, object: &str| {
        let mut one = pipeline(name, type_);
        one.spec.source = super::tests::object(json!({ "git": { "fluxRef": { "name": object } } }));
        one
    };
    let coupled = named("wknd", "FullStack", "site");
    assert_eq!(stage_only(&coupled, &[named("first", "StageOnly", "site")]), Some("first".into()));
    assert_eq!(stage_only(&coupled, &[named("first", "StageOnly", "other")]), None);
    let mut site = Site::new(named("wknd", "StageOnly", "site"));
    site.push(&"a".repeat(40)).settle();
    assert!(site.started.is_empty(), "what Flux had fetched before anybody looked starts nothing");
    site.push(&"b".repeat(40)).settle();
    assert_eq!(site.revisions(), ["b".repeat(40)]);
}

#[test]
fn production_only_never_starts_by_itself() {
    let mut world = world(pipeline("wknd", "ProductionOnly"));
    world.source_pipeline = Some(pipeline("first", "StageOnly"));
    world.look = Look::Seen { revision: Some("sha256:bb".into()), fresh: true };
    let plan = next(&world);
    assert_eq!((plan.start, plan.watch, plan.status.source), (None, None, None));
    assert!(get(&plan.status.conditions, types::SOURCE_WATCHED).is_none());
    assert_eq!(needs(&world).look, LookFor::Nothing);
}

#[test]
fn manual_forgets_what_was_seen() {
    let mut site = begun("StageOnly");
    site.world.pipeline.spec.trigger = launchway_crds::trigger::PipelineTrigger::Manual;
    let plan = site.push("sha256:bb").settle();
    assert_eq!((plan.watch, plan.status.source), (None, None));
    assert_eq!(site.reason(), "");
}

#[test]
fn another_source_is_looked_at_for_the_first_time() {
    let mut site = begun("StageOnly");
    site.world.pipeline.spec.source.artifact.as_mut().unwrap().tag = Some("release".into());
    site.push("sha256:bb").settle();
    assert!(site.started.is_empty());
    site.push("sha256:cc").settle();
    assert_eq!(site.revisions(), ["sha256:cc"]);
}

#[test]
fn a_source_that_cannot_be_asked_is_told_once_and_changes_nothing_else() {
    let mut site = begun("StageOnly");
    let failed = |text: &str, lasting| Look::Failed { fault: Fault::Unreachable(text.into()), lasting };
    let before = site.world.pipeline.status.clone().unwrap();
    site.world.look = failed("a", false);
    assert_eq!(next(&site.world).status, before, "one missed request is not worth a word");
    site.world.look = failed("a", true);
    site.world.pipeline.status = Some(next(&site.world).status);
    assert_eq!(site.reason(), reasons::SOURCE_UNREACHABLE);
    site.world.look = failed("b", true);
    let again = next(&site.world);
    assert_eq!(Some(&again.status), site.world.pipeline.status.as_ref(), "other words for the same are not written");
    assert_eq!(again.status.source, before.source);
}

#[test]
fn names_fit_and_tell_pipelines_apart() {
    let long = "x".repeat(63);
    let mut site = Site::new(pipeline(&long, "StageOnly"));
    site.push("sha256:aa").settle();
    site.push(&format!("sha256:{}", "ab".repeat(32))).settle();
    let name = &site.started[0].name;
    assert!(name.len() <= 63 && name.contains("-abababab-"), "{name}");
    let mut other = Site::new(pipeline("wknd", "StageOnly"));
    other.world.pipeline.metadata.uid = Some("a pipeline that was created again".into());
    other.push("sha256:aa").settle();
    other.push("sha256:bb").settle();
    let mut first = begun("StageOnly");
    first.push("sha256:bb").settle();
    assert_ne!(other.started[0].name, first.started[0].name);
}
