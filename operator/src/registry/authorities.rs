//! Certificates of private authorities, trusted besides those of the machine.

use std::fmt;
use std::path::Path;

use reqwest::Certificate;

use super::credentials::small_file;
use super::error::RegistryError;

/// Certificates that sign those of registries.
#[derive(Clone, Default)]
pub struct Authorities(Vec<Certificate>);

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

impl Authorities {
    /// Parses certificates in PEM form.
    ///
    /// # Errors
    /// When there is none in it, or one cannot be read.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let found = Certificate::from_pem_bundle(text.as_bytes())
            .map_err(|error| format!("it holds a certificate that cannot be read ({error})"))?;
        if found.is_empty() {
            return Err("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned());
        }
        Ok(Self(found))
    }

    /// Reads a file of certificates; a missing file means none.
    ///
    /// # Errors
    /// When the file exists and cannot be used.
    pub fn from_file(path: &Path) -> Result<Self, RegistryError> {
        match small_file(path)? {
            Some(text) => {
                Self::from_pem(&text).map_err(|why| RegistryError::local(format!("{}: {why}", path.display())))
            }
            None => Ok(Self::default()),
        }
    }

    /// Adds those of another set.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.0.clone()
    }
}
