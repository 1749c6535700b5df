//! Keeps a test's report: one OCI artifact beside the images, a layer for each file.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::build;
use crate::{
    build::attach,
    image::{
        Blob, Hasher,
        manifest::{self, Descriptor, EMPTY_JSON, TITLE},
    },
    registry::{Repository, Silent},
};

/// Artifact type of a test's report.
pub const ARTIFACT_TYPE: &str = "application/vnd.launchway.test-report.v1";
/// Most files of one report.
pub const FILES_MAX: usize = 200;
/// Most bytes of one report.
pub const BYTES_MAX: u64 = 128 << 20;
/// How long a report may take on its way: the result of the test must not wait for a registry.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// `REGISTRY/REPOSITORY`.
    pub repository: String,
    /// Speak plain HTTP to it.
    #[serde(default)]
    pub plain_http: bool,
}

/// One file of a report.
#[derive(Clone, Debug)]
pub struct Document {
    /// Path inside the report, with `/`.
    pub title: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content, or where it is.
    pub content: Content,
}

/// Content of a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Bytes(Vec<u8>),
    /// In a file, which stays as it is.
    File(PathBuf),
}

/// Media type by the end of a file's name.
#[must_use]
pub fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase()).as_deref() {
        Some("json" | "sarif") => "application/json",
        Some("xml") => "application/xml",
        Some("html" | "htm") => "text/html",
        Some("txt" | "log") => "text/plain",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("mp4") => "video/mp4",
        Some("webm") => "video/webm",
        _ => "application/octet-stream",
    }
}

/// Pushes a report, if there is a place for it. Its loss must not hide a result: the second value says what went wrong.
pub async fn publish(to: Option<&Destination>, documents: Vec<Document>) -> (Option<Sha256Digest>, Option<String>) {
    let Some(to) = to else { return (None, None) };
    let pushed = tokio::time::timeout(LIMIT, push(to, &build::credentials(), documents)).await;
    let why = match pushed {
        Ok(Ok(digest)) => {
            println!("report {}@{digest}", to.repository);
            return (Some(digest), None);
        }
        Ok(Err(why)) => why,
        Err(_) => format!("{} did not take it within {} s", to.repository, LIMIT.as_secs()),
    };
    println!("the report is not kept: {why}");
    (None, Some(format!("the report is not kept: {why}")))
}

/// Pushes a report and reads it back.
///
/// # Errors
/// What the registry, or this machine, refuses.
pub async fn push(to: &Destination, credentials: &Path, documents: Vec<Document>) -> Result<Sha256Digest, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let repository = Repository::parse(&to.repository).map_err(|error| text(&error))?;
    let plain_http: Vec<String> = to.plain_http.then(|| repository.registry().to_owned()).into_iter().collect();
    let client = build::client(&plain_http, credentials).map_err(|error| text(&error))?;
    let mut layers = vec![];
    for document in documents {
        let (blob, digest) = blob(document.content).await.map_err(|error| format!("{}: {error}", document.title))?;
        let size = blob.len();
        client
            .push_blob(&repository, &digest, Arc::new(blob), None, (&Silent, ""))
            .await
            .map_err(|error| text(&error))?;
        let mut layer = Descriptor::new(document.media_type, digest, size);
        layer.annotations.insert(TITLE.to_owned(), document.title);
        layers.push(layer);
    }
    client.push_bytes(&repository, &Hasher::of(EMPTY_JSON), EMPTY_JSON).await.map_err(|error| text(&error))?;
    let encoded = manifest::artifact(ARTIFACT_TYPE, &layers, &BTreeMap::new());
    let tag = format!("report-{}", encoded.digest.short());
    attach::put(&client, &repository, &encoded, &tag).await.map_err(|error| text(&error))?;
    Ok(encoded.digest)
}

/// Content with its digest. A file stays where it is: a video is larger than this process's memory.
async fn blob(content: Content) -> io::Result<(Blob, Sha256Digest)> {
    let read = move || {
        let blob = match content {
            Content::Bytes(bytes) => Blob::from_bytes(bytes),
            Content::File(path) => Blob::from_file(File::open(path)?)?,
        };
        let digest = blob.digest()?;
        Ok((blob, digest))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}
