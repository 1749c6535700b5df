//! What everybody was told is taken out of the status of an execution.

use kube::{Api, ResourceExt};
use launchway_crds::{PipelineExecution, notification::Untold};

use crate::{
    context::Context,
    error::{Error, bounded},
};

use super::status;

/// How often a compare-and-set is tried at once.
const TRIES: usize = 5;

/// Takes what was told away, if the execution is still there.
///
/// # Errors
/// When the apiserver does not answer, or others write all the time: it is told again then.
pub async fn told(context: &Context, execution: &PipelineExecution, over: &[Untold]) -> Result<(), Error> {
    let api: Api<PipelineExecution> =
        Api::namespaced(context.client.clone(), &execution.namespace().unwrap_or_default());
    for _ in 0..TRIES {
        let Some(mut found) = bounded("read the execution", api.get_opt(&execution.name_any())).await? else {
            return Ok(());
        };
        let same = found.metadata.uid == execution.metadata.uid;
        let Some(status) = found.status.as_mut().filter(|_| same) else { return Ok(()) };
        let before = status.untold.len();
        status.untold.retain(|untold| !over.contains(untold));
        if status.untold.len() == before {
            return Ok(());
        }
        match status::replace(context, &found).await {
            Err(Error::Conflict(_)) => {}
            other => return other.map(|_| ()),
        }
    }
    Err(Error::Conflict("write down what was told"))
}
