//! Facts about images that the history of a pipeline let go of: who in the cluster names them, and what their registry has.
//!
//! Lists of the cluster are plain ones, which an apiserver answers with everything that was written before: what is not
//! seen here is deleted. Their order follows the way of a release, from a Job to an execution to a ledger and an
//! Environment, so that one that moves on meanwhile is seen in one place or in the next.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, Resource, ResourceExt, api::ListParams, core::PartialObjectMeta};
use launchway_crds::{
    Environment, Pipeline, PipelineExecution,
    conditions::reasons,
    digest::Sha256Digest,
    names::{FIELD_MANAGER, labels},
    step::StepName,
};
use serde::de::DeserializeOwned;

use crate::{
    attest::{BUNDLE_TYPE, SBOM_TYPE, STATEMENT_TYPE},
    context::Context,
    error::{Error, bounded},
    image::manifest::Document,
    outline::ExecutionOutline,
    plan::{
        execution::world::Fault,
        memory::images::{Found, Outcome, There, World, digests_in, due_releases, is_own_tag, roots},
    },
    registry::{Client, ErrorKind, RegistryError, Repository, fallback_tag},
};

use super::{
    executions::{PAGE, unended},
    memory::Executions,
};

/// The longest that reading a repository takes.
const LIMIT: Duration = Duration::from_secs(120);
/// Manifests that are read at once.
const AT_ONCE: usize = 8;
/// Most tags of people, and releases in use, whose manifests are read.
const MAX_ROOTS: usize = 2000;

/// The pipeline as it is now, if it is there.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn pipeline(context: &Context, namespace: &str, name: &str) -> Result<Option<Pipeline>, Error> {
    let api: Api<Pipeline> = Api::namespaced(context.client.clone(), namespace);
    bounded("read the pipeline", api.get_opt(name)).await
}

/// Executions that are there, from memory: one that has just gone is still among them, which keeps its images.
pub async fn there(executions: &Executions) -> Option<There> {
    // Before the first list everything would seem to be gone.
    executions.wait_until_ready().await.ok()?;
    let all = executions.state();
    let identity = |one: &Arc<ExecutionOutline>| {
        (one.namespace().unwrap_or_default(), one.name_any(), one.uid().unwrap_or_default())
    };
    Some(There::of(all.iter().map(identity)))
}

/// Everything in the cluster that decides which images go.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn world(context: &Context, pipeline: Pipeline, there: There) -> Result<World, Error> {
    let jobs: Vec<PartialObjectMeta<Job>> = builds(context).await?;
    let running: Vec<PipelineExecution> =
        all(context, "list executions", ListParams::default().fields(&unended(None))).await?;
    let pods: Vec<Pod> = all(context, "list pods", ListParams::default().labels(labels::ENVIRONMENT)).await?;
    let environments: Vec<Environment> = all(context, "list environments", ListParams::default()).await?;
    let pipelines: Vec<Pipeline> = all(context, "list pipelines", ListParams::default()).await?;
    let owners = jobs.iter().flat_map(|job| job.metadata.owner_references.iter().flatten());
    Ok(World {
        pipeline,
        pipelines,
        environments,
        running: running.into_iter().filter(|one| !has_ended(one)).collect(),
        there,
        builds: owners.map(|owner| owner.uid.clone()).collect(),
        pods: digests_of(&pods),
    })
}

fn has_ended(execution: &PipelineExecution) -> bool {
    execution.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Jobs that build images, or did.
async fn builds(context: &Context) -> Result<Vec<PartialObjectMeta<Job>>, Error> {
    let own = format!("{}={FIELD_MANAGER},{}={}", labels::MANAGED_BY, labels::STEP, StepName::BuildImage.dashed());
    let api: Api<Job> = Api::all(context.client.clone());
    let page = ListParams::default().labels(&own);
    Ok(bounded("list jobs", api.list_metadata(&page)).await?.items)
}

/// Objects of a kind in all namespaces.
async fn all<K>(context: &Context, doing: &'static str, which: ListParams) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(context.client.clone());
    let mut page = which.limit(PAGE);
    let mut all = vec![];
    loop {
        let found = bounded(doing, api.list(&page)).await?;
        all.extend(found.items);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// Digests of the images that pods have: of those too that a rollout which failed has left.
fn digests_of(pods: &[Pod]) -> BTreeSet<Sha256Digest> {
    let mut found = BTreeSet::new();
    for spec in pods.iter().filter_map(|pod| pod.spec.as_ref()) {
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            digests_in(container.image.as_deref().unwrap_or_default(), &mut found);
        }
    }
    found
}

/// A client for the repository of a pipeline's images; none when it makes no images.
///
/// # Errors
/// What is to be said where it cannot be had.
pub async fn registry(context: &Context, pipeline: &Pipeline) -> Result<Option<(Arc<Client>, Repository)>, Outcome> {
    let Some(images) = &pipeline.spec.images else { return Ok(None) };
    let namespace = pipeline.namespace().unwrap_or_default();
    let plain = images.plain_http.then_some(&images.repository);
    let client = context.registry.client(&context.client, &namespace, images.secret_ref.as_slice(), plain).await;
    let client = client.map_err(|fault| match fault {
        Fault::Absent(message) | Fault::Refused(message) => {
            Outcome::Refused { reason: reasons::REGISTRY_REFUSED, message }
        }
        Fault::Unreachable(message) => Outcome::Refused { reason: reasons::REGISTRY_UNREACHABLE, message },
    })?;
    let repository = Repository::parse(&images.repository).map_err(refused)?;
    Ok(Some((client, repository)))
}

/// What is to be said of a registry's error.
#[must_use]
pub fn refused(error: RegistryError) -> Outcome {
    let reason = match error.kind {
        ErrorKind::Unsupported => reasons::REGISTRY_CANNOT_DELETE,
        ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::Unreachable | ErrorKind::Invalid | ErrorKind::Local => {
            error.code()
        }
    };
    Outcome::Refused { reason, message: error.message }
}

/// What the registry says of the repository.
///
/// # Errors
/// When it does not say it whole: a part of it must not decide.
pub async fn found(client: &Client, repository: &Repository, world: &World) -> Result<Found, RegistryError> {
    tokio::time::timeout(LIMIT, read(client, repository, world)).await.unwrap_or_else(|_| {
        let what = format!("its tags and manifests were not read within {} s", LIMIT.as_secs());
        Err(RegistryError::new(ErrorKind::Unreachable, &repository.to_string(), what, "It is tried again"))
    })
}

async fn read(client: &Client, repository: &Repository, world: &World) -> Result<Found, RegistryError> {
    let tags = client.list_tags(repository).await?;
    let foreign = tags.iter().filter(|tag| !is_own_tag(tag)).cloned();
    let references: Vec<String> = foreign.chain(roots(world).iter().map(ToString::to_string)).collect();
    if references.len() > MAX_ROOTS {
        let what = format!("{} tags of people and releases in use, at most {MAX_ROOTS} are read", references.len());
        let remedy = "Keep what is no image of a pipeline in another repository";
        return Err(RegistryError::new(ErrorKind::Invalid, &repository.to_string(), what, remedy));
    }
    let named = stream::iter(references)
        .map(|reference| async move { named(client, repository, &reference).await })
        .buffer_unordered(AT_ONCE)
        .try_fold(BTreeSet::new(), |mut all, some| async move {
            all.extend(some);
            Ok(all)
        })
        .await?;
    let mut documents = BTreeMap::new();
    for release in due_releases(world) {
        documents.insert(release, attached(client, repository, &release, &tags).await?);
    }
    Ok(Found { named, documents })
}

/// What a tag or a digest names: a manifest, and those that it consists of or refers to.
async fn named(
    client: &Client,
    repository: &Repository,
    reference: &str,
) -> Result<BTreeSet<Sha256Digest>, RegistryError> {
    let Some(manifest) = client.get_manifest(repository, reference).await? else { return Ok(BTreeSet::new()) };
    let mut found = BTreeSet::from([manifest.digest]);
    // Whatever it is: a signature names its subject, an index its images. Digests of layers do no harm here.
    digests_in(&String::from_utf8_lossy(&manifest.bytes), &mut found);
    Ok(found)
}

/// What our build attached to a release: the documents, then the index that lists them where the registry does not. What
/// others attached stays, and with it that index.
async fn attached(
    client: &Client,
    repository: &Repository,
    release: &Sha256Digest,
    tags: &BTreeSet<String>,
) -> Result<Vec<Sha256Digest>, RegistryError> {
    let all = client.list_referrers(repository, release, None).await?;
    let is_own = |kind: Option<&str>| matches!(kind, Some(STATEMENT_TYPE | SBOM_TYPE | BUNDLE_TYPE));
    let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|one| is_own(one.artifact_type.as_deref()));
    let mut digests: Vec<Sha256Digest> = own.iter().map(|one| one.descriptor.digest).collect();
    let tag = fallback_tag(release);
    if others.is_empty() && tags.contains(&tag) {
        let index = client.get_manifest(repository, &tag).await?;
        // Somebody may have put something else there.
        let is_index = |bytes: &[u8]| matches!(Document::parse(bytes), Ok(Document::Index { .. }));
        digests.extend(index.filter(|index| is_index(&index.bytes)).map(|index| index.digest));
    }
    Ok(digests)
}
