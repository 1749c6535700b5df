//! A gzip of *stored* blocks around a tar.

use std::io::{self, Read};
use std::sync::mpsc::SyncSender;

use launchway_crds::digest::Sha256Digest;

use super::tar::TarReader;
use crate::image::blob::Hasher;

/// Most bytes of one stored block (RFC 1951 §3.2.4).
pub(super) const STORED: usize = 65_535;

/// Size of the gzip around a tar of this size: header, a frame for each block, checksum and length.
pub(super) const fn size(tar: u64) -> u64 {
    10 + tar + 5 * tar.div_ceil(STORED as u64) + 8
}

/// Who learns the bytes of the tar while the gzip is read.
#[derive(Debug)]
pub(super) enum TarWatch {
    Nobody,
    /// The digest of the tar, computed here.
    Hash(Box<Hasher>),
    /// Another thread.
    Send(SyncSender<Vec<u8>>),
}

/// The bytes of a gzip.
#[derive(Debug)]
pub(super) struct GzipReader {
    tar: TarReader,
    size: u64,
    left: u64,
    crc: crc32fast::Hasher,
    out: Vec<u8>,
    at: usize,
    done: bool,
    watch: TarWatch,
}

impl GzipReader {
    /// Reads a tar of `size` bytes.
    pub(super) fn new(tar: TarReader, size: u64, watch: TarWatch) -> Self {
        let out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
        Self { tar, size, left: size, crc: crc32fast::Hasher::new(), out, at: 0, done: false, watch }
    }

    /// Digest of the tar that was read, when it was computed here.
    pub(super) fn tar_digest(self) -> Option<Sha256Digest> {
        match self.watch {
            TarWatch::Hash(hasher) => Some(hasher.finish()),
            TarWatch::Nobody | TarWatch::Send(_) => None,
        }
    }

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
        match &mut self.watch {
            TarWatch::Nobody => {}
            TarWatch::Hash(hasher) => hasher.update(&self.out[5..]),
            // Nobody is there to receive only when that thread has failed, which its end tells.
            TarWatch::Send(sender) => drop(sender.send(self.out[5..].to_vec())),
        }
        if last {
            let total = self.size & u64::from(u32::MAX);
            self.out.extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
            self.out.extend_from_slice(&total.to_le_bytes()[..4]);
            self.done = true;
        }
        self.at = 0;
        Ok(())
    }
}

impl Read for GzipReader {
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
