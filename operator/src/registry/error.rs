//! Errors of the registry client. Each names the registry, the repository and what to do.

use std::fmt;

/// What kind of failure it is; callers decide by this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 401 or 403.
    Refused,
    /// 404.
    NotFound,
    /// No connection, a time-out, or a server error that lasts.
    Unreachable,
    /// The registry does not do what is asked for: 405, or 400 with the code UNSUPPORTED.
    Unsupported,
    /// The registry's answer breaks the protocol, or content does not match its digest.
    Invalid,
    /// A file of this machine.
    Local,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryError {
    /// Kind.
    pub kind: ErrorKind,
    /// What was attempted, where, what happened, and the remedy.
    pub message: String,
}

impl RegistryError {
    pub(crate) fn new(kind: ErrorKind, place: &str, what: impl fmt::Display, remedy: &str) -> Self {
        let what: String = what.to_string().chars().take(500).flat_map(char::escape_debug).collect();
        Self { kind, message: format!("registry {place}: {what}. {remedy}") }
    }

    pub(crate) fn invalid(place: &str, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, place, what, "Check the registry and anything between it and this machine")
    }

    pub(crate) fn local(what: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Local, message: what.to_string() }
    }

    /// A code for status and outcome.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.kind {
            ErrorKind::Refused => "RegistryRefused",
            ErrorKind::NotFound => "RegistryNotFound",
            ErrorKind::Unreachable => "RegistryUnreachable",
            ErrorKind::Unsupported => "RegistryUnsupported",
            ErrorKind::Invalid => "RegistryInvalid",
            ErrorKind::Local => "LocalIo",
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RegistryError {}
