//! Zips on this machine as inputs of a build: what `inspect` and local builds plan with.

use std::path::{Path, PathBuf};

use crate::artifact::{PushError, find_zips};
use crate::image::Blob;
use crate::image::plan::Input;

/// Zips that were found, and why some cannot be read. One that cannot be read does not hide the others.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Readable files, in the order of their paths.
    pub files: Vec<Input>,
    /// One message for each file that cannot be read.
    pub unreadable: Vec<String>,
}

/// Opens the zips that paths name: zips, folders with zips, or project folders. Contents stay on disk.
///
/// # Errors
/// When a path does not exist or names no zip.
pub fn local(paths: &[PathBuf]) -> Result<Inputs, PushError> {
    let mut out = Inputs::default();
    for path in find_zips(paths)? {
        match open(&path) {
            Ok(input) => out.files.push(input),
            Err(error) => out.unreadable.push(format!("{} cannot be read: {error}", path.display())),
        }
    }
    Ok(out)
}

fn open(path: &Path) -> std::io::Result<Input> {
    let blob = Blob::from_file(std::fs::File::open(path)?)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Input { name, sha256: None, blob })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.zip"), "x").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("b.zip")).unwrap();
        let inputs = local(&[folder.path().to_owned()]).unwrap();
        assert_eq!(inputs.files.len(), 1);
        assert!(local(&[folder.path().join("none")]).is_err());
    }
}
