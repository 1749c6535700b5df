//! Where things are.

use std::path::{Path, PathBuf};

use crate::{Failure, Outcome};

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// A file or folder of the repository.
#[must_use]
pub fn of_repository(path: &str) -> PathBuf {
    root().join(path)
}

/// `$LAUNCHWAY_CACHE`, or the usual place: what survives from run to run.
#[must_use]
pub fn cache() -> PathBuf {
    match std::env::var_os("LAUNCHWAY_CACHE").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/launchway"),
    }
}

/// A folder below the cache, made if it is not there.
///
/// # Errors
/// When it cannot be made.
pub fn cache_folder(name: &str) -> Outcome<PathBuf> {
    let folder = cache().join(name);
    std::fs::create_dir_all(&folder).map_err(|error| {
        Failure::new(format!("{} cannot be made: {error}", folder.display()))
            .remedy("set LAUNCHWAY_CACHE to a folder that can be written, with 10 GB of room")
    })?;
    Ok(folder)
}

/// Where cargo puts what it builds.
#[must_use]
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
        Some(target) => PathBuf::from(target),
        None => root().join("target"),
    }
}

/// The release binary of Launchway, and whether it is to be built: `$LAUNCHWAY_BINARY` is used as it is.
#[must_use]
pub fn binary() -> (PathBuf, bool) {
    match std::env::var_os("LAUNCHWAY_BINARY").filter(|value| !value.is_empty()) {
        Some(binary) => (PathBuf::from(binary), false),
        None => (target().join("quick/launchway"), true),
    }
}
