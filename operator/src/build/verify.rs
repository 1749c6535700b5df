//! Whether a release is what its provenance says: build it again from the same inputs and compare.
//!
//! The proof needs no key and no trust in whoever pushed the release: equal digests are equal bytes. A key adds who
//! vouched for it.

use std::path::Path;

use launchway_crds::digest::{ImageRef, Sha256Digest};

use super::attach::{documents, signed_by};
use super::{Assembled, BaseRef, BuildError, Recipe, Source, Watch, make};
use crate::attest::key::PublicKey;
use crate::attest::provenance::{self, Claim, MAX_STATEMENT};
use crate::attest::sbom::MAX_SBOM;
use crate::attest::{SBOM_TYPE, STATEMENT_TYPE};
use crate::image::Hasher;
use crate::registry::{Client, Repository};
use crate::release::release_images;

/// Inputs that are read from elsewhere than where the provenance says, because they moved or were never in a registry.
/// Their content must be what the provenance says all the same.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    /// The packages.
    pub source: Option<Source>,
    /// Base of author and publish.
    pub aem: Option<BaseRef>,
    /// Base of the web server.
    pub dispatcher: Option<BaseRef>,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was compared.
    pub what: &'static str,
    /// What the registry has.
    pub found: String,
    /// What was built now, or what was asked for.
    pub rebuilt: String,
    /// Whether they are the same.
    pub same: bool,
}

impl Check {
    fn digests(what: &'static str, found: Sha256Digest, rebuilt: Sha256Digest) -> Self {
        Self { what, found: found.to_string(), rebuilt: rebuilt.to_string(), same: found == rebuilt }
    }

    fn failed(what: &'static str, found: impl Into<String>, rebuilt: impl Into<String>) -> Self {
        Self { what, found: found.into(), rebuilt: rebuilt.into(), same: false }
    }
}

/// Rebuilds a release and compares. The checks are in the order in which people read them.
///
/// # Errors
/// When the release or one of its inputs cannot be read. A release without usable provenance is a failed check.
pub async fn verify(
    client: &Client,
    release: &ImageRef,
    elsewhere: Elsewhere,
    key: Option<&PublicKey>,
    spool: &Path,
    watch: &dyn Watch,
) -> Result<Vec<Check>, BuildError> {
    let repository = Repository::of(release);
    let (aem, dispatcher) = release_images(client, release).await?;
    let Claimed { claim, statement, signed } = match claimed(client, &repository, &release.digest(), key).await? {
        Ok(found) => found,
        Err(why) => return Ok(vec![Check::failed("provenance", why, "a statement about this release")]),
    };
    let moved = elsewhere.source.is_some() || elsewhere.aem.is_some() || elsewhere.dispatcher.is_some();
    let recipe = recipe(client, &claim, elsewhere).await?;
    let made = make(client, &recipe, None, spool, watch).await?;
    let assembled = match made.outcome {
        Ok(assembled) => assembled,
        Err(refusal) => return Ok(vec![Check::failed("release", release.digest().to_string(), refusal.to_string())]),
    };
    let subjects = assembled.subjects();
    let mut checks = vec![
        Check::digests("packages", claim.parameters.artifact_digest, made.report.artifact),
        Check::digests("aem", aem, subjects.aem),
        Check::digests("dispatcher", dispatcher, subjects.dispatcher),
        Check::digests("release", release.digest(), subjects.release),
        sbom(client, &repository, release, &assembled).await?,
    ];
    if !moved {
        // Read from the same places, the statement is the same too, with everything else that it says.
        checks.push(Check::digests("provenance", Hasher::of(&statement), Hasher::of(&assembled.provenance.content)));
    }
    if let Some(key) = key {
        checks.push(Check {
            what: "signature",
            found: if signed { "of this key" } else { "none of this key" }.to_owned(),
            rebuilt: key.hint(),
            same: signed,
        });
    }
    Ok(checks)
}

/// A statement to rebuild from.
struct Claimed {
    claim: Claim,
    statement: Vec<u8>,
    /// Whether the key that was asked for signed it.
    signed: bool,
}

/// The first statement that this version can rebuild from, one that the key signed before all others; or why there is
/// none.
async fn claimed(
    client: &Client,
    repository: &Repository,
    release: &Sha256Digest,
    key: Option<&PublicKey>,
) -> Result<Result<Claimed, String>, BuildError> {
    let signatures = match key {
        Some(key) => signed_by(client, repository, release, key).await?,
        None => Vec::new(),
    };
    let mut why = "none".to_owned();
    let mut usable: Option<Claimed> = None;
    for statement in documents(client, repository, release, STATEMENT_TYPE, MAX_STATEMENT).await? {
        let parsed = statement.map_err(|error| error.to_string()).and_then(|bytes| {
            let claim = provenance::parse(&bytes)?;
            if claim.subjects.release == *release {
                Ok((claim, bytes))
            } else {
                Err("it is about another release".into())
            }
        });
        match parsed {
            Ok((claim, statement)) => {
                let signed = signatures.contains(&statement);
                if signed || usable.is_none() {
                    usable = Some(Claimed { claim, statement, signed });
                }
                if signed {
                    break;
                }
            }
            Err(reason) => why = reason,
        }
    }
    Ok(usable.ok_or(why))
}

async fn recipe(client: &Client, claim: &Claim, elsewhere: Elsewhere) -> Result<Recipe, BuildError> {
    let parameters = &claim.parameters;
    let source = match (elsewhere.source, &parameters.artifact) {
        (Some(source), _) => source,
        (None, Some(artifact)) => Source::Artifact(artifact.clone()),
        (None, None) => {
            return Err(BuildError::Platform(format!(
                "the release was built from files that are in no registry: name them, or an artifact with the digest {}",
                parameters.artifact_digest
            )));
        }
    };
    Ok(Recipe {
        source,
        aem: base(client, elsewhere.aem, &parameters.base.aem, "--base-aem").await?,
        dispatcher: base(client, elsewhere.dispatcher, &parameters.base.dispatcher, "--base-dispatcher").await?,
        web_tier: parameters.web_tier,
        provided: parameters.provided.clone(),
        layer_encoding: parameters.layer_encoding,
        platform: parameters.platform.clone(),
    })
}

async fn base(client: &Client, given: Option<BaseRef>, stated: &str, option: &str) -> Result<BaseRef, BuildError> {
    match given {
        Some(base) => Ok(base),
        None if stated.starts_with("sha256:") => Err(BuildError::Platform(format!(
            "the release was built on a base that was in no registry: name it with {option}; its digest is {stated}"
        ))),
        None => BaseRef::resolve(client, stated).await,
    }
}

async fn sbom(
    client: &Client,
    repository: &Repository,
    release: &ImageRef,
    assembled: &Assembled,
) -> Result<Check, BuildError> {
    let rebuilt = Hasher::of(&assembled.sbom.content);
    let found = documents(client, repository, &release.digest(), SBOM_TYPE, MAX_SBOM).await?;
    let digests: Vec<Sha256Digest> = found.iter().flatten().map(|bytes| Hasher::of(bytes)).collect();
    Ok(match (digests.contains(&rebuilt), digests.first()) {
        (true, _) => Check::digests("sbom", rebuilt, rebuilt),
        (false, Some(other)) => Check::digests("sbom", *other, rebuilt),
        (false, None) => Check::failed("sbom", "none", rebuilt.to_string()),
    })
}
