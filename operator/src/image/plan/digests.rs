//! Digests of files, computed on a thread of their own while the files are checked.

use std::io;
use std::sync::OnceLock;

use launchway_crds::digest::Sha256Digest;

use super::Input;

/// A file whose digest is known, or will be soon.
#[derive(Debug)]
pub(super) struct Hashed<'a> {
    pub input: &'a Input,
    computed: OnceLock<io::Result<Sha256Digest>>,
}

impl Hashed<'_> {
    /// The digest, once it is there.
    pub fn digest(&self) -> io::Result<Sha256Digest> {
        if let Some(known) = self.input.sha256 {
            return Ok(known);
        }
        match self.computed.wait() {
            Ok(digest) => Ok(*digest),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", self.input.name))),
        }
    }
}

/// Runs `work` while the digests that nobody knows yet are computed, one file after the other.
pub(super) fn beside<T>(inputs: &[Input], work: impl FnOnce(&[Hashed<'_>]) -> T) -> io::Result<T> {
    let hashed: Vec<Hashed<'_>> = inputs.iter().map(|input| Hashed { input, computed: OnceLock::new() }).collect();
    let unknown: Vec<&Hashed<'_>> = hashed.iter().filter(|hashed| hashed.input.sha256.is_none()).collect();
    if unknown.is_empty() {
        return Ok(work(&hashed));
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new().name("digests".to_owned()).spawn_scoped(scope, move || {
            for hashed in unknown {
                // Nobody else sets it.
                let _ = hashed.computed.set(hashed.input.blob.digest());
            }
        })?;
        Ok(work(&hashed))
    })
}
