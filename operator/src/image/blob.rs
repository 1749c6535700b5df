//! Random access to bytes that may be in memory, in a file, or inside another file; and the hash of them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use launchway_crds::digest::Sha256Digest;
use rawzip::ReaderAt;

/// Size of the buffers that content is read through.
pub const CHUNK: usize = 128 << 10;

/// Read-only bytes of known length, readable at any offset, cheap to clone.
#[derive(Clone)]
pub struct Blob {
    source: Arc<dyn ReaderAt + Send + Sync>,
    start: u64,
    len: u64,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len)
    }
}

impl Blob {
    /// The whole of an open file.
    ///
    /// # Errors
    /// When the file's size cannot be read.
    pub fn from_file(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { source: Arc::new(rawzip::FileReader::from(file)), start: 0, len })
    }

    /// Bytes in memory.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { source: Arc::new(bytes), start: 0, len }
    }

    /// Number of bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of this blob. A range behind the end is cut at the end.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        let start = range.start.min(self.len);
        let end = range.end.clamp(start, self.len);
        Self { source: Arc::clone(&self.source), start: self.start + start, len: end - start }
    }

    /// A sequential reader from the start.
    #[must_use]
    pub fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), position: 0 }
    }

    /// Digest of all bytes, read through a small buffer.
    ///
    /// # Errors
    /// When reading fails or the content is shorter than its length.
    pub fn digest(&self) -> io::Result<Sha256Digest> {
        let mut hasher = Hasher::new();
        let copied = io::copy(&mut io::BufReader::with_capacity(CHUNK, self.reader()), &mut hasher)?;
        if copied != self.len {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "content shorter than its length"));
        }
        Ok(hasher.finish())
    }
}

impl ReaderAt for Blob {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if wanted == 0 {
            return Ok(0);
        }
        self.source.read_at(&mut buf[..wanted], self.start + offset)
    }
}

/// Reads a [`Blob`] from its start to its end.
#[derive(Debug)]
pub struct BlobReader {
    blob: Blob,
    position: u64,
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.blob.read_at(buf, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// Streaming SHA-256 that can be written to.
pub struct Hasher(ring::digest::Context);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Starts a new hash.
    #[must_use]
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Sha256Digest {
        let mut out = [0_u8; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Sha256Digest::from_bytes(out)
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Sha256Digest {
        let mut hasher = Self::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl Write for Hasher {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder for content that has to be unpacked before it can be read at random. Files are unlinked as soon as they
/// are open, so nothing is left behind when the process dies.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    next: AtomicU64,
}

impl Spool {
    /// Uses an existing folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), next: AtomicU64::new(0) }
    }

    /// A new anonymous file, open for writing and reading.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn file(&self) -> io::Result<File> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!(".spool-{number}"));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    std::fs::remove_file(&path)?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn slices_and_digests() {
        let blob = Blob::from_bytes(b"hello world".to_vec());
        let part = blob.slice(6..999);
        let mut text = String::new();
        part.reader().read_to_string(&mut text).unwrap();
        assert_eq!(text, "world");
        assert_eq!(part.digest().unwrap(), Hasher::of(b"world"));
        assert_eq!(blob.slice(20..30).len(), 0);
    }

    #[test]
    fn spool_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Spool::new(folder.path()).file().unwrap();
        file.write_all(b"x").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(Blob::from_file(file).unwrap().digest().unwrap(), Hasher::of(b"x"));
    }
}
