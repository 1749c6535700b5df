//! An approval counts only while the apiserver's policy that guards it is in force.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use launchway_crds::{
    conditions::{self, reasons, types},
    execution::PipelineExecutionStatus,
    step::StepName,
};
use launchway_e2e::{
    Failure, Outcome, artifacts,
    audit::{self, Audit},
    cluster::{Cluster, call},
    executions::{self, told},
    failure::ensure,
    install,
    program::{DEVELOPER, Options, PRODUCTION, Program},
    scenario::{self, Scenario},
};

const POLICY: &str = "launchway-requests";
const LONG: Duration = Duration::from_secs(600);
/// The operator looks for the guard every 30 s while an approval waits for it.
const UNGUARDED: Duration = Duration::from_secs(45);
const RESTORED: Duration = Duration::from_secs(90);

#[test]
fn approvals_count_only_under_guard() -> Outcome {
    scenario::alone("guard", |scenario| async move {
        let options = Options::stand_in(1);
        let program = scenario.program("", &options).await?;
        let artifact = program.push(artifacts::site(1, None).await?.path()).await?;
        program.run("r1", Some(artifact.digest())).await?;
        scenario.on_failure(&program, "r1", program.awaits_approval("r1", LONG)).await?;

        let audit = Audit::from_now_on(&scenario.cluster)?;
        let binding = take_away(&scenario.cluster).await?;
        let unguarded = while_unguarded(&scenario, &program, &audit).await;
        put_back(&scenario.cluster, binding).await?;
        unguarded?;
        // Nobody knows who wrote an annotation that no policy saw: it never counts, not even afterwards.
        let execution = scenario
            .on_failure(
                &program,
                "r1",
                program.wait("r1", "refuses the old approval", RESTORED, |status| {
                    reason(status) == reasons::APPROVAL_MALFORMED
                }),
            )
            .await?;
        let status = execution.status.unwrap_or_default();
        ensure(stalled(&status) && status.approvals.is_empty(), || told(&status))?;
        println!("  with the binding back: {}", status.waiting_for.map(|waiting| waiting.why).unwrap_or_default());
        scenario.types(&program, DEVELOPER, &["cancel", "r1", "--reason", "approved without a guard"]).await?;
        program.ended("r1", RESTORED).await?;

        program.run("r2", Some(artifact.digest())).await?;
        scenario.on_failure(&program, "r2", program.awaits_approval("r2", LONG)).await?;
        program.approve("r2", &scenario.launchway).await?;
        let status = scenario.on_failure(&program, "r2", program.succeeded("r2", LONG)).await?;
        ensure(status.approvals.len() == 1 && !stalled(&status), || told(&status))
    })
}

fn reason(status: &PipelineExecutionStatus) -> &str {
    executions::reason(status, StepName::ApprovalProduction)
}

/// With the binding gone anybody may write the annotation: the operator waits, says why, and touches nothing.
async fn while_unguarded(scenario: &Scenario, program: &Program, audit: &Audit) -> Outcome {
    program.approve("r1", &scenario.launchway).await?;
    let missing = |status: &PipelineExecutionStatus| reason(status) == reasons::APPROVAL_GUARD_MISSING;
    let execution = scenario
        .on_failure(
            program,
            "r1",
            program.wait("r1", "says that the guard is missing", Duration::from_secs(60), missing),
        )
        .await?;
    let status = execution.status.unwrap_or_default();
    let why = status.waiting_for.as_ref().map(|waiting| waiting.why.clone()).unwrap_or_default();
    ensure(stalled(&status) && why.contains("ValidatingAdmissionPolicyBinding launchway-requests is missing"), || {
        format!("the status does not say what is missing:\n{}", told(&status))
    })?;
    println!("  without the binding: {why}");
    tokio::time::sleep(UNGUARDED).await;
    let status = program.execution("r1").await?.status.unwrap_or_default();
    ensure(status.approvals.is_empty() && missing(&status), || {
        format!("the approval was consumed:\n{}", told(&status))
    })?;
    let writes = audit.of_operator()?;
    audit::none_before(&writes, jiff::Timestamp::now(), &program.namespace, PRODUCTION)
}

fn stalled(status: &PipelineExecutionStatus) -> bool {
    conditions::get(&status.conditions, types::STALLED).is_some_and(|condition| condition.status == "True")
}

async fn take_away(cluster: &Cluster) -> Outcome<ValidatingAdmissionPolicyBinding> {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client.clone());
    let mut binding = call(bindings.get(POLICY)).await?;
    call(bindings.delete(POLICY, &DeleteParams::default())).await.map(drop)?;
    binding.metadata.resource_version = None;
    binding.metadata.uid = None;
    binding.metadata.managed_fields = None;
    Ok(binding)
}

/// Whatever happened before: the cluster's other users need the guard.
async fn put_back(cluster: &Cluster, binding: ValidatingAdmissionPolicyBinding) -> Outcome {
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client.clone());
    call(bindings.create(&PostParams::default(), &binding)).await.map_err(|failure| {
        Failure::new(failure.to_string())
            .remedy("helm upgrade --install launchway charts/launchway brings the binding back")
    })?;
    install::policies_act(cluster).await
}
