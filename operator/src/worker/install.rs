//! Copies this program to where containers of other images find it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::ExitCode};

use launchway_crds::conditions::reasons;

use super::{
    frame,
    verdict::{Reason, Verdict},
};

/// Where the folder to copy to is said.
pub const FOLDER: &str = "LAUNCHWAY_INSTALL";

/// Copies the program.
pub async fn run() -> ExitCode {
    let folder = frame::text(FOLDER);
    match copy(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let why = format!("the program cannot be copied to {folder}: {error}");
            Verdict::<()>::Error(Reason::new(reasons::JOB_FAILED, &why)).conclude()
        }
    }
}

fn copy(folder: &Path) -> std::io::Result<()> {
    let target = folder.join("launchway");
    fs::copy(std::env::current_exe()?, &target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))
}
