//! The apiserver checks the policies' expressions against the schemas: a field that does not exist is found there.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::{Api, ResourceExt};

use crate::cluster::{Outcome, Program, bounded, in_a_program};
use crate::mutants::originals;

/// How long the controller that checks may take.
const CHECKED: Duration = Duration::from_secs(60);

/// What was found wrong with a policy, once it was looked at.
async fn warnings(program: &Program, name: &str) -> Outcome<Vec<String>> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(program.admin());
    let deadline = tokio::time::Instant::now() + CHECKED;
    loop {
        let policy = bounded(policies.get(name)).await?;
        let generation = policy.metadata.generation;
        let status = policy.status.unwrap_or_default();
        if status.observed_generation == generation
            && let Some(checked) = status.type_checking
        {
            let warnings = checked.expression_warnings.unwrap_or_default();
            return Ok(warnings.iter().map(|found| format!("{name} {}: {}", found.field_ref, found.warning)).collect());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("{name} was not checked within {} s", CHECKED.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn policies_speak_of_fields_that_exist() {
    in_a_program("types", |program| async move {
        let mut failures = Vec::new();
        for (_, policy) in originals()? {
            let policy: ValidatingAdmissionPolicy =
                serde_json::from_value(policy).map_err(|error| error.to_string())?;
            failures.extend(warnings(&program, &policy.name_any()).await?);
        }
        Ok(failures)
    })
    .await;
}
