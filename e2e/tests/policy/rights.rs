//! What the operator itself may do: read pods, never write them; write status, never what people wrote.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use crate::cluster::{Outcome, Program, bounded, in_a_program};

const OPERATOR: &str = "the-operator";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// Verbs that people hold and the operator does not.
const PEOPLES: [(&str, &str); 6] = [
    ("cancel", "pipelines"),
    ("emergency", "pipelines"),
    ("override", "pipelines"),
    ("approve", "environments"),
    ("manage", "environments"),
    ("schedule", "environments"),
];
const OWN: [&str; 3] = ["environments", "pipelines", "pipelineexecutions"];

async fn may(program: &Program, user: &str, verb: &str, group: &str, resource: &str) -> Outcome<bool> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        namespace: Some(program.namespace.clone()),
        verb: Some(verb.into()),
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: Some(subresource.into()),
        name: Some("any".into()),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.into()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = bounded(Api::all(program.admin()).create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[tokio::test]
async fn the_operator_writes_no_pod_and_nothing_that_people_wrote() {
    in_a_program("rights", |program| async move {
        program.bind(OPERATOR, "launchway-operator").await?;
        let mut expected = Vec::new();
        for part in [
            "",
            "/exec",
            "/attach",
            "/portforward",
            "/proxy",
            "/eviction",
            "/ephemeralcontainers",
            "/resize",
            "/status",
            "/binding",
        ] {
            expected.extend(WRITES.map(|verb| (verb, "", format!("pods{part}"), false)));
        }
        for kind in OWN {
            // It starts executions for changes of a source, and removes what the history limits say; none is changed. An
            // Environment's finalizer is in its metadata, for which there is no right of its own.
            let may = |verb: &str| {
                matches!((kind, verb), ("pipelineexecutions", "create" | "delete") | ("environments", "patch"))
            };
            expected.extend(WRITES.map(|verb| (verb, "launchway.dev", kind.to_string(), may(verb))));
            expected.extend(["get", "list", "watch"].map(|verb| (verb, "launchway.dev", kind.to_string(), true)));
            expected.push(("patch", "launchway.dev", format!("{kind}/status"), true));
        }
        for (verb, kind) in PEOPLES {
            expected.push((verb, "launchway.dev", kind.to_string(), false));
        }
        for (kind, verbs) in [
            ("secrets", ["list", "watch", "update", "patch"]),
            ("configmaps", ["watch", "update", "patch", "deletecollection"]),
        ] {
            expected.extend(verbs.map(|verb| (verb, "", kind.to_string(), false)));
            expected.extend(["get", "create", "delete"].map(|verb| (verb, "", kind.to_string(), true)));
        }
        expected.extend([
            ("run", "launchway.dev", "pipelines".to_string(), true),
            ("trigger", "launchway.dev", "pipelines".to_string(), true),
            ("list", "apps", "controllerrevisions".to_string(), true),
            // Kept versions of a Pipeline: made, deleted when no execution needs them, never changed.
            ("delete", "apps", "controllerrevisions".to_string(), true),
            ("update", "apps", "controllerrevisions".to_string(), false),
            ("patch", "apps", "controllerrevisions".to_string(), false),
            // What Flux says of a source that a Pipeline names: read by name.
            ("get", "source.toolkit.fluxcd.io", "gitrepositories".to_string(), true),
            ("get", "source.toolkit.fluxcd.io", "ocirepositories".to_string(), true),
            ("list", "source.toolkit.fluxcd.io", "gitrepositories".to_string(), false),
            ("patch", "source.toolkit.fluxcd.io", "ocirepositories".to_string(), false),
            ("get", "source.toolkit.fluxcd.io", "buckets".to_string(), false),
            ("watch", "", "pods".to_string(), true),
            ("patch", "apps", "statefulsets".to_string(), true),
            ("create", "batch", "jobs".to_string(), true),
            ("patch", "apiextensions.k8s.io", "customresourcedefinitions".to_string(), false),
            ("patch", "admissionregistration.k8s.io", "validatingadmissionpolicies".to_string(), false),
            ("escalate", "rbac.authorization.k8s.io", "roles".to_string(), false),
            ("impersonate", "", "users".to_string(), false),
        ]);
        let mut failures = Vec::new();
        println!("{} questions to the apiserver (about 1 s)", expected.len());
        for (verb, group, resource, wanted) in expected {
            if may(&program, OPERATOR, verb, group, &resource).await? != wanted {
                failures.push(format!("{verb} {resource}: should be {}", if wanted { "allowed" } else { "refused" }));
            }
        }
        Ok(failures)
    })
    .await;
}

#[tokio::test]
async fn built_in_roles_carry_running_but_never_approving() {
    in_a_program("aggregation", |program| async move {
        for role in ["view", "edit", "admin"] {
            program.bind(role, role).await?;
        }
        let mut failures = Vec::new();
        let refused = ["approve", "manage"].map(|verb| (verb, "environments"));
        let refused = refused.into_iter().chain([("emergency", "pipelines"), ("patch", "pipelines")]);
        let mut table: Vec<_> = ["edit", "admin"]
            .into_iter()
            .flat_map(|role| refused.clone().map(move |(verb, kind)| (role, verb, kind, false)))
            .collect();
        table.extend([
            ("view", "list", "pipelineexecutions", true),
            ("view", "patch", "pipelineexecutions", false),
            ("edit", "create", "pipelineexecutions", true),
            ("edit", "run", "pipelines", true),
            ("edit", "cancel", "pipelines", true),
            ("edit", "override", "pipelines", false),
            ("edit", "schedule", "environments", false),
            ("edit", "patch", "pipelineexecutions/status", false),
            ("admin", "run", "pipelines", true),
            ("admin", "override", "pipelines", true),
            ("admin", "schedule", "environments", true),
            ("admin", "patch", "pipelineexecutions/status", false),
        ]);
        for (user, verb, resource, wanted) in table {
            if eventually(&program, user, verb, resource, wanted).await? != wanted {
                failures.push(format!(
                    "role {user}: {verb} {resource} should be {}",
                    if wanted { "allowed" } else { "refused" }
                ));
            }
        }
        Ok(failures)
    })
    .await;
}

/// Aggregation is done by a controller: a right may take some seconds to arrive.
async fn eventually(program: &Program, user: &str, verb: &str, resource: &str, wanted: bool) -> Outcome<bool> {
    for _ in 0..60 {
        if may(program, user, verb, "launchway.dev", resource).await? == wanted {
            return Ok(wanted);
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    Ok(!wanted)
}
