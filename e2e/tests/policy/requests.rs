//! Asking by annotation, and creating: who may, when, with which value, and in whose name.

use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::cases::{creations, table};
use crate::cluster::{Outcome, Place, Program, bounded, in_a_program, rule};

/// The release of every execution here.
pub const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// People: `ann` and `carl` develop, `mia` and `max` manage deployments, `bob` approves, `sam` is the support, `carol` develops and
/// does what these two do, `emma` develops and may act in an emergency, `edda` in one of another Pipeline, `vera` looks. `walt` has every verb, but on another
/// Environment or Pipeline: on production what belongs to stage, and the reverse. `dave` may patch and create executions
/// and nothing else.
pub async fn people(program: &Program) -> Outcome {
    for (user, role) in [
        ("ann", "launchway-developer"),
        ("carl", "launchway-developer"),
        ("mia", "launchway-deployment-manager"),
        ("max", "launchway-deployment-manager"),
        ("bob", "launchway-approver"),
        ("sam", "launchway-support"),
        ("carol", "launchway-developer"),
        ("carol", "launchway-approver"),
        ("carol", "launchway-support"),
        ("emma", "launchway-developer"),
        ("emma", "launchway-emergency"),
        ("edda", "launchway-developer"),
        ("vera", "launchway-viewer"),
    ] {
        program.bind(user, role).await?;
    }
    program.allow("dave", vec![rule("pipelineexecutions", &["patch", "create"], &[])]).await?;
    program.allow("edda", vec![rule("pipelines", &["emergency"], &["other"])]).await?;
    // As the operator, who says which change started an execution.
    program
        .allow(
            "otto",
            vec![rule("pipelineexecutions", &["create"], &[]), rule("pipelines", &["run", "trigger"], &["wknd"])],
        )
        .await?;
    let others = ["run", "cancel", "override", "emergency", "trigger"];
    for (user, environment, verbs) in
        [("walt", "stage", &["approve", "manage", "schedule"][..]), ("wanda", "prod", &["approve"])]
    {
        let rules = vec![
            rule("pipelineexecutions", &["patch", "create"], &[]),
            rule("environments", verbs, &[environment]),
            rule("pipelines", &others, &["other"]),
        ];
        program.allow(user, rules).await?;
    }
    Ok(())
}

/// How far an execution is before the request under test.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Created; the operator has not seen it.
    New,
    /// Stage is being deployed and tested.
    Running,
    /// This step waits for somebody.
    Waits(&'static str),
    /// This step waits until a hold of its Environment is over.
    PutOff(&'static str),
    /// The operator has copied the approval of this step into status.
    Approved(&'static str),
    /// The operator has copied this time into status, and waits for it.
    Scheduled(&'static str),
    /// The operator has copied an override of `codeQuality` into status; this step waits.
    Overridden(&'static str),
    /// It ended.
    Ended,
    /// It ended, and status still says that this step waits.
    EndedWaiting(&'static str),
    /// Running, written by a client that sends nulls for what it does not know.
    Nulls,
}

impl State {
    fn status(self) -> Option<Value> {
        let now = "2026-11-21T10:00:00Z";
        let mut status = json!({
            "state": "Running", "startTime": now,
            "environments": {"stage": "stage", "production": "prod"},
            "release": format!("registry.example.com:5000/wknd/images@{DIGEST}"),
            "waitingFor": null, "approvals": null, "scheduled": null, "overrides": null, "completionTime": null,
        });
        let waits = |step: &str| json!({"step": step, "why": "somebody", "since": now});
        match self {
            Self::New => return None,
            Self::Running => {}
            Self::Waits(step) => status["waitingFor"] = waits(step),
            Self::PutOff(step) => {
                status["waitingFor"] = waits(step);
                status["steps"] = json!([{"name": step, "state": "Waiting", "reason": "Held"}]);
            }
            Self::Approved(step) => {
                status["approvals"] = json!([{"step": step, "by": "bob", "at": now, "release": DIGEST}]);
            }
            Self::Scheduled(text) => {
                status["waitingFor"] = waits("schedule");
                status["scheduled"] = json!({"by": "mia", "at": now, "text": text});
            }
            Self::Overridden(step) => {
                status["waitingFor"] = waits(step);
                status["overrides"] = json!([{"step": "codeQuality", "by": "mia", "at": now, "metrics": ["coverage"]}]);
            }
            Self::Ended => status["completionTime"] = json!(now),
            Self::EndedWaiting(step) => {
                status["completionTime"] = json!(now);
                status["waitingFor"] = waits(step);
            }
            Self::Nulls => {
                status = json!({
                    "waitingFor": null, "completionTime": null, "release": null, "environments": null,
                    "approvals": null, "scheduled": null, "overrides": null,
                });
            }
        }
        Some(status)
    }
}

/// What the apiserver should say.
#[derive(Clone)]
pub enum Expect {
    /// Admitted, and these annotations are there afterwards.
    Admitted(Vec<(&'static str, &'static str)>),
    /// Refused, and the message says this.
    Refused(&'static str),
}
use Expect::{Admitted, Refused};

/// What went wrong with a case.
pub struct Wrong {
    /// Whether the apiserver admitted what it should refuse, or the reverse.
    pub flipped: bool,
    pub told: String,
}

impl From<String> for Wrong {
    fn from(told: String) -> Self {
        Self { flipped: false, told }
    }
}

/// Whether an answer is the expected one.
fn compare(expect: &Expect, answer: Outcome<DynamicObject>) -> Result<(), Wrong> {
    let flipped = |told: String| Wrong { flipped: true, told };
    match (expect, answer) {
        (Admitted(wanted), Ok(after)) => {
            let missing = wanted.iter().find(|(key, value)| {
                after.annotations().get(&format!("launchway.dev/{key}")).is_none_or(|is| is != value)
            });
            missing.map_or(Ok(()), |(key, value)| {
                Err(format!("{key} should be {value}: {:?}", after.annotations()).into())
            })
        }
        (Refused(part), Err(error)) if error.contains(part) => Ok(()),
        (Refused(part), Err(error)) => Err(format!("should be refused with `{part}`, but: {error}").into()),
        (Refused(part), Ok(_)) => Err(flipped(format!("was admitted, but should be refused with `{part}`"))),
        (Admitted(_), Err(error)) => Err(flipped(format!("should be admitted, but: {error}"))),
    }
}

/// One request by annotation.
pub struct Case {
    pub name: String,
    /// The request whose policy decides; empty: the policy of creations and of what holds for all requests.
    pub policy: &'static str,
    pub requested_by: &'static str,
    /// Requests that were admitted before: while which step waited, from whom, what.
    pub given: Vec<(&'static str, &'static str, Value)>,
    pub state: State,
    pub who: &'static str,
    /// Annotations of the request; null removes one.
    pub request: Value,
    pub expect: Expect,
}

impl Case {
    /// After a request that was admitted while `step` waited.
    pub fn given(mut self, step: &'static str, who: &'static str, request: Value) -> Self {
        self.given.push((step, who, request));
        self
    }

    pub fn requested_by(mut self, who: &'static str) -> Self {
        self.requested_by = who;
        self
    }

    pub async fn run(&self, program: &Program, place: &Place) -> Result<(), Wrong> {
        let wanted = place.execution(&json!({}))?;
        let requester = program.executions_of(self.requested_by, place).await?;
        let name = bounded(requester.create(&PostParams::default(), &wanted)).await?.name_any();
        for (step, who, request) in &self.given {
            set_status(program, place, &name, State::Waits(step)).await?;
            annotate(program, place, &name, who, request)
                .await
                .map_err(|error| format!("a request before it: {error}"))?;
        }
        set_status(program, place, &name, self.state).await?;
        compare(&self.expect, annotate(program, place, &name, self.who, &self.request).await)
    }
}

async fn set_status(program: &Program, place: &Place, name: &str, state: State) -> Outcome {
    let Some(status) = state.status() else { return Ok(()) };
    let api = program.executions(place);
    if !matches!(state, State::Nulls) {
        let patch = Patch::Merge(json!({"status": status}));
        return bounded(api.patch_status(name, &PatchParams::default(), &patch)).await.map(drop);
    }
    // Replaced as a whole: a merge patch would remove what is null.
    let mut live = bounded(api.get(name)).await?;
    live.data["status"] = status;
    let stored = bounded(api.replace_status(name, &PostParams::default(), &live)).await?;
    let kept = stored.data["status"].as_object().is_some_and(|status| status.get("waitingFor") == Some(&Value::Null));
    kept.then_some(()).ok_or_else(|| format!("the nulls did not arrive: {}", stored.data["status"]))
}

async fn annotate(program: &Program, place: &Place, name: &str, who: &str, request: &Value) -> Outcome<DynamicObject> {
    let annotations: serde_json::Map<String, Value> = request
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            (if key.contains('/') { key.clone() } else { format!("launchway.dev/{key}") }, value.clone())
        })
        .collect();
    let api = program.executions_of(who, place).await?;
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    bounded(api.patch(name, &PatchParams::default(), &patch)).await
}

/// One creation.
pub struct Creation {
    pub name: String,
    pub who: &'static str,
    /// Merged into the smallest execution; a null arrives as one.
    pub change: Value,
    pub expect: Expect,
}

impl Creation {
    pub async fn run(&self, program: &Program, place: &Place) -> Result<(), Wrong> {
        let wanted = place.execution(&self.change)?;
        let api = program.executions_of(self.who, place).await?;
        let created = bounded(api.create(&PostParams::default(), &wanted)).await;
        if let (Admitted(_), Ok(created)) = (&self.expect, &created)
            && (created.data["spec"]["requestedBy"] != self.who || created.data.get("status").is_some())
        {
            return Err(format!("requestedBy should be {} and status empty: {}", self.who, created.data).into());
        }
        compare(&self.expect, created)
    }
}

#[tokio::test]
async fn requests_are_admitted_from_the_right_person_at_the_right_time_only() {
    in_a_program("requests", |program| async move {
        people(&program).await?;
        let mut failures = Vec::new();
        let cases = table();
        println!("{} requests (about {} s)", cases.len(), cases.len() / 10 + 1);
        for case in &cases {
            match case.run(&program, &Place::real()).await {
                Ok(()) => println!("ok   {} ({})", case.name, case.who),
                Err(wrong) => failures.push(format!("{} ({}, {:?}): {}", case.name, case.who, case.state, wrong.told)),
            }
        }
        Ok(failures)
    })
    .await;
}

#[tokio::test]
async fn executions_are_created_by_those_who_may_run_the_pipeline_in_their_own_name() {
    in_a_program("creation", |program| async move {
        people(&program).await?;
        let mut failures = Vec::new();
        for creation in creations() {
            match creation.run(&program, &Place::real()).await {
                Ok(()) => println!("ok   {} ({})", creation.name, creation.who),
                Err(wrong) => failures.push(format!("{} ({}): {}", creation.name, creation.who, wrong.told)),
            }
        }
        Ok(failures)
    })
    .await;
}
