//! The cache of a pipeline: kept until somebody asks for an empty one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Name of the file that says with which request the cache was made.
const EPOCH: &str = ".launchway-epoch";

/// A cache and what was last asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cache {
    /// The volume.
    pub folder: PathBuf,
    /// What was last asked of it; another value than the one that it was made with empties it.
    pub epoch: String,
    /// Folders in it.
    pub parts: Vec<String>,
}

impl Cache {
    /// Empties the cache if that was asked for, and makes its folders. Says what was done.
    pub(super) fn prepare(&self) -> io::Result<&'static str> {
        let mark = self.folder.join(EPOCH);
        let known = match fs::read_to_string(&mark) {
            Ok(known) => Some(known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let kept = known.as_deref() == Some(self.epoch.as_str());
        if !kept {
            for part in &self.parts {
                remove(&self.folder.join(part))?;
            }
        }
        for part in &self.parts {
            fs::create_dir_all(self.folder.join(part))?;
        }
        // Written last: a cache that was emptied by half is emptied again.
        fs::write(&mark, &self.epoch)?;
        Ok(match (kept, known) {
            (true, _) => "kept from the last build",
            (false, Some(_)) => "emptied, as was asked for",
            (false, None) => "new",
        })
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_kept_until_another_one_is_asked_for() {
        let volume = tempfile::tempdir().unwrap();
        let cache = |epoch: &str| Cache {
            folder: volume.path().to_path_buf(),
            epoch: epoch.into(),
            parts: vec!["maven".into(), "npm".into()],
        };
        let file = volume.path().join("maven/a.jar");
        assert_eq!(cache("").prepare().unwrap(), "new");
        fs::write(&file, "x").unwrap();
        assert_eq!(cache("").prepare().unwrap(), "kept from the last build");
        assert!(file.exists());
        assert_eq!(cache("2026-11-27").prepare().unwrap(), "emptied, as was asked for");
        assert!(!file.exists() && volume.path().join("npm").is_dir());
        assert_eq!(cache("2026-11-27").prepare().unwrap(), "kept from the last build");
    }
}
