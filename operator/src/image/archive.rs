//! Reads zips as untrusted input.
//!
//! The central directory is the only truth, and an archive in which any other reader could see something else is
//! refused: the runtime that installs the package must see exactly what was checked here.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use rawzip::extra_fields::ExtraFieldId;
use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipFileHeaderRecord, ZipLocator};

use super::blob::{Blob, CHUNK};
use super::failure::{ImageError, Reason, Refusal};
use super::limits::Limits;

const EOCD: &[u8; 4] = b"PK\x05\x06";
const ZIP64_EOCD: &[u8; 4] = b"PK\x06\x06";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
const UNICODE_PATH: ExtraFieldId = ExtraFieldId::new(0x7075);

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
}

/// How names are treated.
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
    pub fn open(blob: Blob, file: &str, limits: &Limits) -> Result<Self, ImageError> {
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
        };
        let raw = this.read_directory(&zip, &mut buffer)?;
        this.check_locals(raw, zip.directory_offset())?;
        this.check_names()?;
        Ok(this)
    }

    fn refusal(&self, reason: Reason, entry: &str, rule: impl Into<String>, remedy: &str) -> ImageError {
        Refusal::new(reason, &self.file, rule, remedy).at(entry).into()
    }

    fn read_directory(&mut self, zip: &ZipArchive<Blob>, buffer: &mut [u8]) -> Result<Vec<RawEntry>, ImageError> {
        let file = self.file.clone();
        let mismatch = |rule: String| refuse(Reason::DirectoryMismatch, &file, rule, REPACK);
        if zip.entries_hint() > self.limits.entries as u64 {
            return Err(refuse(
                Reason::TooManyEntries,
                &self.file,
                format!("{} entries declared, {} allowed", zip.entries_hint(), self.limits.entries),
                "Split the package",
            ));
        }
        let mut raw = Vec::new();
        let mut end = zip.directory_offset();
        let mut name_bytes = 0_usize;
        let mut total = 0_u64;
        let mut records = zip.entries(buffer);
        loop {
            let record = match records.next_entry() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => return Err(mismatch(format!("the central directory is damaged ({error})"))),
            };
            if raw.len() >= self.limits.entries {
                return Err(refuse(
                    Reason::TooManyEntries,
                    &self.file,
                    format!("more than {} entries", self.limits.entries),
                    "Split the package",
                ));
            }
            let name = record.file_path();
            end = record.central_directory_offset()
                + 46
                + name.as_bytes().len() as u64
                + record.extra_fields().remaining_bytes().len() as u64
                + record.comment().as_bytes().len() as u64;
            name_bytes += name.as_bytes().len();
            if name_bytes > self.limits.name_bytes {
                return Err(refuse(
                    Reason::NameTooLong,
                    &self.file,
                    format!("entry names together are longer than {} bytes", self.limits.name_bytes),
                    "Split the package",
                ));
            }
            let entry = self.check_record(&record)?;
            total = total.saturating_add(entry.size);
            if total > self.limits.archive_bytes {
                return Err(refuse(
                    Reason::TooLarge,
                    &self.file,
                    format!("unpacks to more than {} bytes", self.limits.archive_bytes),
                    "Split the package",
                ));
            }
            raw.push(RawEntry {
                header: record.local_header_offset(),
                index: self.entries.len(),
                flags: record.flags().bits(),
                method: record.compression_method().as_u16(),
            });
            self.entries.push(entry);
        }
        if raw.len() as u64 != zip.entries_hint() {
            return Err(mismatch(format!("{} entries declared, {} found", zip.entries_hint(), raw.len())));
        }
        self.check_directory_end(zip, end)?;
        Ok(raw)
    }

    /// The directory must end exactly where the end record (or the zip64 one before it) starts.
    fn check_directory_end(&self, zip: &ZipArchive<Blob>, end: u64) -> Result<(), ImageError> {
        let eocd = zip.eocd_offset();
        let mismatch = |rule: &str| refuse(Reason::DirectoryMismatch, &self.file, rule, REPACK);
        let mut record = [0_u8; 22];
        self.blob.read_exact_at(&mut record, eocd)?;
        if &record[..4] != EOCD {
            return Err(mismatch("the end record is not where the directory says"));
        }
        if record[4..8] != [0, 0, 0, 0] && record[4..8] != [0xff; 4] {
            return Err(mismatch("the archive claims to span several disks"));
        }
        let declared_size = u32::from_le_bytes([record[12], record[13], record[14], record[15]]);
        let declared_offset = u32::from_le_bytes([record[16], record[17], record[18], record[19]]);
        let start = zip.directory_offset();
        let size_agrees = declared_size == u32::MAX || u64::from(declared_size) == end - start;
        if !size_agrees || (declared_offset != u32::MAX && u64::from(declared_offset) != start) {
            return Err(mismatch("the end record declares another place or size of the directory than it has"));
        }
        if end == eocd {
            return Ok(());
        }
        let mut zip64 = [0_u8; 56];
        if end + 76 != eocd || self.blob.read_exact_at(&mut zip64, end).is_err() || &zip64[..4] != ZIP64_EOCD {
            return Err(mismatch("bytes stand between the directory and the end record"));
        }
        let word = |at: usize| zip64[at..at + 8].iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let count = self.entries.len() as u64;
        if word(4) != 44 || word(24) != count || word(32) != count || word(40) != end - start || word(48) != start {
            return Err(mismatch("the zip64 end record contradicts the directory"));
        }
        Ok(())
    }

    fn check_record(&mut self, record: &ZipFileHeaderRecord<'_>) -> Result<Entry, ImageError> {
        let path = record.file_path();
        let bytes = path.as_bytes();
        let Ok(text) = std::str::from_utf8(bytes) else {
            let shown = String::from_utf8_lossy(bytes).into_owned();
            return Err(self.refusal(Reason::NameNotUtf8, &shown, "the name is not UTF-8", "Zip it with UTF-8 names"));
        };
        for (id, data) in record.extra_fields() {
            if id == UNICODE_PATH && data.get(5..) != Some(bytes) {
                return Err(self.refusal(Reason::HeaderMismatch, text, "an extra field states another name", REPACK));
            }
        }
        if record.flags().is_encrypted() || record.flags().has_strong_encryption() || record.flags().is_masked() {
            return Err(self.refusal(
                Reason::EncryptedEntry,
                text,
                "the entry is encrypted",
                "Zip it without a password",
            ));
        }
        let deflated = match record.compression_method() {
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            other => {
                return Err(self.refusal(
                    Reason::UnsupportedMethod,
                    text,
                    format!("compression method {} is not stored (0) or deflate (8)", other.as_u16()),
                    "Zip it with deflate",
                ));
            }
        };
        let name = self.check_name(text)?;
        let folder = text.ends_with('/');
        let unix = matches!(record.version_made_by().as_u16() >> 8, 3 | 19);
        let mode = if unix { record.external_attributes() >> 16 } else { 0 };
        let kind = match (mode & 0o170_000, folder) {
            (0o120_000, false) => EntryKind::Link,
            (0 | 0o040_000, true) => EntryKind::Folder,
            (0 | 0o100_000, false) => EntryKind::File,
            (0o040_000, false) | (0o100_000 | 0o120_000, true) => {
                return Err(self.refusal(
                    Reason::ConflictingEntries,
                    text,
                    "the name says folder and the mode says something else, or the reverse",
                    REPACK,
                ));
            }
            _ => {
                return Err(self.refusal(
                    Reason::SpecialFile,
                    text,
                    format!("mode {mode:o} is neither a file, a folder nor a link"),
                    "Remove it from the package",
                ));
            }
        };
        let (packed, size) = (record.compressed_size_hint(), record.uncompressed_size_hint());
        if kind == EntryKind::Folder && size != 0 {
            return Err(self.refusal(Reason::ConflictingEntries, text, "a folder has content", REPACK));
        }
        if size > self.limits.entry_bytes {
            return Err(self.refusal(
                Reason::TooLarge,
                text,
                format!("{size} bytes unpacked, {} allowed", self.limits.entry_bytes),
                "Deliver large binaries outside of packages",
            ));
        }
        if !deflated && packed != size {
            return Err(self.refusal(Reason::HeaderMismatch, text, "a stored entry has two sizes", REPACK));
        }
        if size > self.limits.ratio_floor && size / packed.max(1) > self.limits.ratio {
            return Err(self.bomb(text));
        }
        Ok(Entry { name, kind, size, packed, data_start: 0, crc: record.crc32(), deflated })
    }

    fn bomb(&self, entry: &str) -> ImageError {
        self.refusal(
            Reason::CompressionBomb,
            entry,
            format!("it unpacks to more than {} times its packed size", self.limits.ratio),
            "Remove the file or store it differently",
        )
    }

    fn check_name(&mut self, text: &str) -> Result<Box<str>, ImageError> {
        let unsafe_path = |this: &Self, rule: &str| this.refusal(Reason::UnsafePath, text, rule, REPACK);
        if text.len() > self.limits.name_total {
            let rule = format!("the name is longer than {} bytes", self.limits.name_total);
            return Err(self.refusal(Reason::NameTooLong, text, rule, "Shorten the path"));
        }
        if text.chars().any(|c| c.is_control()) {
            return Err(unsafe_path(self, "the name has a control character"));
        }
        if text.contains('\\') {
            self.backslashes = true;
        }
        let trimmed = text.strip_suffix('/').unwrap_or(text);
        if trimmed.is_empty() {
            return Err(unsafe_path(self, "the name is empty"));
        }
        if trimmed.starts_with('/') {
            return Err(unsafe_path(self, "the name is absolute"));
        }
        let bytes = trimmed.as_bytes();
        if bytes.len() >= 2
            && bytes[0].is_ascii_alphabetic()
            && bytes[1] == b':'
            && matches!(bytes.get(2), None | Some(b'/' | b'\\'))
        {
            return Err(unsafe_path(self, "the name starts with a drive letter"));
        }
        let mut depth = 0;
        for part in trimmed.split(['/', '\\']) {
            depth += 1;
            match part {
                "" => return Err(unsafe_path(self, "the name has an empty part")),
                "." | ".." => return Err(unsafe_path(self, "the name has a `.` or `..` part")),
                _ => {}
            }
            if part.starts_with(".wh.") {
                return Err(self.refusal(
                    Reason::WhiteoutName,
                    text,
                    "names that start with .wh. delete files when they are in an image layer",
                    "Rename the file",
                ));
            }
            if part.len() > self.limits.name_component {
                let rule = format!("a part of the name is longer than {} bytes", self.limits.name_component);
                return Err(self.refusal(Reason::NameTooLong, text, rule, "Shorten the path"));
            }
        }
        if depth > self.limits.depth {
            let rule = format!("the name has more than {} parts", self.limits.depth);
            return Err(self.refusal(Reason::NameTooLong, text, rule, "Flatten the path"));
        }
        Ok(trimmed.into())
    }

    /// Local headers in file order: each must say what the directory says, touch its neighbours and overlap none.
    fn check_locals(&mut self, mut raw: Vec<RawEntry>, directory: u64) -> Result<(), ImageError> {
        raw.sort_by_key(|entry| entry.header);
        let mut position = 0_u64;
        for item in &raw {
            let name = self.entries[item.index].name.clone();
            if item.header < position {
                return Err(self.refusal(
                    Reason::OverlappingEntries,
                    &name,
                    "the entry shares bytes with another entry",
                    REPACK,
                ));
            }
            if item.header > position {
                let (reason, rule) = if position == 0 {
                    (Reason::LeadingData, "bytes stand before the first entry, so readers disagree about the file")
                } else {
                    (Reason::HiddenData, "bytes stand before this entry that the directory does not name")
                };
                return Err(self.refusal(reason, &name, rule, REPACK));
            }
            position = self.check_local(*item, directory)?;
        }
        if position != directory {
            return Err(refuse(
                if raw.is_empty() { Reason::LeadingData } else { Reason::HiddenData },
                &self.file,
                "bytes stand before the central directory that it does not name",
                REPACK,
            ));
        }
        Ok(())
    }

    fn check_local(&mut self, item: RawEntry, directory: u64) -> Result<u64, ImageError> {
        let entry = self.entries[item.index].clone();
        let mismatch = |this: &Self, rule: &str| this.refusal(Reason::HeaderMismatch, &entry.name, rule, REPACK);
        let mut header = [0_u8; 30];
        if item.header + 30 > directory || self.blob.read_exact_at(&mut header, item.header).is_err() {
            return Err(mismatch(self, "its local header lies outside of the file's entries"));
        }
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if &header[..4] != b"PK\x03\x04" {
            return Err(mismatch(self, "there is no local header where the directory points"));
        }
        // Bits 1 and 2 only say how hard the compressor tried.
        if (short(6) ^ item.flags) & !0b110 != 0 || short(8) != item.method {
            return Err(mismatch(self, "flags or compression method differ between local header and directory"));
        }
        let (name_len, extra_len) = (usize::from(short(26)), usize::from(short(28)));
        let mut rest = vec![0_u8; name_len + extra_len];
        if self.blob.read_exact_at(&mut rest, item.header + 30).is_err() {
            return Err(mismatch(self, "its local header is cut off"));
        }
        let (name, extra) = rest.split_at(name_len);
        let folder = entry.kind == EntryKind::Folder;
        if name.strip_suffix(if folder { &b"/"[..] } else { &b""[..] }) != Some(entry.name.as_bytes()) {
            return Err(mismatch(self, "the local header has another name"));
        }
        let data_start = item.header + 30 + rest.len() as u64;
        let Some(data_end) = data_start.checked_add(entry.packed).filter(|end| *end <= directory) else {
            return Err(mismatch(self, "its content would run into the directory"));
        };
        let described = item.flags & 8 != 0;
        let (packed, size, zip64) = local_sizes(long(18), long(22), extra);
        let agrees = |value: u64, truth: u64| value == truth || (described && value == 0);
        let crc_agrees = long(14) == entry.crc || (described && long(14) == 0);
        if !agrees(packed, entry.packed) || !agrees(size, entry.size) || !crc_agrees {
            return Err(mismatch(self, "size or checksum differ between local header and directory"));
        }
        self.entries[item.index].data_start = data_start;
        if !described {
            return Ok(data_end);
        }
        self.check_descriptor(&entry, data_end, directory, zip64)
    }

    fn check_descriptor(&self, entry: &Entry, at: u64, directory: u64, zip64: bool) -> Result<u64, ImageError> {
        let mut bytes = [0_u8; 24];
        let available = usize::try_from(directory - at).unwrap_or(usize::MAX).min(bytes.len());
        self.blob.read_exact_at(&mut bytes[..available], at)?;
        let signed = bytes.starts_with(DESCRIPTOR);
        let body = if signed { 4 } else { 0 };
        let wide_first = zip64 || entry.size > u64::from(u32::MAX) || entry.packed > u64::from(u32::MAX);
        for wide in [wide_first, !wide_first] {
            let length = body + if wide { 20 } else { 12 };
            let mut expected = Vec::with_capacity(24);
            expected.extend_from_slice(&bytes[..body]);
            expected.extend_from_slice(&entry.crc.to_le_bytes());
            for value in [entry.packed, entry.size] {
                if wide {
                    expected.extend_from_slice(&value.to_le_bytes());
                } else {
                    expected.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
                }
            }
            if length <= available && bytes[..length] == expected[..] {
                return Ok(at + length as u64);
            }
        }
        Err(self.refusal(
            Reason::HeaderMismatch,
            &entry.name,
            "the record behind its content contradicts the directory",
            REPACK,
        ))
    }

    fn check_names(&self) -> Result<(), ImageError> {
        let mut seen: BTreeMap<&str, EntryKind> = BTreeMap::new();
        for entry in &self.entries {
            if let Some(kind) = seen.insert(&entry.name, entry.kind) {
                let (reason, rule) = if kind == entry.kind {
                    (Reason::DuplicateEntry, "two entries have this name")
                } else {
                    (Reason::ConflictingEntries, "the name is used as a file and as a folder")
                };
                return Err(self.refusal(reason, &entry.name, rule, REPACK));
            }
        }
        for entry in &self.entries {
            for (at, _) in entry.name.match_indices('/') {
                if seen.get(&entry.name[..at]).is_some_and(|kind| *kind != EntryKind::Folder) {
                    return Err(self.refusal(
                        Reason::ConflictingEntries,
                        &entry.name,
                        format!("`{}` above it is a file or a link", &entry.name[..at]),
                        REPACK,
                    ));
                }
            }
        }
        Ok(())
    }

    /// The file's name, as in messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
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
        let mut counted = io::BufReader::with_capacity(CHUNK / 2, packed.reader());
        let mut crc = crc32fast::Hasher::new();
        let mut written = 0_u64;
        let mut buffer = vec![0_u8; CHUNK / 2];
        let mut inflate = entry.deflated.then(|| flate2::bufread::DeflateDecoder::new(&mut counted));
        let mut plain = (!entry.deflated).then(|| packed.reader());
        loop {
            let read = match (&mut inflate, &mut plain) {
                (Some(reader), _) => {
                    reader.read(&mut buffer).map_err(|error| corrupt(format!("it cannot be unpacked ({error})")))?
                }
                (None, Some(reader)) => reader.read(&mut buffer)?,
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

fn local_sizes(packed: u32, size: u32, extra: &[u8]) -> (u64, u64, bool) {
    let mut sizes = [u64::from(size), u64::from(packed)];
    let sentinels = [size == u32::MAX, packed == u32::MAX];
    let mut zip64 = false;
    for (id, mut data) in rawzip::extra_fields::ExtraFields::new(extra) {
        if id != ExtraFieldId::ZIP64 {
            continue;
        }
        zip64 = true;
        for (value, sentinel) in sizes.iter_mut().zip(sentinels) {
            if !sentinel {
                continue;
            }
            let Some((word, rest)) = data.split_first_chunk::<8>() else { break };
            *value = u64::from_le_bytes(*word);
            data = rest;
        }
        break;
    }
    (sizes[1], sizes[0], zip64)
}

#[cfg(test)]
mod tests;
