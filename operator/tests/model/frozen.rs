//! What many states of the model share.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use serde::Serialize;

/// Something large that many states share. Compared by the hash of what it is as JSON, which is taken once.
#[derive(Clone)]
pub struct Frozen<T> {
    value: Arc<T>,
    print: u64,
}

impl<T> Frozen<T> {
    pub fn new(value: T) -> Self
    where
        T: Serialize,
    {
        let print = hashed(&value).finish();
        Self::printed(value, print)
    }

    /// One that is compared by this number.
    pub fn printed(value: T, print: u64) -> Self {
        Self { value: Arc::new(value), print }
    }

    /// The number that it is compared by.
    pub fn print(&self) -> u64 {
        self.print
    }

    pub fn get(&self) -> &T {
        &self.value
    }
}

/// The hash of what a value is as JSON.
pub fn hashed(value: &impl Serialize) -> DefaultHasher {
    let mut hasher = Written(DefaultHasher::new());
    serde_json::to_writer(&mut hasher, value).unwrap();
    hasher.0
}

/// Hashes what is written.
struct Written(DefaultHasher);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T> PartialEq for Frozen<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl<T> Eq for Frozen<T> {}

impl<T> Hash for Frozen<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl<T: fmt::Debug> fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
