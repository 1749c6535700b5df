//! The central directory: the only truth about an archive.

use rawzip::extra_fields::ExtraFieldId;
use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipFileHeaderRecord};

use super::{Archive, Entry, EntryKind, REPACK, RawEntry, refuse};
use crate::image::blob::Blob;
use crate::image::failure::{ImageError, Reason};

const EOCD: &[u8; 4] = b"PK\x05\x06";
const ZIP64_EOCD: &[u8; 4] = b"PK\x06\x06";
const UNICODE_PATH: ExtraFieldId = ExtraFieldId::new(0x7075);

impl Archive {
    pub(super) fn read_directory(
        &mut self,
        zip: &ZipArchive<Blob>,
        buffer: &mut [u8],
    ) -> Result<Vec<RawEntry>, ImageError> {
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
                Err(error) => {
                    return Err(mismatch(format!("the central directory is damaged ({error})")));
                }
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
    fn check_directory_end(&mut self, zip: &ZipArchive<Blob>, end: u64) -> Result<(), ImageError> {
        let eocd = zip.eocd_offset();
        let file = self.file.clone();
        let mismatch = |rule: &str| refuse(Reason::DirectoryMismatch, &file, rule, REPACK);
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
        // Behind that record stands the one that says where it is, and on which of how many disks.
        let mut locator = [0_u8; 20];
        self.blob.read_exact_at(&mut locator, end + 56)?;
        if &locator[..8] != b"PK\x06\x07\0\0\0\0" || locator[16..] != [1, 0, 0, 0] || zip64[16..24] != [0; 8] {
            return Err(mismatch("the archive claims to span several disks"));
        }
        let word = |at: usize| zip64[at..at + 8].iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        let count = self.entries.len() as u64;
        if word(4) != 44 || word(24) != count || word(32) != count || word(40) != end - start || word(48) != start {
            return Err(mismatch("the zip64 end record contradicts the directory"));
        }
        self.zip64 = true;
        Ok(())
    }

    fn check_record(&mut self, record: &ZipFileHeaderRecord<'_>) -> Result<Entry, ImageError> {
        let path = record.file_path();
        let bytes = path.as_bytes();
        let Ok(text) = std::str::from_utf8(bytes) else {
            let shown = String::from_utf8_lossy(bytes).into_owned();
            let rule =
                format!("the name, at byte {} of the file, is not UTF-8", record.central_directory_offset() + 46);
            return Err(self.refusal(Reason::NameNotUtf8, &shown, rule, "Zip it with UTF-8 names"));
        };
        for (id, data) in record.extra_fields() {
            self.zip64 |= id == ExtraFieldId::ZIP64;
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
        // Some writers fill the attributes with ones. Only types that exist count; else the name decides.
        let known = matches!(mode >> 12, 0o1 | 0o2 | 0o4 | 0o6 | 0o10 | 0o12 | 0o14);
        let mode = if known { mode } else { 0 };
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
}
