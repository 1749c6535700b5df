//! Content that uploads read from, as often as they have to.

use std::io::{Cursor, Read, Result};

use bytes::Bytes;

use crate::image::blob::Blob;
use crate::image::layer::Layer;

/// Content that can be read from its start any number of times.
pub trait BlobSource: Send + Sync {
    /// Number of bytes.
    fn size(&self) -> u64;

    /// A reader from the start.
    ///
    /// # Errors
    /// When the content is no longer there.
    fn open(&self) -> Result<Box<dyn Read + Send>>;
}

impl BlobSource for Blob {
    fn size(&self) -> u64 {
        self.len()
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.reader()))
    }
}

impl BlobSource for Layer {
    fn size(&self) -> u64 {
        Self::size(self)
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.reader()))
    }
}

impl BlobSource for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.clone())))
    }
}
