//! Whose turn it is on this machine's cluster, kept by locks of files: they go with the process that holds them.

use std::{
    fs::{File, TryLockError},
    io::Write,
    time::{Duration, Instant},
};

use crate::{Failure, Outcome, paths};

/// The longest wait for a turn.
const LIMIT: Duration = Duration::from_secs(3600);

/// Who else may work on the cluster meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody: it stops the operator, takes a policy away, or measures what load would change.
    Alone,
    /// Others that say the same: it looks at its own namespaces only.
    Shared,
}

/// Waits for a turn; it ends when the file that this returns is closed.
///
/// # Errors
/// When the file cannot be written, or those that work do not end within an hour.
pub fn turn(name: &str, wanted: Turn) -> Outcome<File> {
    let mut file = locked("scenario.lock", name, wanted, "the scenarios that run to end")?;
    // Whoever was alone before is there no more.
    let mut written = file.set_len(0);
    if wanted == Turn::Alone {
        written = written.and_then(|()| writeln!(file, "{name} (pid {})", std::process::id()));
    }
    written.map_err(|error| Failure::new(format!("the lock of the scenarios cannot be written: {error}")))?;
    Ok(file)
}

/// Waits until nobody else brings images and operator up to date; as [`turn`].
///
/// # Errors
/// As [`turn`].
pub fn set_up(name: &str) -> Outcome<File> {
    locked("set-up.lock", name, Turn::Alone, "another scenario to be set up")
}

fn locked(lock: &str, name: &str, wanted: Turn, what: &str) -> Outcome<File> {
    let path = paths::cache_folder("e2e")?.join(lock);
    let said = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| said(&error))?;
    let until = Instant::now() + LIMIT;
    let mut told = None;
    loop {
        let tried = if wanted == Turn::Alone { file.try_lock() } else { file.try_lock_shared() };
        match tried {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(said(&error)),
        }
        let alone = std::fs::read_to_string(&path).unwrap_or_default();
        let awaited = if alone.is_empty() { what.to_string() } else { format!("{} to end", alone.trim_end()) };
        if told.as_ref() != Some(&awaited) {
            println!("{name}: waits for {awaited}");
            told = Some(awaited);
        }
        if Instant::now() >= until {
            return Err(said(&format!("what has it did not end within {} s", LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
