//! What registries say: artifacts behind tags, releases behind digests, contracts behind images.
//!
//! Package and layer bytes never pass through the operator: it reads manifests, image
//! configurations and the build's report, each bounded in size.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use launchway_crds::{
    common::LocalName,
    conditions::truncate,
    digest::{ImageRef, Sha256Digest},
    environment::ReleaseImages,
    execution::{ArtifactChoice, ArtifactFile},
    git::PackageRepository,
    pipeline::{ArtifactSource, Images},
};
use serde_json::Value;

use crate::{
    artifact, build_record,
    error::bounded,
    flux::FluxArtifact,
    image::{
        contract::{ImageTier, RuntimeContract},
        plan::FileReport,
    },
    plan::execution::world::{Fault, FoundArtifact, FoundBuild, FoundRelease, ReleaseDigests},
    registry::{self, Authorities, ClientOptions, Credentials, ErrorKind, RegistryError, Repository},
    release,
    render::Contracts,
    worker::report::Report,
};

/// Largest image configuration and report that are read.
const BLOB_CAP: usize = 1 << 20;
/// The longest that a round waits for a registry.
const LIMIT: Duration = Duration::from_secs(30);
/// Contracts that are remembered: they follow from digests, so they never change.
const REMEMBERED: usize = 256;

/// Clients that are kept: each has its connections and tokens.
const CLIENTS: usize = 64;
/// How long one is kept: what the machine trusts may change.
const CLIENT_AGE: Duration = Duration::from_secs(600);

/// Reads from registries on behalf of pipelines and environments.
pub struct RegistryReader {
    plain_http: Vec<String>,
    contracts: Mutex<HashMap<String, Contracts>>,
    clients: Mutex<HashMap<String, (Instant, Arc<registry::Client>)>>,
}

impl RegistryReader {
    /// `plain_http` are registries of base images that are spoken to by plain HTTP.
    #[must_use]
    pub fn new(plain_http: Vec<String>) -> Self {
        Self { plain_http, contracts: Mutex::default(), clients: Mutex::default() }
    }

    /// The artifact that an execution names, or that its pipeline names now: by a tag, or, where an object of Flux says what
    /// it is, by a digest.
    ///
    /// # Errors
    /// Why it could not be had.
    pub async fn artifact(
        &self,
        client: &Client,
        namespace: &str,
        source: &ArtifactSource,
        flux: Option<&FluxArtifact>,
        choice: Option<&ArtifactChoice>,
    ) -> Result<FoundArtifact, Fault> {
        let reference = match choice.map(|choice| (&choice.digest, &choice.tag)) {
            Some((Some(digest), _)) => digest.to_string(),
            Some((None, Some(tag))) => tag.clone(),
            _ => flux.map_or_else(|| source.tag().to_string(), |found| found.digest.to_string()),
        };
        let ArtifactSource { repository, flux_ref: _, secret_ref, plain_http, tag: _ } = source.clone();
        let repository = repository.or_else(|| flux.map(|found| found.repository.clone()));
        let repository = repository.ok_or_else(|| Fault::Absent("spec.source.artifact names no repository.".into()))?;
        let repository = PackageRepository { repository, secret_ref, plain_http };
        self.packages(client, namespace, &repository, &reference).await.map_err(|fault| match fault {
            Fault::Absent(why) => Fault::Absent(format!(
                "{why} Push the packages with kubectl launchway push, or correct spec.source.artifact of the pipeline."
            )),
            other => other,
        })
    }

    /// The artifact that a digest or a tag names.
    ///
    /// # Errors
    /// Why it could not be had.
    pub async fn packages(
        &self,
        client: &Client,
        namespace: &str,
        source: &PackageRepository,
        reference: &str,
    ) -> Result<FoundArtifact, Fault> {
        let registry = self
            .client(client, namespace, source.secret_ref.as_slice(), source.plain_http.then_some(&source.repository))
            .await?;
        let repository = Repository::parse(&source.repository).map_err(fault)?;
        let found = limited(registry.need_manifest(&repository, reference)).await?;
        let files = artifact::decode(&found.bytes)
            .map_err(|rule| Fault::Absent(format!("{}:{reference}: {rule}.", source.repository)))?;
        let files = files.iter().map(listed).collect();
        Ok(FoundArtifact { reference: image(&source.repository, found.digest)?, files })
    }

    /// The packages of an earlier build, and who built them.
    ///
    /// # Errors
    /// Why they could not be had.
    pub async fn earlier(
        &self,
        client: &Client,
        namespace: &str,
        source: &PackageRepository,
        tag: &str,
    ) -> Result<FoundBuild, Fault> {
        let registry = self
            .client(client, namespace, source.secret_ref.as_slice(), source.plain_http.then_some(&source.repository))
            .await?;
        let repository = Repository::parse(&source.repository).map_err(fault)?;
        let found = limited(registry.need_manifest(&repository, tag)).await?;
        let record = build_record::decode(&found.bytes)
            .map_err(|rule| Fault::Absent(format!("{}:{tag}: {rule}.", source.repository)))?;
        let artifact = self.packages(client, namespace, source, &record.artifact.to_string()).await?;
        Ok(FoundBuild { artifact, by: record.by, version: record.version })
    }

    /// Whether a release that a build reports is in the registry as it says, and what the build found.
    ///
    /// # Errors
    /// Why it could not be had.
    pub async fn release(
        &self,
        client: &Client,
        namespace: &str,
        images: &Images,
        built: &ReleaseDigests,
    ) -> Result<FoundRelease, Fault> {
        let registry = self
            .client(client, namespace, images.secret_ref.as_slice(), images.plain_http.then_some(&images.repository))
            .await?;
        let repository = Repository::parse(&images.repository).map_err(fault)?;
        limited(release::verify_release(
            &registry,
            &built.release,
            built.images.aem.digest(),
            built.images.dispatcher.digest(),
        ))
        .await?;
        let report = report(&registry, &repository, built.report.digest()).await?;
        let files = report.files.iter().map(classified).collect();
        Ok(FoundRelease { release: built.release.clone(), images: built.images.clone(), files })
    }

    /// What a build that failed found each file to be.
    ///
    /// # Errors
    /// Why it could not be had.
    pub async fn refused(
        &self,
        client: &Client,
        namespace: &str,
        images: &Images,
        digest: Sha256Digest,
    ) -> Result<Vec<ArtifactFile>, Fault> {
        let plain = images.plain_http.then_some(&images.repository);
        let registry = self.client(client, namespace, images.secret_ref.as_slice(), plain).await?;
        let repository = Repository::parse(&images.repository).map_err(fault)?;
        Ok(report(&registry, &repository, digest).await?.files.iter().map(classified).collect())
    }

    /// What the images of a release promise.
    ///
    /// # Errors
    /// Why it could not be read.
    pub async fn contracts(
        &self,
        client: &Client,
        namespace: &str,
        images: &ReleaseImages,
        secrets: &[LocalName],
    ) -> Result<Contracts, Fault> {
        let key = format!("{} {}", images.aem, images.dispatcher);
        if let Some(known) = self.contracts.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let registry = self.client(client, namespace, secrets, None).await?;
        let contracts = Contracts {
            aem: contract(&registry, &images.aem, ImageTier::Aem).await?,
            dispatcher: contract(&registry, &images.dispatcher, ImageTier::Dispatcher).await?,
        };
        let mut known = self.contracts.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, contracts.clone());
        Ok(contracts)
    }

    /// A client with the credentials of some Secrets, and the authorities (`ca.crt`) that they name. It is kept while the
    /// Secrets stay as they are: whoever asks a registry every minute need not log in every minute.
    pub(super) async fn client(
        &self,
        client: &Client,
        namespace: &str,
        secrets: &[LocalName],
        plain: Option<&String>,
    ) -> Result<Arc<registry::Client>, Fault> {
        let mut plain_http: BTreeSet<String> = self.plain_http.iter().cloned().collect();
        plain_http.extend(plain.and_then(|repository| repository.split('/').next()).map(str::to_string));
        let mut key = format!("{plain_http:?}");
        let mut found = vec![];
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        for LocalName { name } in secrets {
            let secret = bounded("read a registry secret", api.get_opt(name))
                .await
                .map_err(|error| Fault::Unreachable(error.to_string()))?
                .ok_or_else(|| Fault::Absent(format!("Secret {name} does not exist in namespace {namespace}: create it with type kubernetes.io/dockerconfigjson")))?;
            let meta = &secret.metadata;
            key.push_str(&format!(" {:?} {:?}", meta.uid, meta.resource_version));
            found.push((name, secret));
        }
        let mut kept = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = kept.get(&key).filter(|(made, _)| made.elapsed() < CLIENT_AGE) {
            return Ok(known.clone());
        }
        let mut credentials = Credentials::none();
        let mut authorities = Authorities::default();
        for (name, secret) in &found {
            let (more, trusted) = login(name, secret)?;
            credentials = credentials.and(more);
            authorities = authorities.and(trusted);
        }
        let options = ClientOptions { plain_http, credentials, authorities, ..ClientOptions::default() };
        let made = Arc::new(registry::Client::new(options).map_err(fault)?);
        kept.retain(|_, (made, _)| made.elapsed() < CLIENT_AGE);
        if kept.len() < CLIENTS {
            kept.insert(key, (Instant::now(), made.clone()));
        }
        Ok(made)
    }
}

/// The credentials and authorities in a Secret.
fn login(name: &str, secret: &Secret) -> Result<(Credentials, Authorities), Fault> {
    let data = secret.data.as_ref();
    let text = data
        .and_then(|data| data.get(".dockerconfigjson"))
        .and_then(|bytes| std::str::from_utf8(&bytes.0).ok())
        .ok_or_else(|| {
            Fault::Refused(format!(
                "Secret {name} has no key .dockerconfigjson: create it with kubectl create secret docker-registry"
            ))
        })?;
    let credentials =
        Credentials::from_docker_config(text).map_err(|why| Fault::Refused(format!("Secret {name}: {why}")))?;
    let authorities = match data.and_then(|data| data.get("ca.crt")) {
        Some(bytes) => Authorities::from_pem(&String::from_utf8_lossy(&bytes.0))
            .map_err(|why| Fault::Refused(format!("Secret {name}, key ca.crt: {why}")))?,
        None => Authorities::default(),
    };
    Ok((credentials, authorities))
}

/// The report of a build, by the digest of its artifact.
async fn report(registry: &registry::Client, repository: &Repository, digest: Sha256Digest) -> Result<Report, Fault> {
    let manifest = limited(registry.need_manifest(repository, &digest.to_string())).await?;
    let manifest: Value = parse(&manifest.bytes, "the build's report")?;
    let bytes = limited(registry.get_blob(repository, &digest_of(&manifest["layers"][0])?, BLOB_CAP)).await?;
    serde_json::from_slice(&bytes).map_err(|error| Fault::Absent(format!("the build's report cannot be read: {error}")))
}

async fn contract(registry: &registry::Client, image: &ImageRef, tier: ImageTier) -> Result<RuntimeContract, Fault> {
    let (_, config) = limited(release::image_config(registry, image)).await?;
    let contract =
        RuntimeContract::from_config(&config).map_err(|error| Fault::Absent(format!("image {image}: {error}")))?;
    if contract.tier != tier {
        return Err(Fault::Absent(format!(
            "image {image} is of tier {}, not {}",
            contract.tier.as_str(),
            tier.as_str()
        )));
    }
    Ok(contract)
}

/// A file of an artifact before anybody looked into it.
fn listed(file: &artifact::ArtifactFile) -> ArtifactFile {
    ArtifactFile {
        name: truncate(&file.name, 255),
        sha256: file.digest,
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        kind: None,
        id: None,
        reason: None,
    }
}

/// A file and what the build found it to be.
fn classified(file: &FileReport) -> ArtifactFile {
    ArtifactFile {
        name: truncate(&file.name, 255),
        sha256: file.sha256,
        size: i64::try_from(file.size).unwrap_or(i64::MAX),
        kind: Some(file.kind.as_str().into()),
        id: file.id.as_ref().map(|id| truncate(id, 255)),
        reason: file.message.as_ref().map(|message| truncate(message, 255)),
    }
}

fn digest_of(descriptor: &Value) -> Result<Sha256Digest, Fault> {
    let text = descriptor["digest"].as_str().unwrap_or_default();
    text.parse().map_err(|error| Fault::Absent(format!("a manifest of the registry names no digest: {error}")))
}

fn parse(bytes: &[u8], what: &str) -> Result<Value, Fault> {
    serde_json::from_slice(bytes).map_err(|error| Fault::Absent(format!("{what} is not JSON: {error}")))
}

fn image(repository: &str, digest: Sha256Digest) -> Result<ImageRef, Fault> {
    ImageRef::new(repository, digest).map_err(|error| Fault::Absent(error.to_string()))
}

pub(super) async fn limited<T>(call: impl Future<Output = Result<T, RegistryError>>) -> Result<T, Fault> {
    match tokio::time::timeout(LIMIT, call).await {
        Ok(result) => result.map_err(fault),
        Err(_) => Err(Fault::Unreachable(format!("the registry did not answer within {} s", LIMIT.as_secs()))),
    }
}

pub(super) fn fault(error: RegistryError) -> Fault {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::Invalid => Fault::Absent(error.message),
        ErrorKind::Refused => Fault::Refused(error.message),
        ErrorKind::Unreachable | ErrorKind::Local => Fault::Unreachable(error.message),
    }
}
