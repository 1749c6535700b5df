//! Executions that have not ended, read live and in outline: there may be ten thousand that did.

use kube::{Api, api::ListParams};
use launchway_crds::conditions::reasons;

use crate::{
    context::Context,
    error::{Error, bounded},
    outline::ExecutionOutline,
};

/// How many objects one answer may hold.
const PAGE: u32 = 500;

/// Executions of a namespace, or of one of its pipelines, that have not ended, as the apiserver has them now.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn running(
    context: &Context,
    namespace: &str,
    pipeline: Option<&str>,
) -> Result<Vec<ExecutionOutline>, Error> {
    let api: Api<ExecutionOutline> = Api::namespaced(context.client.clone(), namespace);
    let mut page = ListParams::default().fields(&unended(pipeline)).limit(PAGE);
    let mut found = vec![];
    loop {
        let answer = bounded("list executions", api.list(&page)).await?;
        found.extend(answer.items.into_iter().filter(|execution| execution.ended().is_none()));
        match answer.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// Leaves out most of those that ended; a selector cannot say "without a time of completion".
fn unended(pipeline: Option<&str>) -> String {
    let ends = [reasons::FINISHED, reasons::FAILED, reasons::CANCELLED, reasons::ERROR, reasons::ALREADY_EXECUTED];
    let mut terms: Vec<String> = ends.iter().map(|end| format!("status.state!={end}")).collect();
    terms.extend(pipeline.map(|name| format!("spec.pipelineRef.name={name}")));
    terms.join(",")
}
