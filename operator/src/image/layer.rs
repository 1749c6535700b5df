//! Image layers, format `aem-layer/1`.
//!
//! A layer is a tar inside a gzip that only has *stored* blocks: its bytes depend on no compressor and no library
//! version, packages (which are compressed already) are not compressed again, and tools that copy images do not
//! rewrite it. As an option it is the tar alone ([`LayerEncoding`]). A layer is described first and generated again when
//! its bytes are needed, so none is ever held in memory.
//!
//! Fixed for ever under this name: ustar headers (PAX records only for names that do not fit), entries sorted by their
//! bytes, owner 0:0 without names, folders 0755, packages 0444, other files 0644, links 0777, and a modification time
//! that for packages depends on their content, because the runtime takes the time for a change mark.

mod gzip;
mod tar;

use std::io::{self, Read};
use std::sync::mpsc::sync_channel;

use launchway_crds::digest::Sha256Digest;
pub use launchway_crds::layer_encoding::LayerEncoding;

use self::gzip::{GzipReader, STORED, TarWatch};
use self::tar::TarReader;
use super::blob::{Blob, Hasher};

/// Name and version of the layer format.
pub const FORMAT: &str = "aem-layer/1";

/// 1980-01-01T00:00:01Z: the earliest time that every zip and file system can hold.
pub const EPOCH: u64 = 315_532_801;

/// From this size on the two digests of a gzip are computed side by side.
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
    /// Digest of the blob, its name in a registry.
    pub digest: Sha256Digest,
    /// Size of the blob.
    pub size: u64,
}

/// A layer that can be generated any number of times.
#[derive(Debug, Clone)]
pub struct Layer {
    entries: Vec<LayerEntry>,
    tar_size: u64,
    encoding: LayerEncoding,
}

impl Layer {
    /// Sorts and checks the entries.
    ///
    /// # Errors
    /// When a path occurs twice, is not relative, or means deletion in a layer.
    pub fn new(mut entries: Vec<LayerEntry>, encoding: LayerEncoding) -> Result<Self, String> {
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
        let tar_size = tar::size(&entries);
        Ok(Self { entries, tar_size, encoding })
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

    /// What its blob is.
    #[must_use]
    pub const fn encoding(&self) -> LayerEncoding {
        self.encoding
    }

    /// Size of the blob.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self.encoding {
            LayerEncoding::Gzip => gzip::size(self.tar_size),
            LayerEncoding::Tar => self.tar_size,
        }
    }

    /// First pass: digests and size, without keeping any bytes. Large gzips are hashed by two threads, one for the tar
    /// and one for the gzip around it: hashing is what describing costs.
    ///
    /// # Errors
    /// When content cannot be read, or there is no thread to be had.
    pub fn describe(&self) -> io::Result<Described> {
        if self.encoding == LayerEncoding::Gzip && self.tar_size >= TWO_THREADS {
            return self.describe_on_two_threads();
        }
        let mut reader = self.describing_reader();
        io::copy(&mut io::BufReader::with_capacity(STORED + 64, &mut reader), &mut io::sink())?;
        Ok(reader.finish())
    }

    fn describe_on_two_threads(&self) -> io::Result<Described> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Vec<u8>>(AHEAD);
            let beside = std::thread::Builder::new().name("diff-id".to_owned()).spawn_scoped(scope, move || {
                let mut hasher = Hasher::new();
                for block in receiver {
                    hasher.update(&block);
                }
                hasher.finish()
            })?;
            let mut reader = self.bytes(TarWatch::Send(sender));
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
        DescribingReader { reader: self.bytes(TarWatch::Hash(Box::default())), blob: Hasher::new(), size: 0 }
    }

    /// Second pass: the bytes of the blob.
    #[must_use]
    pub fn reader(&self) -> LayerReader {
        self.bytes(TarWatch::Nobody)
    }

    fn bytes(&self, watch: TarWatch) -> LayerReader {
        let tar = TarReader::new(self.clone());
        LayerReader(match self.encoding {
            LayerEncoding::Gzip => Bytes::Gzip(Box::new(GzipReader::new(tar, self.tar_size, watch))),
            LayerEncoding::Tar => Bytes::Tar(tar),
        })
    }
}

/// The bytes of a layer's blob.
#[derive(Debug)]
pub struct LayerReader(Bytes);

#[derive(Debug)]
enum Bytes {
    Gzip(Box<GzipReader>),
    Tar(TarReader),
}

impl Read for LayerReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Bytes::Gzip(reader) => reader.read(buf),
            Bytes::Tar(reader) => reader.read(buf),
        }
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
        let digest = self.blob.finish();
        let diff_id = match self.reader.0 {
            Bytes::Gzip(reader) => reader.tar_digest(),
            Bytes::Tar(_) => None,
        };
        // A layer that is a tar is hashed once: the blob is what the image's configuration names too.
        let diff_id = diff_id.unwrap_or(digest);
        Described { diff_id, digest, size: self.size }
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
