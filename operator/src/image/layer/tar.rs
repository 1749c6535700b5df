//! The tar of a layer: ustar headers, PAX records only for names that do not fit.

use std::io::{self, Read};

use super::{Content, Layer, LayerEntry};
use crate::image::blob::BlobReader;

/// The unit of a tar.
const BLOCK: usize = 512;

/// Size of the tar of these entries.
pub(super) fn size(entries: &[LayerEntry]) -> u64 {
    let end = 2 * BLOCK as u64;
    entries.iter().fold(end, |size, entry| {
        let content = match &entry.content {
            Content::File(blob, _) => blob.len().next_multiple_of(BLOCK as u64),
            Content::Folder | Content::Link(_) => 0,
        };
        size + header(entry).len() as u64 + content
    })
}

fn octal(field: &mut [u8], value: u64) {
    let digits = format!("{value:0width$o}", width = field.len() - 1);
    field[..digits.len()].copy_from_slice(digits.as_bytes());
}

fn ustar(name: &[u8], prefix: &[u8], link: &[u8], kind: u8, mode: u32, size: u64, mtime: u64) -> [u8; BLOCK] {
    let mut block = [0_u8; BLOCK];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], u64::from(mode));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], mtime);
    block[148..156].copy_from_slice(b"        ");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], 0);
    octal(&mut block[337..345], 0);
    block[345..345 + prefix.len()].copy_from_slice(prefix);
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    block[155] = b' ';
    block
}

fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// Splits a path for ustar: name up to 100 bytes, prefix up to 155.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((path, b""));
    }
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let at = (0..trimmed.len()).rev().find(|at| trimmed[*at] == b'/' && *at <= 155)?;
    let name = &path[at + 1..];
    (!name.is_empty() && name.len() <= 100).then_some((name, &path[..at]))
}

fn header(entry: &LayerEntry) -> Vec<u8> {
    let (kind, mode, size, link) = match &entry.content {
        Content::Folder => (b'5', 0o755, 0, ""),
        Content::File(blob, mode) => (b'0', *mode, blob.len(), ""),
        Content::Link(target) => (b'2', 0o777, 0, target.as_str()),
    };
    let path = if kind == b'5' { format!("{}/", entry.path) } else { entry.path.clone() };
    let mut records = String::new();
    let (name, prefix) = split(path.as_bytes()).unwrap_or_else(|| {
        records.push_str(&pax_record("path", &path));
        (&path.as_bytes()[..100], b"")
    });
    let mut short_link = link.as_bytes();
    if short_link.len() > 100 {
        records.push_str(&pax_record("linkpath", link));
        short_link = &short_link[..100];
    }
    let mut out = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        out.extend_from_slice(&ustar(b"PaxHeaders/entry", b"", b"", b'x', 0o644, records.len() as u64, entry.mtime));
        out.extend_from_slice(records.as_bytes());
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.extend_from_slice(&ustar(name, prefix, short_link, kind, mode, size, entry.mtime));
    out
}

/// The bytes of a tar.
#[derive(Debug)]
pub(super) struct TarReader {
    layer: Layer,
    next: usize,
    pending: Vec<u8>,
    at: usize,
    content: Option<(BlobReader, u64)>,
    padding: usize,
    finished: bool,
}

impl TarReader {
    pub(super) fn new(layer: Layer) -> Self {
        Self { layer, next: 0, pending: Vec::new(), at: 0, content: None, padding: 0, finished: false }
    }
}

impl Read for TarReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.at < self.pending.len() {
                let count = buf.len().min(self.pending.len() - self.at);
                buf[..count].copy_from_slice(&self.pending[self.at..self.at + count]);
                self.at += count;
                return Ok(count);
            }
            if let Some((reader, left)) = &mut self.content {
                if *left > 0 {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                    let count = reader.read(&mut buf[..wanted])?;
                    if count == 0 && wanted > 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file of the layer became shorter"));
                    }
                    *left -= count as u64;
                    return Ok(count);
                }
                self.content = None;
                self.pending = vec![0; self.padding];
                self.at = 0;
                continue;
            }
            let Some(entry) = self.layer.entries.get(self.next) else {
                if self.finished {
                    return Ok(0);
                }
                self.finished = true;
                self.pending = vec![0; 2 * BLOCK];
                self.at = 0;
                continue;
            };
            self.next += 1;
            self.pending = header(entry);
            self.at = 0;
            if let Content::File(blob, _) = &entry.content {
                self.padding = usize::try_from(blob.len().next_multiple_of(BLOCK as u64) - blob.len()).unwrap_or(0);
                self.content = Some((blob.reader(), blob.len()));
            }
        }
    }
}
