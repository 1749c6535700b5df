//! From a plan and two bases to the bytes of a release: images, index, provenance, bill of materials.

use std::collections::BTreeMap;

use launchway_crds::digest::Sha256Digest;
use serde_json::Value;

use super::attach::Document;
use super::base::LoadedBase;
use super::source::Source;
use super::stream::{self, Newest, Outlet, OwnLayer};
use super::{BuildError, Recipe};
use crate::artifact::ZIP;
use crate::attest::provenance::{self, BaseNames, Parameters, Resource, Subjects};
use crate::attest::{SBOM_TYPE, SLSA_PROVENANCE, STATEMENT_TYPE, sbom};
use crate::image::Limits;
use crate::image::contract::ImageTier;
use crate::image::manifest::{self, AddedLayer, Descriptor, Encoded};
use crate::image::plan::{BuildPlan, FileKind, FileReport, NamedLayer};

/// Annotation: what a statement is about, as `BuildKit` writes it.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// One image of a release, ready to be written.
#[derive(Debug)]
pub struct Assembly {
    /// What it was built on.
    pub base: LoadedBase,
    /// Its layers on top of the base.
    pub layers: Vec<OwnLayer>,
    /// Its configuration; `None` when it is the base as it is.
    pub config: Option<Encoded>,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// How the release names it.
    pub descriptor: Descriptor,
}

impl Assembly {
    /// Author and publish, or the web server.
    #[must_use]
    pub const fn tier(&self) -> ImageTier {
        self.base.contract.tier
    }
}

/// A release, ready to be written.
#[derive(Debug)]
pub struct Assembled {
    /// Author and publish.
    pub aem: Assembly,
    /// The web server.
    pub dispatcher: Assembly,
    /// The index over both.
    pub release: Encoded,
    /// Where it comes from.
    pub provenance: Document,
    /// What is in it.
    pub sbom: Document,
    /// What remembers it for the next build, when it has large layers and is made for a repository.
    pub newest: Option<Newest>,
}

impl Assembled {
    /// The digests that people deploy and compare.
    #[must_use]
    pub const fn subjects(&self) -> Subjects {
        Subjects {
            release: self.release.digest,
            aem: self.aem.descriptor.digest,
            dispatcher: self.dispatcher.descriptor.digest,
        }
    }

    /// Both images, AEM first.
    #[must_use]
    pub const fn images(&self) -> [&Assembly; 2] {
        [&self.aem, &self.dispatcher]
    }
}

pub(super) async fn assemble(
    recipe: &Recipe,
    (artifact, files): (Sha256Digest, &[FileReport]),
    plan: BuildPlan,
    (aem, dispatcher): (LoadedBase, LoadedBase),
    outlet: Option<(Outlet<'_>, Newest)>,
) -> Result<Assembled, BuildError> {
    let limit = Limits::default().layers;
    let path = |path: &Option<String>| path.clone().unwrap_or_default();
    let room = limit.saturating_sub(aem.base.manifest.layers.len());
    // Beside a dispatcher that is built alone the image of author and publish stays as it is.
    let (install, index) = (path(&aem.contract.install_path), path(&aem.contract.index_path));
    let aem_layers = (!recipe.web_tier)
        .then(|| plan.aem_layers((&install, &index), room, recipe.layer_encoding))
        .transpose()
        .map_err(|rule| aem.refusal(rule))?;
    let dispatcher_layer = plan
        .dispatcher_layer(&path(&dispatcher.contract.config_path), recipe.layer_encoding)
        .map_err(|rule| dispatcher.refusal(rule))?;
    let (outlet, newest) = outlet.unzip();
    let (aem, dispatcher) = tokio::try_join!(
        image(aem, aem_layers, limit, outlet.as_ref()),
        image(dispatcher, dispatcher_layer.map(|layer| vec![layer]), limit, None),
    )?;
    let release = manifest::release(&aem.descriptor, &dispatcher.descriptor);
    let subjects =
        Subjects { release: release.digest, aem: aem.descriptor.digest, dispatcher: dispatcher.descriptor.digest };
    let parameters = parameters(recipe, artifact, &aem.base, &dispatcher.base);
    let statement = provenance::statement(
        &subjects,
        &parameters,
        &materials(files, &aem.base, &dispatcher.base),
        &[layers(&aem), layers(&dispatcher)].concat(),
    );
    let base = |image: &Assembly| sbom::BaseImage { name: image.base.title(), digest: image.base.base.digest };
    let configuration = files.iter().find(|file| file.kind == FileKind::Dispatcher);
    let bom = sbom::document(&sbom::Contents {
        subjects: &subjects,
        aem_base: &base(&aem),
        dispatcher_base: &base(&dispatcher),
        packages: &plan.packages,
        dispatcher: configuration.map(|file| (file.name.as_str(), file.sha256)),
    });
    let annotations = BTreeMap::from([(PREDICATE_TYPE.to_owned(), SLSA_PROVENANCE.to_owned())]);
    let subject = release.descriptor();
    let provenance = Document::about(&subject, STATEMENT_TYPE, "provenance.json", statement, &annotations);
    let sbom = Document::about(&subject, SBOM_TYPE, "sbom.cdx.json", bom, &BTreeMap::new());
    Ok(Assembled { aem, dispatcher, release, provenance, sbom, newest })
}

async fn image(
    base: LoadedBase,
    layers: Option<Vec<NamedLayer>>,
    limit: usize,
    outlet: Option<&Outlet<'_>>,
) -> Result<Assembly, BuildError> {
    let Some(layers) = layers else {
        return Ok(bare(base));
    };
    let layers = stream::describe(layers, outlet).await?;
    let added: Vec<AddedLayer> = layers.iter().map(|layer| layer.added.clone()).collect();
    let built = manifest::build(&base.base, &added, &BTreeMap::new(), limit).map_err(|rule| base.refusal(rule))?;
    let mut descriptor = built.manifest.descriptor();
    descriptor.platform = Some(built.platform);
    Ok(Assembly { base, layers, config: Some(built.config), manifest: built.manifest.bytes, descriptor })
}

/// The base as it is, when there is nothing to add.
fn bare(base: LoadedBase) -> Assembly {
    let manifest = base.raw.clone();
    let mut descriptor = Descriptor::new(base.media_type, base.base.digest, manifest.len() as u64);
    let text = |key: &str| base.base.config.get(key).and_then(Value::as_str).map(str::to_owned);
    descriptor.platform = text("os").zip(text("architecture"));
    Assembly { base, layers: Vec::new(), config: None, manifest, descriptor }
}

fn parameters(recipe: &Recipe, artifact: Sha256Digest, aem: &LoadedBase, dispatcher: &LoadedBase) -> Parameters {
    Parameters {
        artifact: match &recipe.source {
            Source::Artifact(image) => Some(image.clone()),
            Source::Files(_) => None,
        },
        artifact_digest: artifact,
        base: BaseNames { aem: aem.stated.clone(), dispatcher: dispatcher.stated.clone() },
        platform: recipe.platform.clone(),
        provided: recipe.provided.clone(),
        web_tier: recipe.web_tier,
        layer_encoding: recipe.layer_encoding,
    }
}

fn materials(files: &[FileReport], aem: &LoadedBase, dispatcher: &LoadedBase) -> Vec<Resource> {
    let file = |file: &FileReport| {
        let mut annotations = BTreeMap::from([("kind".to_owned(), file.kind.as_str().to_owned())]);
        if let Some(id) = &file.id {
            annotations.insert("package".to_owned(), id.clone());
        }
        Resource { name: file.name.clone(), digest: file.sha256, media_type: ZIP.to_owned(), uri: None, annotations }
    };
    [aem.material(), dispatcher.material()].into_iter().chain(files.iter().map(file)).collect()
}

/// What was made: every layer of ours, with the digest of its content before it was packed.
fn layers(image: &Assembly) -> Vec<Resource> {
    let layer = |OwnLayer { added, .. }: &OwnLayer| Resource {
        name: format!("{}: {}", image.tier().as_str(), added.what),
        digest: added.described.digest,
        media_type: added.encoding.media_type().to_owned(),
        uri: None,
        annotations: BTreeMap::from([("diffId".to_owned(), added.described.diff_id.to_string())]),
    };
    image.layers.iter().map(layer).collect()
}
