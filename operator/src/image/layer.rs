//! Image layers, format `aem-layer/1`.
//!
//! A layer is a tar inside a gzip that only has *stored* blocks: its bytes depend on no compressor and no library
//! version, packages (which are compressed already) are not compressed again, and tools that copy images do not
//! rewrite it. A layer is described first and generated again when its bytes are needed, so none is ever held in memory.
//!
//! Fixed for ever under this name: ustar headers (PAX records only for names that do not fit), entries sorted by their
//! bytes, owner 0:0 without names, folders 0755, packages 0444, other files 0644, links 0777, and a modification time
//! that for packages depends on their content, because the runtime takes the time for a change mark.

use std::io::{self, Read};
use std::sync::mpsc::{SyncSender, sync_channel};

use launchway_crds::digest::Sha256Digest;

use super::blob::{Blob, BlobReader, Hasher};

/// Name and version of the layer format.
pub const FORMAT: &str = "aem-layer/1";

/// 1980-01-01T00:00:01Z: the earliest time that every zip and file system can hold.
pub const EPOCH: u64 = 315_532_801;

const BLOCK: usize = 512;
const STORED: usize = 65_535;
/// From this size on a layer's two digests are computed side by side.
const TWO_THREADS: u64 = 1 << 20;
/// Blocks that one thread may be ahead of the other.
const AHEAD: usize = 8;

/// A modification time that changes whenever the content changes.
#[must_use]
pub fn content_time(digest: &Sha256Digest) -> u64 {
    let bytes = digest.as_bytes();
    let head = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    EPOCH + u64::from(head) % 1_300_000_000
}

/// What a path in a layer is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A folder.
    Folder,
    /// A file with its permission bits.
    File(Blob, u32),
    /// A symbolic link to this target.
    Link(String),
}

/// One path of a layer.
#[derive(Debug, Clone)]
pub struct LayerEntry {
    /// Path without a leading `/`.
    pub path: String,
    /// What it is.
    pub content: Content,
    /// Modification time in seconds.
    pub mtime: u64,
}

/// Digests and size of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Digest of the tar.
    pub diff_id: Sha256Digest,
    /// Digest of the gzip, the blob's name in a registry.
    pub digest: Sha256Digest,
    /// Size of the gzip.
    pub size: u64,
}

/// A layer that can be generated any number of times.
#[derive(Debug, Clone)]
pub struct Layer {
    entries: Vec<LayerEntry>,
    tar_size: u64,
}

impl Layer {
    /// Sorts and checks the entries.
    ///
    /// # Errors
    /// When a path occurs twice, is not relative, or means deletion in a layer.
    pub fn new(mut entries: Vec<LayerEntry>) -> Result<Self, String> {
        entries.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        for entry in &entries {
            let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.starts_with(".wh.");
            if entry.path.split('/').any(bad) || entry.path.contains('\0') {
                return Err(format!("`{}` cannot be a path in a layer", entry.path.escape_debug()));
            }
        }
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(format!("`{}` occurs twice in one layer", pair[0].path));
        }
        let mut tar_size = 2 * BLOCK as u64;
        for entry in &entries {
            tar_size += header(entry).len() as u64;
            if let Content::File(blob, _) = &entry.content {
                tar_size += blob.len().next_multiple_of(BLOCK as u64);
            }
        }
        Ok(Self { entries, tar_size })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Size of the blob.
    #[must_use]
    pub const fn size(&self) -> u64 {
        10 + self.tar_size + 5 * self.tar_size.div_ceil(STORED as u64) + 8
    }

    /// First pass: digests and size, without keeping any bytes. Large layers are hashed by two threads, one for the tar
    /// and one for the gzip around it: hashing is what describing costs.
    ///
    /// # Errors
    /// When content cannot be read, or there is no thread to be had.
    pub fn describe(&self) -> io::Result<Described> {
        if self.tar_size < TWO_THREADS {
            let mut reader = self.describing_reader();
            io::copy(&mut io::BufReader::with_capacity(STORED + 64, &mut reader), &mut io::sink())?;
            return Ok(reader.finish());
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Vec<u8>>(AHEAD);
            let beside = std::thread::Builder::new().name("diff-id".to_owned()).spawn_scoped(scope, move || {
                let mut hasher = Hasher::new();
                for block in receiver {
                    hasher.update(&block);
                }
                hasher.finish()
            })?;
            let mut reader = self.reader();
            reader.beside = Some(sender);
            let mut hasher = Hasher::new();
            let size = io::copy(&mut io::BufReader::with_capacity(STORED + 64, &mut reader), &mut hasher);
            // Without a sender the other thread comes to its end.
            drop(reader);
            let diff_id = beside.join().map_err(|_| io::Error::other("hashing a layer failed"))?;
            Ok(Described { diff_id, digest: hasher.finish(), size: size? })
        })
    }

    /// The bytes of the blob, and at their end what [`Self::describe`] says of them: one pass instead of two.
    #[must_use]
    pub fn describing_reader(&self) -> DescribingReader {
        let mut reader = self.reader();
        reader.diff_id = Some(Hasher::new());
        DescribingReader { reader, blob: Hasher::new(), size: 0 }
    }

    /// Second pass: the bytes of the blob.
    #[must_use]
    pub fn reader(&self) -> LayerReader {
        LayerReader {
            tar: TarReader {
                layer: self.clone(),
                next: 0,
                pending: Vec::new(),
                at: 0,
                content: None,
                padding: 0,
                finished: false,
            },
            left: self.tar_size,
            crc: crc32fast::Hasher::new(),
            out: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
            at: 0,
            done: false,
            diff_id: None,
            beside: None,
        }
    }
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

#[derive(Debug)]
struct TarReader {
    layer: Layer,
    next: usize,
    pending: Vec<u8>,
    at: usize,
    content: Option<(BlobReader, u64)>,
    padding: usize,
    finished: bool,
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

/// The bytes of a layer's blob.
#[derive(Debug)]
pub struct LayerReader {
    tar: TarReader,
    left: u64,
    crc: crc32fast::Hasher,
    out: Vec<u8>,
    at: usize,
    done: bool,
    diff_id: Option<Hasher>,
    beside: Option<SyncSender<Vec<u8>>>,
}

impl LayerReader {
    fn fill(&mut self) -> io::Result<()> {
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(STORED);
        self.left -= size as u64;
        let last = self.left == 0;
        let length = u16::try_from(size).unwrap_or(u16::MAX);
        self.out.clear();
        self.out.push(u8::from(last));
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(&(!length).to_le_bytes());
        self.out.resize(5 + size, 0);
        self.tar.read_exact(&mut self.out[5..])?;
        self.crc.update(&self.out[5..]);
        if let Some(hasher) = &mut self.diff_id {
            hasher.update(&self.out[5..]);
        }
        if let Some(sender) = &self.beside {
            // Nobody is there to receive only when that thread has failed, which its end tells.
            drop(sender.send(self.out[5..].to_vec()));
        }
        if last {
            let total = self.tar.layer.tar_size & u64::from(u32::MAX);
            self.out.extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
            self.out.extend_from_slice(&total.to_le_bytes()[..4]);
            self.done = true;
        }
        self.at = 0;
        Ok(())
    }
}

impl Read for LayerReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.out.len() {
            if self.done {
                return Ok(0);
            }
            self.fill()?;
        }
        let count = buf.len().min(self.out.len() - self.at);
        buf[..count].copy_from_slice(&self.out[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Reads a layer's blob and describes what was read.
#[derive(Debug)]
pub struct DescribingReader {
    reader: LayerReader,
    blob: Hasher,
    size: u64,
}

impl DescribingReader {
    /// Digests and size of what was read: those of the layer once everything was.
    #[must_use]
    pub fn finish(self) -> Described {
        let diff_id = self.reader.diff_id.unwrap_or_default().finish();
        Described { diff_id, digest: self.blob.finish(), size: self.size }
    }
}

impl Read for DescribingReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buf)?;
        self.blob.update(&buf[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
