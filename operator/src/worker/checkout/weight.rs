//! How much a folder has.

use std::{fs, path::Path};

/// Bytes of all files below a folder, as far as they can be read; links count as nothing. What is written meanwhile may
/// be missed: it is counted the next time.
pub(super) fn of(folder: &Path) -> u64 {
    let mut waiting = vec![folder.to_path_buf()];
    let mut all = 0_u64;
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            // Of the entry itself, not of what a link points to.
            match entry.metadata() {
                Ok(found) if found.is_dir() => waiting.push(entry.path()),
                Ok(found) if found.is_file() => all = all.saturating_add(found.len()),
                _ => {}
            }
        }
    }
    all
}
