//! Deleting an Environment: one that an execution has does not lose its pods first.

use std::time::Duration;

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams, PropagationPolicy},
};
use launchway_crds::Environment;
use serde_json::json;

use crate::cluster::{Outcome, Program, bounded, in_a_program};

/// An operator on the cluster takes away a lock whose execution it does not find: then the question is asked again.
const TRIES: usize = 20;
/// How long policies may take to act after they were applied.
const ACTIVE: Duration = Duration::from_secs(60);

/// A way to ask for a deletion.
struct Case {
    name: &'static str,
    held: bool,
    /// What the Environment carries already.
    finalizers: &'static [&'static str],
    asks: Option<PropagationPolicy>,
    refused: bool,
}

fn cases() -> Vec<Case> {
    let case = |name, held, finalizers, asks, refused| Case { name, held, finalizers, asks, refused };
    let foreground = || Some(PropagationPolicy::Foreground);
    vec![
        case("free, in the foreground", false, &[], foreground(), false),
        case("held, in the foreground", true, &[], foreground(), true),
        case("held, in the background", true, &[], Some(PropagationPolicy::Background), false),
        case("held, without a word", true, &[], None, false),
        case("held, and what belongs to it stays", true, &[], Some(PropagationPolicy::Orphan), false),
        case("held, its finalizers say foreground", true, &["foregroundDeletion"], None, true),
    ]
}

impl Case {
    /// What the apiserver says; nothing is deleted.
    async fn asked(&self, api: &Api<Environment>, name: &str) -> Outcome {
        let parameters =
            DeleteParams { dry_run: true, propagation_policy: self.asks.clone(), ..DeleteParams::default() };
        let lock = json!({"execution": "wknd-42", "uid": "u-42", "since": "2026-11-21T10:00:00Z"});
        for _ in 0..TRIES {
            let status = json!({"status": {"lock": if self.held { lock.clone() } else { json!(null) }}});
            bounded(api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))).await?;
            let answer = bounded(api.delete(name, &parameters)).await.map(drop);
            let now = bounded(api.get(name)).await?.status.unwrap_or_default();
            if now.lock.is_some() == self.held {
                return answer;
            }
        }
        Err(format!("its lock did not stay for a moment in {TRIES} tries"))
    }

    async fn fault(&self, program: &Program, number: usize) -> Outcome<Option<String>> {
        let api = program.of_admin::<Environment>();
        let name = format!("env-{number}");
        let object = serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
            "metadata": {"name": name, "finalizers": self.finalizers},
            "spec": {"type": "Stage", "runtime": {"bare": "Disabled"}},
        }));
        let object: Environment = object.map_err(|error| error.to_string())?;
        bounded(api.create(&PostParams::default(), &object)).await?;
        let answer = self.asked(&api, &name).await;
        let words = [
            format!("Environment '{name}' cannot be deleted in the foreground while execution 'wknd-42' has it"),
            "--cascade=background".into(),
            format!("kubectl launchway cancel wknd-42 --namespace {}", program.namespace),
        ];
        let as_it_should = match &answer {
            Ok(()) => !self.refused,
            Err(said) => self.refused && words.iter().all(|word| said.contains(word)),
        };
        Ok((!as_it_should).then(|| format!("{}: {answer:?}", self.name)))
    }
}

#[tokio::test]
async fn an_environment_that_an_execution_has_is_not_deleted_in_the_foreground() {
    in_a_program("deletions", |program| async move {
        let all = cases();
        // Nothing tells when a policy acts: the case that it is for is asked until it does.
        let until = tokio::time::Instant::now() + ACTIVE;
        let mut number = all.len();
        while all[1].fault(&program, number).await?.is_some() && tokio::time::Instant::now() < until {
            number += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut wrong = vec![];
        for (number, case) in all.iter().enumerate() {
            wrong.extend(case.fault(&program, number).await?);
        }
        Ok(wrong)
    })
    .await;
}
