//! A failure that a person can act on: what failed, what was seen, what to do.

use std::{fmt, path::Path};

/// How an operation of the harness ends.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Lines of a log that are shown.
const TAIL: usize = 25;

/// What went wrong.
#[derive(Clone)]
pub struct Failure {
    what: String,
    seen: String,
    remedy: String,
}

impl Failure {
    /// A failure, in one sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), seen: String::new(), remedy: String::new() }
    }

    /// The same, with what was seen: usually the end of a log.
    #[must_use]
    pub fn seen(mut self, text: &str) -> Self {
        self.seen = tail(text);
        self
    }

    /// The same, with the end of a log file.
    #[must_use]
    pub fn log(self, file: &Path) -> Self {
        let text = std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match text {
            Ok(text) => self.seen(&format!("{}\n(the end of {})", text.trim_end(), file.display())),
            Err(_) => self,
        }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = text.into();
        self
    }

    /// The same, saying what it happened in.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.what = format!("{what}: {}", self.what);
        self
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.seen.is_empty() {
            for line in self.seen.lines() {
                write!(f, "\n  | {line}")?;
            }
        }
        if !self.remedy.is_empty() {
            write!(f, "\nwhat to do: {}", self.remedy)?;
        }
        Ok(())
    }
}

// A test that returns an error shows it by Debug.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self::new(what)
    }
}

impl From<&str> for Failure {
    fn from(what: &str) -> Self {
        Self::new(what)
    }
}

/// Fails unless the condition holds.
///
/// # Errors
/// With the text, when it does not.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::new(what())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_end_of_what_was_seen_and_the_remedy_last() {
        let long: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let text = Failure::new("it broke").seen(&long).remedy("mend it").during("phase 1").to_string();
        assert!(text.starts_with("phase 1: it broke\n  | line 75\n"), "{text}");
        assert!(text.ends_with("  | line 99\nwhat to do: mend it"), "{text}");
    }
}
