//! Running, approving, rejecting, cancelling: who may, when, and in whose name.

use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use launchway_crds::execution::PipelineExecution;
use serde_json::{Value, json};

use crate::cases::table;
use crate::cluster::{Outcome, Program, bounded, execution, in_a_program, rule};

/// The release that stage tested.
pub const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// People: `ann` and `carl` develop, `bob` approves, `carol` does both, `erin` approves for stage alone,
/// `dave` may patch executions and nothing else, `vera` looks.
async fn people(program: &Program) -> Outcome {
    for (user, role) in [
        ("ann", "launchway-developer"),
        ("carl", "launchway-developer"),
        ("bob", "launchway-approver"),
        ("carol", "launchway-developer"),
        ("carol", "launchway-approver"),
        ("vera", "launchway-viewer"),
    ] {
        program.bind(user, role).await?;
    }
    program.allow("dave", vec![rule("pipelineexecutions", &["patch", "create"], &[])]).await?;
    program
        .allow(
            "erin",
            vec![rule("pipelineexecutions", &["patch"], &[]), rule("environments", &["approve"], &["stage"])],
        )
        .await
}

/// How far an execution is before the request under test.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Created; the operator has not seen it.
    New,
    /// Stage is being deployed and tested.
    Running,
    /// Stage has tested the release: it waits for an approval.
    Waiting,
    /// The operator has copied an approval into status.
    Approved,
    /// It ended.
    Ended,
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
        });
        match self {
            Self::New => return None,
            Self::Running => {}
            Self::Waiting => {
                status["waitingFor"] = json!({"step": "approvalProduction", "why": "an approval", "since": now});
            }
            Self::Approved => {
                status["approvals"] =
                    json!([{"step": "approvalProduction", "by": "bob", "at": now, "release": DIGEST}]);
            }
            Self::Ended => status["completionTime"] = json!(now),
            Self::Nulls => {
                status = json!({"waitingFor": null, "completionTime": null, "release": null, "environments": null});
            }
        }
        Some(status)
    }
}

/// What the apiserver should say.
#[derive(Clone, Copy)]
pub enum Expect {
    /// Admitted, and these annotations are there afterwards.
    Admitted(&'static [(&'static str, &'static str)]),
    /// Refused, and the message says this.
    Refused(&'static str),
}
use Expect::{Admitted, Refused};

/// One request.
pub struct Case {
    pub name: &'static str,
    pub requested_by: &'static str,
    /// Requests that were admitted before.
    pub given: Vec<(&'static str, Value)>,
    pub state: State,
    pub who: &'static str,
    /// Annotations of the request; null removes one.
    pub request: Value,
    pub expect: Expect,
}

impl Case {
    pub fn given(mut self, who: &'static str, request: Value) -> Self {
        self.given.push((who, request));
        self
    }

    pub fn requested_by(mut self, who: &'static str) -> Self {
        self.requested_by = who;
        self
    }

    async fn run(&self, program: &Program) -> Outcome {
        let wanted = PipelineExecution {
            metadata: ObjectMeta { generate_name: Some("run-".into()), ..ObjectMeta::default() },
            ..PipelineExecution::new("", execution("wknd"))
        };
        let created =
            bounded(program.executions_of(self.requested_by).await?.create(&PostParams::default(), &wanted)).await?;
        let name = created.name_any();
        // Every request that can be given before is accepted by an execution that waits.
        if !self.given.is_empty() {
            set_status(program, &name, State::Waiting).await?;
            for (who, request) in &self.given {
                annotate(program, &name, who, request)
                    .await
                    .map_err(|error| format!("a request before it: {error}"))?;
            }
        }
        set_status(program, &name, self.state).await?;
        match (self.expect, annotate(program, &name, self.who, &self.request).await) {
            (Admitted(wanted), Ok(after)) => {
                let missing = wanted.iter().find(|(key, value)| {
                    after.annotations().get(&format!("launchway.dev/{key}")).is_none_or(|is| is != value)
                });
                missing
                    .map_or(Ok(()), |(key, value)| Err(format!("{key} should be {value}: {:?}", after.annotations())))
            }
            (Refused(part), Err(error)) if error.contains(part) => Ok(()),
            (Refused(part), Err(error)) => Err(format!("should be refused with `{part}`, but: {error}")),
            (Refused(part), Ok(_)) => Err(format!("was admitted, but should be refused with `{part}`")),
            (Admitted(_), Err(error)) => Err(format!("should be admitted, but: {error}")),
        }
    }
}

async fn set_status(program: &Program, name: &str, state: State) -> Outcome {
    let Some(mut status) = state.status() else { return Ok(()) };
    for key in ["waitingFor", "approvals", "completionTime"] {
        if status.get(key).is_none() {
            status[key] = Value::Null;
        }
    }
    if matches!(state, State::Nulls) {
        return put_status(program, name, &status).await;
    }
    let api = program.of_admin::<PipelineExecution>();
    bounded(api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status})))).await.map(drop)
}

/// Replaces the status: unlike a merge patch this keeps nulls.
async fn put_status(program: &Program, name: &str, status: &Value) -> Outcome {
    let resource = ApiResource::erase::<PipelineExecution>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(program.admin(), &program.namespace, &resource);
    let mut live = bounded(api.get(name)).await?;
    live.data["status"] = status.clone();
    let stored = bounded(api.replace_status(name, &PostParams::default(), &live)).await?;
    let kept = stored.data["status"].as_object().is_some_and(|status| status.get("waitingFor") == Some(&Value::Null));
    kept.then_some(()).ok_or_else(|| format!("the nulls did not arrive: {}", stored.data["status"]))
}

async fn annotate(program: &Program, name: &str, who: &str, request: &Value) -> Outcome<PipelineExecution> {
    let annotations: serde_json::Map<String, Value> = request
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            (if key.contains('/') { key.clone() } else { format!("launchway.dev/{key}") }, value.clone())
        })
        .collect();
    let api = program.executions_of(who).await?;
    bounded(api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"metadata": {"annotations": annotations}}))))
        .await
}

#[tokio::test]
async fn requests_are_admitted_from_the_right_person_at_the_right_time_only() {
    in_a_program("requests", |program| async move {
        people(&program).await?;
        let mut failures = Vec::new();
        let cases = table();
        println!("{} requests (about {} s)", cases.len(), cases.len() / 10 + 1);
        for case in &cases {
            match case.run(&program).await {
                Ok(()) => println!("ok   {} ({})", case.name, case.who),
                Err(error) => failures.push(format!("{} ({}, {:?}): {error}", case.name, case.who, case.state)),
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
        program
            .allow("otto", vec![rule("pipelineexecutions", &["create"], &[]), rule("pipelines", &["run"], &["other"])])
            .await?;
        let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {format!("launchway.dev/{key}"): value}}});
        let by = |name: &str| json!({"spec": {"requestedBy": name}});
        let created_already = Refused("cannot be created approved, rejected or cancelled");
        let table = [
            ("stamped", "ann", json!({}), Admitted(&[])),
            ("signed", "ann", by("ann"), Admitted(&[])),
            ("an explicit null is stamped too", "ann", json!({"spec": {"requestedBy": null}}), Admitted(&[])),
            ("in another's name", "ann", by("bob"), Refused("spec.requestedBy is 'bob', but the request comes from 'ann'")),
            ("without the verb", "dave", json!({}), Refused("needs the verb run on pipelines.launchway.dev")),
            ("with the verb on another pipeline", "otto", json!({}), Refused("may not run Pipeline 'wknd'")),
            ("an approver cannot run", "bob", json!({}), Refused("cannot create resource")),
            ("already approved", "carol", annotated("approve-production", DIGEST), created_already),
            ("with an approver", "carol", annotated("approved-by", "bob"), created_already),
            ("already rejected", "ann", annotated("reject", "no"), created_already),
            ("already cancelled", "ann", annotated("cancel", "no"), created_already),
            ("with an empty cancellation", "ann", annotated("cancel", ""), created_already),
            ("with a status of its own", "ann", json!({"status": {"waitingFor": {"step": "approvalProduction", "why": "x", "since": "2026-11-21T10:00:00Z"}}}), Admitted(&[])),
        ];
        let mut failures = Vec::new();
        for (name, who, change, expect) in table {
            let mut object = json!({
                "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
                "metadata": {"generateName": "made-"}, "spec": {"pipelineRef": {"name": "wknd"}},
            });
            merge(&mut object, &change);
            let created = create_raw(&program, who, &object).await;
            let verdict = match (expect, created) {
                (Admitted(_), Ok(created)) if created["spec"]["requestedBy"] == who && created.get("status").is_none() => Ok(()),
                (Admitted(_), Ok(created)) => Err(format!("requestedBy should be {who} and status empty: {created}")),
                (Refused(part), Err(error)) if error.contains(part) => Ok(()),
                (_, Ok(_)) => Err("was admitted".to_string()),
                (_, Err(error)) => Err(error),
            };
            match verdict {
                Ok(()) => println!("ok   {name} ({who})"),
                Err(error) => failures.push(format!("{name} ({who}): {error}")),
            }
        }
        Ok(failures)
    })
    .await;
}

/// Sends JSON as it is, so that a null arrives as one.
async fn create_raw(program: &Program, who: &str, object: &Value) -> Outcome<Value> {
    let url = format!("/apis/launchway.dev/v1alpha1/namespaces/{}/pipelineexecutions", program.namespace);
    let body = serde_json::to_vec(object).map_err(|error| error.to_string())?;
    let request =
        kube::core::Request::new(url).create(&PostParams::default(), body).map_err(|error| error.to_string())?;
    bounded(program.executions_of(who).await?.into_client().request(request)).await
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}
