//! An Environment that nothing was deployed to: it runs its base images, has what belongs to it, and what somebody changes
//! by hand is put back and told.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use launchway_crds::{
    conditions::{self, reasons, types},
    names::FIELD_MANAGER,
};
use launchway_e2e::{
    Outcome,
    audit::Audit,
    cluster::{call, until},
    failure::ensure,
    page,
    program::{DEVELOPER, Options, Program},
    scenario::{self, Scenario, measured},
};
use serde_json::{Value, json};

const NAME: &str = "preview";
/// A minute of head start for a first execution, and the stand-in's own start.
const UP: Duration = Duration::from_secs(240);
const BACK: Duration = Duration::from_secs(30);
const REST: Duration = Duration::from_secs(20);

#[test]
fn an_environment_without_a_release_answers_and_keeps_what_belongs_to_it() -> Outcome {
    scenario::run("bare-environment", |scenario| async move {
        let options = Options::stand_in(1);
        let program = scenario.program("", &options).await?;
        let mut object = program.environment_object(NAME, "Production", 2, &options);
        object["spec"]["runtime"]["bare"] = json!("Enabled");
        object["spec"]["route"] = json!({"hosts": ["www.example.com"]});
        let created = Instant::now();
        program.apply(&object).await?;
        says(&program, types::READY, reasons::BARE, UP).await?;
        measured("a new Environment answers after", format!("{} s", created.elapsed().as_secs()));
        let status = program.environment(NAME).await?.status.unwrap_or_default();
        ensure(status.deployed.is_none() && status.ready_replicas == 2, || format!("{status:?}"))?;
        page::get(&page::client()?, &format!("{}/system/probes/live", program.address(NAME).await?)).await?;
        everything_is_there(&program).await?;
        drift(&scenario, &program).await?;
        a_pod_is_left_alone(&program).await?;
        nothing_is_written_at_rest(&scenario, &program).await?;
        // The plugin draws with the same builders: nothing would change, which is exit code 0.
        let registry = scenario.cluster.registry.clone();
        scenario.types(&program, DEVELOPER, &["plan", NAME, "--plain-http", &registry]).await
    })
}

fn api<K>(program: &Program) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(program.cluster.client.clone(), &program.namespace)
}

/// Waits until a condition has a reason; answers with its message.
async fn says(program: &Program, type_: &str, reason: &str, limit: Duration) -> Outcome<String> {
    until(&format!("{NAME} says {type_} {reason}"), limit, || async {
        let status = program.environment(NAME).await?.status.unwrap_or_default();
        let condition = conditions::get(&status.conditions, type_);
        Ok(match condition.filter(|condition| condition.reason == reason) {
            Some(condition) => Ok(condition.message.clone()),
            None => Err(format!("{condition:?}")),
        })
    })
    .await
}

async fn everything_is_there(program: &Program) -> Outcome {
    call(api::<PodDisruptionBudget>(program).get("preview-pairs")).await?;
    call(api::<Ingress>(program).get("preview-dispatcher")).await?;
    for tier in ["author", "publish", "dispatcher"] {
        call(api::<NetworkPolicy>(program).get(&format!("preview-{tier}"))).await?;
    }
    Ok(())
}

/// Somebody changes an object of each kind, and deletes one.
async fn drift(scenario: &Scenario, program: &Program) -> Outcome {
    let by_hand = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    let seconds = |set: &StatefulSet| set.spec.as_ref()?.template.spec.as_ref()?.termination_grace_period_seconds;
    let before = call(api::<StatefulSet>(program).get("preview-author")).await?;
    let changed = Instant::now();
    let template = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}});
    call(api::<StatefulSet>(program).patch("preview-author", &by_hand, &Patch::Merge(&template))).await?;
    let port = json!({"spec": {"ports": [{"name": "http", "port": 81, "targetPort": "http"}]}});
    call(api::<Service>(program).patch("preview-author", &by_hand, &Patch::Merge(&port))).await?;
    let budget = json!({"spec": {"minAvailable": 0}});
    call(api::<PodDisruptionBudget>(program).patch("preview-pairs", &by_hand, &Patch::Merge(&budget))).await?;
    call(api::<NetworkPolicy>(program).delete("preview-publish", &DeleteParams::default())).await.map(drop)?;
    until("what was changed is put back", BACK, || async {
        let set = call(api::<StatefulSet>(program).get("preview-author")).await?;
        let service = call(api::<Service>(program).get("preview-author")).await?;
        let budget = call(api::<PodDisruptionBudget>(program).get("preview-pairs")).await?;
        let policy = call(api::<NetworkPolicy>(program).get_opt("preview-publish")).await?;
        let ports: Value = service.spec.and_then(|spec| spec.ports).iter().flatten().map(|port| port.port).collect();
        let least = budget.spec.and_then(|spec| spec.min_available);
        let back = seconds(&set) == seconds(&before)
            && ports == json!([80])
            && least == Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(3))
            && policy.is_some();
        Ok(if back { Ok(()) } else { Err(format!("{:?} {ports} {least:?} {}", seconds(&set), policy.is_some())) })
    })
    .await?;
    measured("changes by hand were put back after", format!("{} ms", changed.elapsed().as_millis()));
    nothing_outlives_a_later_version(program).await?;
    println!("  {}", says(program, types::DRIFTED, reasons::PUT_BACK, BACK).await?);
    let events =
        Api::<k8s_openapi::api::events::v1::Event>::namespaced(scenario.cluster.client.clone(), &program.namespace);
    until("an Event tells of it", BACK, || async {
        let all = call(events.list(&kube::api::ListParams::default())).await?.items;
        Ok(if all.iter().any(|event| event.reason.as_deref() == Some("Drifted")) {
            Ok(())
        } else {
            Err(all.len().to_string())
        })
    })
    .await?;
    says(program, types::READY, reasons::BARE, UP).await.map(drop)
}

/// The lists of the Service were set by a patch. A later version of the operator that has another port takes today's away
/// all the same: whatever the operator owns it owns by applying.
async fn nothing_outlives_a_later_version(program: &Program) -> Outcome {
    let services = api::<Service>(program);
    let found = call(services.get("preview-author")).await?;
    let entries = found.metadata.managed_fields.clone().unwrap_or_default();
    let patched = entries.iter().filter(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.operation.as_deref() == Some("Update")
    });
    ensure(patched.count() == 0, || format!("{entries:?}"))?;
    let selector = found.spec.and_then(|spec| spec.selector);
    let later = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "preview-author"},
        "spec": {"selector": selector, "ports": [{"name": "http", "port": 8080, "targetPort": "http"}]},
    });
    let dry = PatchParams::apply(FIELD_MANAGER).force().dry_run();
    let ports =
        call(services.patch("preview-author", &dry, &Patch::Apply(&later))).await?.spec.and_then(|spec| spec.ports);
    let ports: Vec<i32> = ports.iter().flatten().map(|port| port.port).collect();
    ensure(ports == [8080], || format!("a later version would have ports {ports:?}"))
}

/// A pod whose image somebody changed is told of, and not touched: deleting it is a person's decision.
async fn a_pod_is_left_alone(program: &Program) -> Outcome {
    let pods = api::<Pod>(program);
    let image = json!({"spec": {"containers": [{"name": "main", "image": "registry.example.com/nobody/knows:this"}]}});
    call(pods.patch("preview-publish-1", &PatchParams::default(), &Patch::Strategic(&image))).await?;
    let told = says(program, types::DRIFTED, reasons::NOT_OURS, BACK).await?;
    ensure(told.contains("kubectl delete pod preview-publish-1"), || told.clone())?;
    println!("  {told}");
    call(pods.delete("preview-publish-1", &DeleteParams::default())).await.map(drop)?;
    says(program, types::DRIFTED, reasons::AS_DEPLOYED, UP).await?;
    says(program, types::READY, reasons::BARE, UP).await.map(drop)
}

async fn nothing_is_written_at_rest(scenario: &Scenario, program: &Program) -> Outcome {
    let audit = Audit::from_now_on(&scenario.cluster)?;
    tokio::time::sleep(REST).await;
    let writes: Vec<String> = audit
        .of_operator()?
        .iter()
        .filter(|write| write.namespace == program.namespace && !write.housekeeping())
        .map(|write| format!("{write:?}"))
        .collect();
    ensure(writes.is_empty(), || format!("at rest the operator wrote:\n{}", writes.join("\n")))
}
