//! Reads zips as untrusted input.
//!
//! The central directory is the only truth, and an archive in which any other reader could see something else is
//! refused: the runtime that installs the package must see exactly what was checked here.

mod directory;
mod locals;

use std::cell::Cell;
use std::io::{self, Read, Write};

use rawzip::ZipLocator;

use super::blob::{Blob, CHUNK};
use super::checks::{Remark, RuleId};
use super::failure::{ImageError, Reason, Refusal};
use super::limits::Limits;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link; its content is the target.
    Link,
}

/// One checked entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Name with `/` between components, without a trailing one.
    pub name: Box<str>,
    /// What it is.
    pub kind: EntryKind,
    /// Unpacked size, as declared by both headers.
    pub size: u64,
    packed: u64,
    data_start: u64,
    crc: u32,
    deflated: bool,
}

/// A zip whose structure has been checked completely; contents are checked as they are read.
#[derive(Debug)]
pub struct Archive {
    file: String,
    blob: Blob,
    entries: Vec<Entry>,
    limits: Limits,
    backslashes: bool,
    zip64: bool,
    remarks: Vec<Remark>,
}

/// Where an entry is, as the directory says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RawEntry {
    header: u64,
    index: usize,
    flags: u16,
    method: u16,
}

fn refuse(reason: Reason, file: &str, rule: impl Into<String>, remedy: &str) -> ImageError {
    Refusal::new(reason, file, rule, remedy).into()
}

const REPACK: &str = "Build the package again with its Maven plugin; do not post-process the zip";

impl Archive {
    /// Checks the structure of a zip.
    ///
    /// # Errors
    /// A refusal that names the entry and the rule, or an I/O error of the spool.
    pub fn open(blob: &Blob, file: &str, limits: &Limits) -> Result<Self, ImageError> {
        if blob.is_empty() {
            return Err(refuse(
                Reason::EmptyFile,
                file,
                "the file has no bytes",
                "Build it again; an interrupted build or copy leaves such files",
            ));
        }
        let mut buffer = vec![0_u8; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE.max(rawzip::RECOMMENDED_BUFFER_SIZE)];
        let not_a_zip = |detail: String| {
            refuse(
                Reason::NotAZip,
                file,
                format!("no readable zip directory ({detail})"),
                "Build the package again, and check that the copy was complete",
            )
        };
        let zip = ZipLocator::new()
            .max_search_space(66 << 10)
            .locate_in_reader(blob.clone(), &mut buffer, blob.len())
            .map_err(|(_, error)| not_a_zip(error.to_string()))?;
        if zip.end_offset() != blob.len() {
            return Err(refuse(
                Reason::TrailingData,
                file,
                format!("{} bytes follow the end record", blob.len().saturating_sub(zip.end_offset())),
                REPACK,
            ));
        }
        let mut this = Self {
            file: file.to_owned(),
            blob: blob.clone(),
            entries: Vec::new(),
            limits: *limits,
            backslashes: false,
            zip64: false,
            remarks: Vec::new(),
        };
        let raw = this.read_directory(&zip, &mut buffer)?;
        this.check_locals(raw, zip.directory_offset())?;
        this.check_names()?;
        if this.zip64 {
            this.remarks.push(Remark::new(RuleId::Zip64, "it is a zip64 archive"));
        }
        Ok(this)
    }

    fn refusal(&self, reason: Reason, entry: &str, rule: impl Into<String>, remedy: &str) -> ImageError {
        Refusal::new(reason, &self.file, rule, remedy).at(entry).into()
    }

    fn bomb(&self, entry: &str) -> ImageError {
        self.refusal(
            Reason::CompressionBomb,
            entry,
            format!("it unpacks to more than {} times its packed size", self.limits.ratio),
            "Remove the file or store it differently",
        )
    }

    /// The file's name, as in messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is odd about the archive without being a reason to refuse it.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Unpacked bytes of all entries.
    #[must_use]
    pub fn unpacked(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }

    /// Entries in directory order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether any name has a backslash.
    #[must_use]
    pub const fn has_backslashes(&self) -> bool {
        self.backslashes
    }

    /// Whether every separator is a backslash, as some Windows zip tools write.
    #[must_use]
    pub fn is_backslash_zip(&self) -> bool {
        self.backslashes && !self.entries.iter().any(|entry| entry.name.contains('/'))
    }

    /// Whether an entry has exactly this name, or lies below it.
    #[must_use]
    pub fn has_prefix(&self, folder: &str) -> bool {
        self.entries.iter().any(|entry| {
            entry.name.strip_prefix(folder).is_some_and(|rest| {
                rest.starts_with(['/', '\\']) || (rest.is_empty() && entry.kind == EntryKind::Folder)
            })
        })
    }

    /// The entry of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| &*entry.name == name)
    }

    /// Unpacks one entry, checking size, ratio and checksum as the bytes come.
    ///
    /// # Errors
    /// A refusal when the content is not what was declared, or the writer's error.
    pub fn copy(&self, entry: &Entry, out: &mut dyn Write) -> Result<(), ImageError> {
        let packed = self.blob.slice(entry.data_start..entry.data_start + entry.packed);
        let corrupt = |rule: String| {
            self.refusal(
                Reason::CorruptEntry,
                &entry.name,
                rule,
                "Build the package again, and check that the copy was complete",
            )
        };
        let mut crc = crc32fast::Hasher::new();
        let mut written = 0_u64;
        let mut buffer = Buffer::take();
        let buffer = buffer.0.as_mut_slice();
        let mut inflate = entry.deflated.then(|| {
            let most = usize::try_from(entry.packed).unwrap_or(CHUNK).clamp(1, CHUNK / 2);
            flate2::bufread::DeflateDecoder::new(io::BufReader::with_capacity(most, packed.reader()))
        });
        let mut plain = (!entry.deflated).then(|| packed.reader());
        loop {
            let read = match (&mut inflate, &mut plain) {
                (Some(reader), _) => {
                    reader.read(buffer).map_err(|error| corrupt(format!("it cannot be unpacked ({error})")))?
                }
                (None, Some(reader)) => reader.read(buffer)?,
                (None, None) => 0,
            };
            if read == 0 {
                break;
            }
            written += read as u64;
            if written > entry.size {
                return Err(corrupt(format!("it unpacks to more than the declared {} bytes", entry.size)));
            }
            if written > self.limits.ratio_floor && written / entry.packed.max(1) > self.limits.ratio {
                return Err(self.bomb(&entry.name));
            }
            crc.update(&buffer[..read]);
            out.write_all(&buffer[..read])?;
        }
        if let Some(decoder) = &inflate
            && decoder.total_in() != entry.packed
        {
            return Err(corrupt("bytes follow its compressed content".to_owned()));
        }
        if written != entry.size {
            return Err(corrupt(format!("it unpacks to {written} bytes and {} are declared", entry.size)));
        }
        if crc.finalize() != entry.crc {
            return Err(corrupt("its checksum is wrong".to_owned()));
        }
        Ok(())
    }

    /// Unpacks a small entry into memory.
    ///
    /// # Errors
    /// As [`Self::copy`], and when the entry is larger than `limit`.
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Vec<u8>, ImageError> {
        if entry.size > limit {
            let rule = format!("{} bytes, {limit} allowed", entry.size);
            return Err(self.refusal(Reason::TooLarge, &entry.name, rule, "Make it smaller"));
        }
        let mut out = Vec::with_capacity(usize::try_from(entry.size).unwrap_or(0));
        self.copy(entry, &mut out)?;
        Ok(out)
    }

    /// The bytes of a stored entry without unpacking; `None` when it is compressed. The checksum is not checked here.
    #[must_use]
    pub fn stored(&self, entry: &Entry) -> Option<Blob> {
        (!entry.deflated).then(|| self.blob.slice(entry.data_start..entry.data_start + entry.packed))
    }
}

thread_local! {
    /// What entries are unpacked through: packages have thousands, and clearing a buffer costs more than most of them.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The buffer of this thread; another one while it is taken.
struct Buffer(Vec<u8>);

impl Buffer {
    fn take() -> Self {
        let mut buffer = BUFFER.take();
        buffer.resize(CHUNK / 2, 0);
        Self(buffer)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        BUFFER.set(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests;
