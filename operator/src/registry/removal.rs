//! Deleting manifests.

use std::time::Duration;

use launchway_crds::digest::Sha256Digest;
use reqwest::{Method, StatusCode};

use super::client::Client;
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;

/// How often, and after which pauses, a registry is asked whether what it deleted is gone.
const LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(1000)];

impl Client {
    /// Deletes a manifest by its digest, with all tags that name it. One that is gone already is no error.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the registry deletes nothing, [`ErrorKind::Refused`] when it does not delete this one
    /// (rights, a rule, something that refers to it), [`ErrorKind::Invalid`] when it says that it did and still has it; or it
    /// is not reachable.
    pub async fn delete_manifest(&self, repository: &Repository, digest: &Sha256Digest) -> Result<(), RegistryError> {
        let place = repository.to_string();
        let ask = self.ask(Method::DELETE, repository, &format!("manifests/{digest}"))?;
        let answered = self.send(&ask).await?.status();
        match answered {
            StatusCode::NOT_FOUND => return Ok(()),
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {}
            other => {
                return Err(RegistryError::invalid(&place, format!("manifest {digest} was not deleted: {other}")));
            }
        }
        for pause in LOOKS {
            tokio::time::sleep(pause).await;
            if self.head_manifest(repository, &digest.to_string()).await?.is_none() {
                return Ok(());
            }
        }
        let what = format!("it said that manifest {digest} is deleted, and still has it");
        Err(RegistryError::new(ErrorKind::Invalid, &place, what, "Check the registry's storage and caches"))
    }

    /// What an answer means that is no success, where a registry was asked to delete.
    pub(super) fn not_deleted(place: &str, status: StatusCode, detail: &str) -> Option<RegistryError> {
        let (kind, remedy) = match status {
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => (ErrorKind::Unsupported, ENABLE),
            StatusCode::BAD_REQUEST if detail.starts_with("UNSUPPORTED") => (ErrorKind::Unsupported, ENABLE),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::LOCKED => {
                (ErrorKind::Refused, "Look for a rule of the registry that keeps it (immutable tags, retention, locks)")
            }
            _ => return None,
        };
        Some(RegistryError::new(kind, place, format!("a manifest was not deleted: {status} {detail}"), remedy))
    }
}

const ENABLE: &str =
    "Let the registry delete manifests (docker-registry: REGISTRY_STORAGE_DELETE_ENABLED=true), or keep them";
