//! Git as the source of a Pipeline: the repository, the commit that is taken, and the build that makes packages of it.

use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    common::{LocalName, Span},
    digest::{ImageRef, Sha256Digest},
    environment::{Resources, Storage},
    pipeline::{ArtifactSource, Images, PipelineSpec},
    version::{ArtifactsVersion, ProjectVersion},
};

/// A Git repository and what is built from it. The pipeline names it, or an object of Flux does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.fluxRef)").message("name spec.source.git.url or spec.source.git.fluxRef: exactly one of them"),
    validation = Rule::new("!has(self.url) || has(self.branch) != has(self.tag)").message("name spec.source.git.branch or spec.source.git.tag: exactly one of them"),
    validation = Rule::new("!has(self.fluxRef) || !(has(self.branch) || has(self.tag))").message("spec.source.git.branch and spec.source.git.tag: with spec.source.git.fluxRef the GitRepository says which; leave both out")
)]
pub struct GitSource {
    /// The repository: `https://HOST/PATH` or `http://HOST/PATH` (smart HTTP), `ssh://[USER@]HOST[:PORT]/PATH` or
    /// `USER@HOST:PATH`. Credentials do not belong here but in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 1024),
        regex(
            pattern = r"^(https?://([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/[!-~]+|ssh://([A-Za-z0-9_][A-Za-z0-9._-]*@)?([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/[!-~]+|[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[!-~]+)$"
        )
    )]
    pub url: Option<String>,
    /// Instead of a URL: a `GitRepository` of Flux (`source.toolkit.fluxcd.io`) of the same namespace. It says which
    /// repository and which commit; the commit is checked out from the repository, for Flux's archive lacks files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_ref: Option<LocalName>,
    /// The branch whose newest commit an execution takes: `main` stands for `refs/heads/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[^\x00-\x20~^:?*\[\\\x7f/.-][^\x00-\x20~^:?*\[\\\x7f]*$")
    )]
    #[x_kube(validation = Rule::new("!self.contains('..') && !self.contains('@{') && !self.contains('//') && !self.endsWith('/') && !self.endsWith('.') && !self.endsWith('.lock')").message("no name of a branch: see git help check-ref-format"))]
    pub branch: Option<String>,
    /// The tag whose commit an execution takes: `v1.2` stands for `refs/tags/v1.2`. A tag that moves while an execution
    /// runs fails it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 200),
        regex(pattern = r"^[^\x00-\x20~^:?*\[\\\x7f/.-][^\x00-\x20~^:?*\[\\\x7f]*$")
    )]
    #[x_kube(validation = Rule::new("!self.contains('..') && !self.contains('@{') && !self.contains('//') && !self.endsWith('/') && !self.endsWith('.') && !self.endsWith('.lock')").message("no name of a tag: see git help check-ref-format"))]
    pub tag: Option<String>,
    /// Secret with the credentials: `password` and, if the server asks for it, `username` (a token is a password); or
    /// `ssh-privatekey` (or `identity`, as Flux calls it) and `known_hosts`. `ca.crt` may hold the certificate of a private
    /// authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalName>,
    /// Fetch the submodules that the root of the repository names, not those of submodules.
    #[serde(default)]
    pub submodules: bool,
    /// What makes packages of the sources.
    #[serde(default)]
    pub builder: Builder,
    /// Where the packages go, as one OCI artifact. Default: the repository of `spec.images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<PackageRepository>,
    /// Take the packages of an earlier build of this namespace, if the commit, the builder, the commands, the variables,
    /// the names of the secrets and `builder.projectVersion` are the same.
    #[serde(default = "yes")]
    pub reuse: bool,
}

/// A ref of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRef {
    /// The repository.
    pub url: String,
    /// The whole name of the ref: `refs/heads/BRANCH` or `refs/tags/TAG`. Of an object of Flux also any other, and `HEAD`
    /// where it names a commit alone.
    pub reference: String,
}

impl RemoteRef {
    /// What a build finds as `BRANCH`: the branch, or the whole name of what is none.
    #[must_use]
    pub fn branch_name(&self) -> &str {
        self.reference.strip_prefix("refs/heads/").unwrap_or(&self.reference)
    }
}

impl GitSource {
    /// The ref that the pipeline itself names; None when an object of Flux has to be asked.
    #[must_use]
    pub fn remote(&self) -> Option<RemoteRef> {
        let reference = match (&self.tag, &self.branch) {
            (Some(tag), _) => format!("refs/tags/{tag}"),
            (None, branch) => format!("refs/heads/{}", branch.as_deref().unwrap_or_default()),
        };
        self.url.clone().map(|url| RemoteRef { url, reference })
    }
}

/// Commands that make `target/*.zip` of sources, and the container in which they run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Builder {
    /// The image, by digest; it needs `/bin/sh`. Default: the one of the installation (JDK and Maven).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRef>,
    /// Secrets of type `kubernetes.io/dockerconfigjson` that the image is pulled with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalName>,
    /// Shell commands, run one after the other in the root of the checkout; the first that fails ends the build.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 4096)))]
    pub commands: Vec<String>,
    /// The version that a Maven project is built with. `Keep`: the committed one. `Generate`: one of the execution's own,
    /// `YYYY.MDD.HHMMSS.NNNNNNNNNN`, written into every `pom.xml` of the project before the commands run; they find it as
    /// `ARTIFACTS_VERSION`. For pipelines of type FullStack and StageOnly.
    pub project_version: ProjectVersion,
    /// Environment variables. They are readable by everyone who can read the Pipeline; the operator's own names win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub variables: Vec<BuildVariable>,
    /// Environment variables out of Secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub secrets: Vec<BuildSecret>,
    /// A volume of the pipeline's own that keeps `~/.m2/repository`, `~/.npm` and `~/.cache` from build to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Storage>,
    /// CPU and memory of the build's container. Default: half a CPU and 512Mi requested, at most 2Gi of memory.
    pub resources: Resources,
    /// The most that the checkout and everything that the build writes may have.
    pub disk: Quantity,
    /// How long the checkout, the build and the upload may take together.
    pub timeout: Span,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            image: None,
            image_pull_secrets: vec![],
            commands: vec!["mvn --batch-mode clean package".into()],
            project_version: ProjectVersion::Keep,
            variables: vec![],
            secrets: vec![],
            cache: None,
            resources: Resources::default(),
            disk: Quantity("8Gi".into()),
            timeout: Span::from_secs(3600),
        }
    }
}

/// An environment variable of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildVariable {
    /// Name: letters, digits and underscores, not beginning with a digit.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-zA-Z_][a-zA-Z_0-9]*$"))]
    pub name: String,
    /// Value.
    #[schemars(length(max = 2048))]
    pub value: String,
}

/// An environment variable of a build whose value is in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildSecret {
    /// Name: letters, digits and underscores, not beginning with a digit.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-zA-Z_][a-zA-Z_0-9]*$"))]
    pub name: String,
    /// Where the value is.
    pub secret_key_ref: SecretKey,
}

/// One key of a Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A repository of artifacts to write to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PackageRepository {
    /// Registry and repository, such as `registry.example.com/wknd/artifacts`.
    #[schemars(length(min = 3, max = 400), regex(pattern = r"^[^/@\s]+/[^@\s]+$"))]
    pub repository: String,
    /// Secret of type `kubernetes.io/dockerconfigjson` to read and write with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalName>,
    /// Speak plain HTTP to this registry.
    #[serde(default, rename = "plainHTTP")]
    pub plain_http: bool,
}

impl PipelineSpec {
    /// Where the packages are: the artifacts that the pipeline is given, or those that it builds. None when it takes a
    /// release over. `artifact` is what the execution uses: where an object of Flux names it, nothing else says where it is.
    #[must_use]
    pub fn packages(&self, artifact: Option<&ImageRef>) -> Option<PackageRepository> {
        if let Some(ArtifactSource { repository, flux_ref: _, secret_ref, plain_http, tag: _ }) =
            self.source.artifact.clone()
        {
            let repository = repository.or_else(|| Some(artifact?.repository().to_string()))?;
            return Some(PackageRepository { repository, secret_ref, plain_http });
        }
        let own = self.source.git.as_ref()?.artifacts.clone();
        own.or_else(|| {
            let Images { repository, secret_ref, plain_http, provided_packages: _, layer_encoding: _, signing: _ } =
                self.images.clone()?;
            Some(PackageRepository { repository, secret_ref, plain_http })
        })
    }

    /// Where reports are kept: beside the images, or beside the packages that a pipeline without images builds. None when it
    /// writes to no repository.
    #[must_use]
    pub fn reports(&self) -> Option<PackageRepository> {
        match &self.images {
            Some(Images {
                repository,
                secret_ref,
                plain_http,
                provided_packages: _,
                layer_encoding: _,
                signing: _,
            }) => {
                let (repository, secret_ref) = (repository.clone(), secret_ref.clone());
                Some(PackageRepository { repository, secret_ref, plain_http: *plain_http })
            }
            None => self.source.git.as_ref()?.artifacts.clone(),
        }
    }
}

/// The commit that an execution is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// The repository.
    #[schemars(length(max = 1024))]
    pub url: String,
    /// The ref that was asked: `refs/heads/…` or `refs/tags/…`. Of a `GitRepository` of Flux also any other, and `HEAD`
    /// where it names a commit alone.
    #[serde(rename = "ref")]
    #[schemars(length(max = 256))]
    pub reference: String,
    /// The commit, in whole: what the ref named, or Flux had fetched, when the execution began, or what the execution asked
    /// for.
    #[schemars(length(max = 64), regex(pattern = r"^([0-9a-f]{40}|[0-9a-f]{64})$"))]
    pub id: String,
    /// When the ref was resolved.
    pub resolved_at: Time,
}

/// How the packages of an execution were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// The image that they are built in.
    pub builder: ImageRef,
    /// Hash of everything that decides what the build makes: builds of the same key need not be done twice.
    pub key: Sha256Digest,
    /// The version that was generated for the packages, with `builder.projectVersion: Generate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts_version: Option<ArtifactsVersion>,
    /// The execution that built them, when this one did not: `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub reused_from: Option<String>,
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> GitSource {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_ref_has_its_whole_name() {
        let branch = source(r#"{"url":"https://git.example.com/wknd.git","branch":"main"}"#).remote().unwrap();
        assert_eq!((branch.reference.as_str(), branch.branch_name()), ("refs/heads/main", "main"));
        let source_of_tag = source(r#"{"url":"git@example.com:wknd.git","tag":"v1"}"#);
        let tag = source_of_tag.remote().unwrap();
        assert_eq!((tag.reference.as_str(), tag.branch_name()), ("refs/tags/v1", "refs/tags/v1"));
        assert!(source_of_tag.reuse && source_of_tag.builder == Builder::default());
        assert_eq!(source(r#"{"fluxRef":{"name":"site"}}"#).remote(), None);
    }

    #[test]
    fn reports_are_kept_where_the_pipeline_writes() {
        let place = |source: &str, images: &str| {
            let spec: PipelineSpec =
                serde_json::from_str(&format!(r#"{{"type":"CodeQuality","source":{source}{images}}}"#)).unwrap();
            spec.reports().map(|place| (place.repository, place.secret_ref.map(|secret| secret.name), place.plain_http))
        };
        let git = r#"{"git":{"url":"https://git.example.com/a.git","branch":"main","artifacts":{"repository":"r/packages","secretRef":{"name":"push"},"plainHTTP":true}}}"#;
        let images = r#","images":{"repository":"r/images"}"#;
        assert_eq!(place(git, images), Some(("r/images".into(), None, false)));
        assert_eq!(place(git, ""), Some(("r/packages".into(), Some("push".into()), true)));
        assert_eq!(place(r#"{"artifact":{"repository":"r/given"}}"#, ""), None, "it may only read there");
    }
}
