//! Effects of a pipeline: the execution that a change of its source starts.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, ResourceExt, api::PostParams};
use launchway_crds::{Pipeline, PipelineExecution};

use crate::{
    context::Context,
    error::{Error, bounded},
    plan::pipeline::Start,
    render::execution::execution,
};

use super::counted;

/// Creates the execution for a change.
///
/// # Errors
/// When the apiserver refuses or does not answer.
pub async fn start(context: &Context, pipeline: &Pipeline, start: &Start) -> Result<(), Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    tracing::info!(pipeline = %format!("{namespace}/{}", pipeline.name_any()), execution = start.name, revision = start.revision, "Starting");
    counted(context, "create_execution", async {
        // Clusters that do not fill in who asks check that it is said.
        let own = context.identity.get_or_try_init(|| who(context)).await?;
        let object = execution(pipeline, start, own);
        let api: Api<PipelineExecution> = Api::namespaced(context.client.clone(), &namespace);
        let made = async {
            match api.create(&PostParams::default(), &object).await {
                // It was created before: that is seen when it is read.
                Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
                other => other.map(|_| ()),
            }
        };
        bounded("create an execution", made).await
    })
    .await
}

/// The user name by which the apiserver knows the operator.
async fn who(context: &Context) -> Result<String, Error> {
    let api: Api<SelfSubjectReview> = Api::all(context.client.clone());
    let question = SelfSubjectReview::default();
    let review = bounded("ask for the own name", api.create(&PostParams::default(), &question)).await?;
    let info = review.status.and_then(|status| status.user_info);
    Ok(info.and_then(|user| user.username).unwrap_or_default())
}
