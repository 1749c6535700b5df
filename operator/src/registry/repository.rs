//! Names of repositories.

use std::fmt;

use launchway_crds::digest::{DigestError, ImageRef, Sha256Digest};

use super::error::{ErrorKind, RegistryError};

/// `REGISTRY/REPOSITORY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// Parses `REGISTRY/REPOSITORY`, without tag and digest.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        // A placeholder digest lets one parser hold all rules about names.
        let image = ImageRef::new(text, Sha256Digest::from_bytes([0; 32])).map_err(|error| {
            let why = match error {
                DigestError::Image { why, .. } => why,
                DigestError::Digest(_) => "it is not a repository",
            };
            RegistryError {
                kind: ErrorKind::Invalid,
                message: format!(
                    "`{}` is not a repository: {why}. Write it as REGISTRY/REPOSITORY, with the registry's host",
                    text.chars().take(200).collect::<String>().escape_debug()
                ),
            }
        })?;
        Ok(Self::of(&image))
    }

    /// The repository of an image.
    #[must_use]
    pub fn of(image: &ImageRef) -> Self {
        Self { registry: image.registry().to_owned(), path: image.path().to_owned() }
    }

    /// `HOST[:PORT]`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path inside the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An image of this repository.
    #[must_use]
    pub fn at(&self, digest: Sha256Digest) -> String {
        format!("{self}@{digest}")
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}
