//! How the commands of a build ended, as their shell wrote it down: `NUMBER CODE` of the one that failed, or `0 0`.

use std::{io::Read, path::Path};

use super::tree;

/// Name of the file.
const FILE: &str = "commands";
const MAX: u64 = 64;

/// The command that failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Which one, from 1 on.
    pub(super) number: usize,
    /// Its text.
    pub(super) command: String,
    /// Its exit code.
    pub(super) code: i32,
}

/// Reads it; none when every command ended well.
///
/// # Errors
/// When it is not there or no such thing: a command took it away, or ended the shell.
pub(super) fn read(folder: &Path, commands: &[String]) -> Result<Option<Failed>, String> {
    let lost = || "a command of the build ended the shell that runs them, or took its record away".to_string();
    let mut text = String::new();
    let file = tree::open(&folder.join(FILE)).map_err(|_| lost())?;
    file.take(MAX).read_to_string(&mut text).map_err(|_| lost())?;
    let (number, code) = text.trim().split_once(' ').ok_or_else(lost)?;
    let (number, code): (usize, i32) = number.parse().ok().zip(code.parse().ok()).ok_or_else(lost)?;
    if number == 0 && code == 0 {
        return Ok(None);
    }
    let command = number.checked_sub(1).and_then(|index| commands.get(index)).ok_or_else(lost)?;
    Ok(Some(Failed { number, command: command.clone(), code }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_failed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let commands = ["true".to_string(), "mvn package".to_string()];
        let write = |text: &str| std::fs::write(folder.path().join(FILE), text).unwrap();
        assert!(read(folder.path(), &commands).is_err());
        write("0 0");
        assert_eq!(read(folder.path(), &commands), Ok(None));
        write("2 1");
        let failed = Failed { number: 2, command: "mvn package".into(), code: 1 };
        assert_eq!(read(folder.path(), &commands), Ok(Some(failed)));
        for bad in ["", "x", "3 1", "0 1", "-1 1"] {
            write(bad);
            assert!(read(folder.path(), &commands).is_err(), "{bad}");
        }
    }
}
