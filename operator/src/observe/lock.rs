//! Whether the execution that has an Environment still needs it.

use jiff::{SignedDuration, Timestamp};
use kube::Api;
use launchway_crds::{Environment, PipelineExecution, environment::Lock};

use crate::{
    context::Context,
    error::{Error, bounded},
};

use super::now;

/// How long an execution that ended may take to give its Environments back.
const GIVES_BACK: SignedDuration = SignedDuration::from_secs(10);

/// Whether the execution that holds the lock still exists, and runs or gives the lock back itself.
pub(super) async fn holder_runs(context: &Context, namespace: &str, environment: &Environment) -> Result<bool, Error> {
    let Some(lock) = environment.status.as_ref().and_then(|status| status.lock.as_ref()) else { return Ok(true) };
    let executions: Api<PipelineExecution> = Api::namespaced(context.client.clone(), namespace);
    let holder = bounded("read the lock's holder", executions.get_opt(&lock.execution)).await?;
    Ok(holder.is_some_and(|holder| holds(&holder, lock, now())))
}

/// Whether an execution has a lock for good. One that has just ended gives it back itself: were it taken away here at the
/// same time, one of the two writes would be refused.
fn holds(holder: &PipelineExecution, lock: &Lock, now: Timestamp) -> bool {
    let ended = holder.status.as_ref().and_then(|status| status.completion_time.as_ref());
    holder.metadata.uid.as_ref() == Some(&lock.uid)
        && ended.is_none_or(|ended| now.duration_since(ended.0) < GIVES_BACK)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_execution_that_ended_gives_its_lock_back_itself_and_one_that_did_not_loses_it() {
        let end = "2026-11-21T10:00:00Z";
        let holder = |status: serde_json::Value| -> PipelineExecution {
            let metadata = json!({ "name": "wknd-1", "uid": "uid-1" });
            let whole = json!({
                "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution", "metadata": metadata,
                "spec": { "pipelineRef": { "name": "wknd" } }, "status": status,
            });
            serde_json::from_value(whole).unwrap()
        };
        let (ended, at): (_, Timestamp) = (holder(json!({ "completionTime": end })), end.parse().unwrap());
        let lock = Lock { execution: "wknd-1".into(), uid: "uid-1".into(), since: Time(at) };
        let later = |seconds| at.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        assert!(holds(&ended, &lock, later(9)));
        assert!(!holds(&ended, &lock, later(10)));
        assert!(holds(&holder(json!({})), &lock, later(1000)), "it runs");
        assert!(!holds(&ended, &Lock { uid: "another".into(), ..lock }, at), "it is not the holder");
    }
}
