//! Executions that have not ended, read live and in outline: there may be ten thousand that did.

use kube::api::ListParams;
use launchway_crds::conditions::reasons;

use crate::{context::Context, error::Error, outline::ExecutionOutline};

use super::fresh;

/// How many objects one answer may hold: while it is read, all of it is in memory, and eight rounds may read one at once.
pub(super) const PAGE: u32 = 100;

/// Executions of a namespace, or of one of its pipelines, that have not ended: every one that was created before any that
/// this process knows of, as it is by now.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn running(
    context: &Context,
    namespace: &str,
    pipeline: Option<&str>,
) -> Result<Vec<ExecutionOutline>, Error> {
    let which = ListParams::default().fields(&unended(pipeline)).limit(PAGE);
    let mut found: Vec<ExecutionOutline> = fresh::list(context, "list executions", namespace, which).await?;
    found.retain(|execution| execution.ended().is_none());
    Ok(found)
}

/// Leaves out most of those that ended; a selector cannot say "without a time of completion".
pub(super) fn unended(pipeline: Option<&str>) -> String {
    let ends = [reasons::FINISHED, reasons::FAILED, reasons::CANCELLED, reasons::ERROR, reasons::ALREADY_EXECUTED];
    let mut terms: Vec<String> = ends.iter().map(|end| format!("status.state!={end}")).collect();
    terms.extend(pipeline.map(|name| format!("spec.pipelineRef.name={name}")));
    terms.join(",")
}
