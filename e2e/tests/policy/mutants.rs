//! Every rule is needed: without it something is admitted that the table wants refused, or the reverse. Another message
//! is not enough.
//!
//! A mutant is one of the shipped policies with one rule taken out, or one of its facts made a constant. Mutants judge
//! executions of an API group of their own, each those with its label: nothing that works on the cluster meets them.

use std::time::Duration;

use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};

use crate::cases::{creations, table};
use crate::cluster::{Outcome, Place, Program, bounded, config_dir, documents, in_a_program, rule_of};
use crate::requests::{Case, Creation, Wrong, people};

const GROUP: &str = "mutants.launchway.dev";
/// On the executions that one mutant judges, and on everything that is installed for these tests.
const LABEL: &str = "mutants.launchway.dev/name";
const KINDS: [&str; 4] = [
    "ValidatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
];
/// How long the apiserver may take to know the group and to act on so many policies.
const READY: Duration = Duration::from_secs(60);
const SETTLED: Duration = Duration::from_secs(5);

/// Facts that every policy of a request has, and the constants that they become.
const CONSTANTS: [(&str, &str); 5] =
    [("ended", "false"), ("awaited", "true"), ("consumed", "true"), ("consumed", "false"), ("status", "{}")];

struct Mutant {
    /// Also the value of its label.
    name: String,
    /// The request whose policy it is a mutant of; empty: the policy of creations.
    request: String,
    what: String,
    policy: Value,
}

/// The unchanged policies, by request.
pub fn originals() -> Outcome<Vec<(String, Value)>> {
    let path = config_dir().join("policy/requests.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let policies = documents(&text)?.into_iter().filter(|document| document["kind"] == "ValidatingAdmissionPolicy");
    Ok(policies
        .map(|policy| {
            let name = policy["metadata"]["name"].as_str().unwrap_or_default();
            (name.trim_start_matches("launchway-requests").trim_start_matches('-').to_string(), policy)
        })
        .collect())
}

fn mutants() -> Outcome<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for (request, policy) in originals()? {
        let mut add = |what: String, change: &dyn Fn(&mut Value)| {
            let mut policy = policy.clone();
            change(&mut policy["spec"]);
            mutants.push(Mutant { name: format!("m{}", mutants.len()), request: request.clone(), what, policy });
        };
        add(String::new(), &|_| {});
        for (at, rule) in policy["spec"]["validations"].as_array().into_iter().flatten().enumerate() {
            let message = rule["message"].as_str().unwrap_or_default();
            add(format!("without the rule `{message}`"), &|spec| {
                spec["validations"].as_array_mut().map(|rules| rules.remove(at));
            });
        }
        for (fact, constant) in CONSTANTS {
            let variables = policy["spec"]["variables"].as_array().into_iter().flatten();
            for (at, _) in variables.enumerate().filter(|(_, variable)| variable["name"] == fact) {
                add(format!("where `{fact}` is always {constant}"), &|spec| {
                    spec["variables"][at]["expression"] = json!(constant);
                });
            }
        }
    }
    Ok(mutants)
}

impl Mutant {
    fn place(&self) -> Place {
        Place { group: GROUP, labels: json!({LABEL: self.name}) }
    }

    fn objects(&self) -> [Value; 2] {
        let name = format!("launchway-mutant-{}", self.name);
        let mut policy = ours(self.policy.clone(), &name);
        policy["spec"]["matchConstraints"]["resourceRules"][0]["apiGroups"] = json!([GROUP]);
        let binding = json!({
            "apiVersion": policy["apiVersion"], "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "labels": {LABEL: "installed"}},
            "spec": {
                "policyName": name, "validationActions": ["Deny"],
                "matchResources": {"objectSelector": {"matchLabels": {LABEL: self.name}}},
            },
        });
        [policy, binding]
    }

    /// The first case that tells it from the original, if there is one: of the original, any that goes wrong.
    async fn killed_by(&self, program: &Program, cases: &[Case], creations: &[Creation]) -> Option<String> {
        let place = self.place();
        let counts = |wrong: &Wrong| wrong.flipped || self.what.is_empty();
        for case in cases.iter().filter(|case| case.policy == self.request) {
            if let Err(wrong) = case.run(program, &place).await
                && counts(&wrong)
            {
                return Some(format!("{}: {}", case.name, wrong.told));
            }
        }
        for creation in creations.iter().filter(|_| self.request.is_empty()) {
            if let Err(wrong) = creation.run(program, &place).await
                && counts(&wrong)
            {
                return Some(format!("{}: {}", creation.name, wrong.told));
            }
        }
        None
    }
}

/// The same object under another name and with the mark of these tests.
fn ours(mut object: Value, name: &str) -> Value {
    object["metadata"] = json!({"name": name, "labels": {LABEL: "installed"}});
    object
}

/// The CRD of executions and the stamps, for the mutants' group.
fn surroundings() -> Outcome<Vec<Value>> {
    let mut objects = Vec::new();
    for base in ["crd/crds.yaml", "policy/stamps.yaml"] {
        let path = config_dir().join(base);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        objects.extend(documents(&text)?);
    }
    Ok(objects
        .into_iter()
        .filter(|object| {
            object["kind"] != "CustomResourceDefinition" || object["spec"]["names"]["plural"] == "pipelineexecutions"
        })
        .map(|object| {
            let kind = object["kind"].clone();
            if kind == "CustomResourceDefinition" {
                let mut crd = ours(object, &format!("pipelineexecutions.{GROUP}"));
                crd["spec"]["group"] = json!(GROUP);
                // Short names and categories belong to the real ones.
                for key in ["shortNames", "categories"] {
                    crd["spec"]["names"].as_object_mut().map(|names| names.remove(key));
                }
                return crd;
            }
            let mut stamps = ours(object, "launchway-mutant-stamps");
            if kind == "MutatingAdmissionPolicy" {
                stamps["spec"]["matchConstraints"]["resourceRules"][0]["apiGroups"] = json!([GROUP]);
            } else {
                stamps["spec"]["policyName"] = json!("launchway-mutant-stamps");
            }
            stamps
        })
        .collect())
}

fn kind_api(program: &Program, api_version: &str, kind: &str) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Api::all_with(program.admin(), &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

async fn create(program: &Program, object: Value) -> Outcome {
    let text = |key: &str| object[key].as_str().unwrap_or_default().to_string();
    let api = kind_api(program, &text("apiVersion"), &text("kind"));
    let what = format!("{} {}", text("kind"), object["metadata"]["name"]);
    let object: DynamicObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
    bounded(api.create(&PostParams::default(), &object)).await.map(drop).map_err(|error| format!("{what}: {error}"))
}

/// Takes away what these tests installed, now or in a run that was cut off.
async fn clean(program: &Program) -> Outcome {
    let installed = ListParams::default().labels(&format!("{LABEL}=installed"));
    for kind in KINDS {
        let api = kind_api(program, "admissionregistration.k8s.io/v1", kind);
        bounded(api.delete_collection(&DeleteParams::default(), &installed)).await?;
    }
    let crds = kind_api(program, "apiextensions.k8s.io/v1", "CustomResourceDefinition");
    bounded(crds.delete_collection(&DeleteParams::default(), &installed)).await?;
    let deadline = tokio::time::Instant::now() + READY;
    while !bounded(crds.list(&installed)).await?.items.is_empty() {
        if tokio::time::Instant::now() > deadline {
            return Err(format!("CustomResourceDefinition pipelineexecutions.{GROUP} was deleted and does not go"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

async fn install(program: &Program, mutants: &[Mutant]) -> Outcome {
    for user in PEOPLE {
        program
            .also_allow(user, "mutants", vec![rule_of(GROUP, "pipelineexecutions", &["create", "patch"], &[])])
            .await?;
    }
    for object in surroundings()? {
        create(program, object).await?;
    }
    for object in mutants.iter().flat_map(Mutant::objects) {
        create(program, object).await?;
    }
    // All were seen to act when the last one does: it refuses what nobody may do.
    let Some(last) = mutants.last() else { return Err("there is no mutant: config/policy is not where it was".into()) };
    let place = last.place();
    let deadline = tokio::time::Instant::now() + READY;
    loop {
        match acts(program, &place).await {
            Ok(()) => break,
            Err(error) if tokio::time::Instant::now() > deadline => return Err(format!("mutants do not act: {error}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
    tokio::time::sleep(SETTLED).await;
    Ok(())
}

/// Whether the stamps fill in a name, and a policy refuses a name without a request.
async fn acts(program: &Program, place: &Place) -> Outcome {
    let created =
        bounded(program.executions(place).create(&PostParams::default(), &place.execution(&json!({}))?)).await?;
    let stamped = created.data["spec"]["requestedBy"].is_string();
    stamped.then_some(()).ok_or_else(|| "the stamps do not fill in spec.requestedBy".to_string())?;
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"launchway.dev/cancelled-by": "x"}}}));
    let forged = bounded(program.executions(place).patch(&created.name_any(), &PatchParams::default(), &patch)).await;
    forged.err().map(drop).ok_or_else(|| "a name without a request was admitted".to_string())
}

/// Everybody of [`people`] but the viewer.
const PEOPLE: [&str; 13] =
    ["otto", "ann", "carl", "mia", "max", "bob", "sam", "carol", "emma", "edda", "dave", "walt", "wanda"];

#[tokio::test]
async fn every_rule_of_every_policy_is_needed() {
    in_a_program("mutants", |program| async move {
        clean(&program).await?;
        people(&program).await?;
        let mutants = mutants()?;
        println!("{} mutants of the policies (about two minutes)", mutants.len());
        let verdicts = match install(&program, &mutants).await {
            Ok(()) => Ok(judge(&program, &mutants).await),
            Err(error) => Err(error),
        };
        clean(&program).await?;
        verdicts
    })
    .await;
}

async fn judge(program: &Program, mutants: &[Mutant]) -> Vec<String> {
    let (cases, creations) = (table(), creations());
    let mut failures = Vec::new();
    for mutant in mutants {
        let name = if mutant.request.is_empty() { "creations" } else { &mutant.request };
        match (mutant.what.is_empty(), mutant.killed_by(program, &cases, &creations).await) {
            (true, None) => println!("ok   {name}: unchanged, and no case goes wrong"),
            (true, Some(error)) => failures.push(format!("{name}: unchanged, but {error}")),
            (false, Some(case)) => println!("ok   {name} {}: {case}", mutant.what),
            (false, None) => failures.push(format!("{name} {}: no case goes wrong", mutant.what)),
        }
    }
    failures
}
