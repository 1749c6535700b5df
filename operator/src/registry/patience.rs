//! How long a registry may take, so that every wait has an end.

use std::time::Duration;

/// The ends of all waits. The defaults suit slow registries; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To connect.
    pub connect: Duration,
    /// Longest silence of a registry while it answers.
    pub idle: Duration,
    /// For the whole of a small answer: a slow drip keeps every single read alive.
    pub answer: Duration,
    /// Longest time without progress of an upload: a registry hashes and moves what it got before it answers, and
    /// large blobs on slow disks take their time.
    pub silence: Duration,
    /// Longest wait that a registry may ask for (`Retry-After`). A longer one ends the request at once.
    pub retry_after: Duration,
    /// Slowest transfer of a whole blob, in bytes per second, besides the time of [`Self::answer`].
    pub slowest: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            silence: Duration::from_secs(120),
            retry_after: Duration::from_secs(60),
            slowest: 32 << 10,
        }
    }
}

impl Patience {
    /// For a transfer of so many bytes.
    #[must_use]
    pub fn transfer(&self, bytes: u64) -> Duration {
        self.answer + Duration::from_secs(bytes / self.slowest.max(1))
    }
}
