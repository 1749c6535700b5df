//! Local headers: every one must say what the central directory says.

use std::collections::{BTreeMap, BTreeSet};

use rawzip::ReaderAt;
use rawzip::extra_fields::ExtraFieldId;
use unicode_normalization::UnicodeNormalization;

use super::{Archive, Entry, EntryKind, REPACK, RawEntry, refuse};
use crate::image::blob::Hasher;
use crate::image::checks::{Remark, RuleId};
use crate::image::failure::{ImageError, Reason};

const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";

impl Archive {
    /// Local headers in file order: each must say what the directory says, touch its neighbours and overlap none.
    pub(super) fn check_locals(&mut self, mut raw: Vec<RawEntry>, directory: u64) -> Result<(), ImageError> {
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

    /// Names that mean two things are refused. The same file twice means one thing: it is kept once.
    pub(super) fn check_names(&mut self) -> Result<(), ImageError> {
        let mut again: BTreeSet<usize> = BTreeSet::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let Some(first) = seen.insert(&entry.name, at) else { continue };
            let known = &self.entries[first];
            if known.kind != entry.kind {
                let rule = "the name is used as a file and as a folder";
                return Err(self.refusal(Reason::ConflictingEntries, &entry.name, rule, REPACK));
            }
            if entry.kind != EntryKind::Folder && !self.same_content(known, entry)? {
                let rule = "two entries have this name and different content";
                return Err(self.refusal(Reason::DuplicateEntry, &entry.name, rule, REPACK));
            }
            again.insert(at);
        }
        for entry in &self.entries {
            for (at, _) in entry.name.match_indices('/') {
                if seen.get(&entry.name[..at]).is_some_and(|known| self.entries[*known].kind != EntryKind::Folder) {
                    return Err(self.refusal(
                        Reason::ConflictingEntries,
                        &entry.name,
                        format!("`{}` above it is a file or a link", &entry.name[..at]),
                        REPACK,
                    ));
                }
            }
        }
        self.check_look_alikes();
        let twice = |at: &usize| Remark::new(RuleId::DuplicateEntry, "it is there twice").at(&self.entries[*at].name);
        self.remarks.extend(again.iter().map(twice));
        let mut at = 0;
        self.entries.retain(|_| {
            at += 1;
            !again.contains(&(at - 1))
        });
        Ok(())
    }

    fn same_content(&self, a: &Entry, b: &Entry) -> Result<bool, ImageError> {
        if (a.crc, a.size) != (b.crc, b.size) {
            return Ok(false);
        }
        let digest = |entry| {
            let mut hasher = Hasher::new();
            self.copy(entry, &mut hasher).map(|()| hasher.finish())
        };
        Ok(digest(a)? == digest(b)?)
    }

    fn check_look_alikes(&mut self) {
        let mut composed: BTreeMap<String, &str> = BTreeMap::new();
        let mut remarks = Vec::new();
        for entry in self.entries.iter().filter(|entry| !entry.name.is_ascii()) {
            let name: String = entry.name.nfc().collect();
            match composed.get(&name) {
                Some(known) if **known != *entry.name => {
                    remarks.push(Remark::new(RuleId::NormalizedNames, "another entry looks the same").at(&entry.name));
                }
                _ => {
                    composed.insert(name, &entry.name);
                }
            }
        }
        self.remarks.append(&mut remarks);
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
            let Some((word, rest)) = data.split_first_chunk::<8>() else {
                break;
            };
            *value = u64::from_le_bytes(*word);
            data = rest;
        }
        break;
    }
    (sizes[1], sizes[0], zip64)
}
