//! Why a commit cannot be had, each kind with a reason of its own.

use launchway_crds::conditions::reasons;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The server has no such repository, or hides it.
    RepositoryNotFound,
    /// The repository has no such branch or tag.
    RefNotFound,
    /// The server refuses the login, or asks for one.
    Refused,
    /// The answer is none of a Git server.
    Invalid,
    /// The server does not answer, or says that it cannot now: it may, later.
    Unreachable,
}

/// Why a commit cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GitFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// For people: what was asked, what was answered, what to do.
    pub message: String,
}

impl GitFault {
    /// A fault with its sentence.
    #[must_use]
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The reason in status.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            FaultKind::RepositoryNotFound => reasons::REPOSITORY_NOT_FOUND,
            FaultKind::RefNotFound => reasons::REF_NOT_FOUND,
            FaultKind::Refused => reasons::GIT_REFUSED,
            FaultKind::Invalid => reasons::GIT_INVALID,
            FaultKind::Unreachable => reasons::GIT_UNREACHABLE,
        }
    }

    /// Whether the same question may be answered a little later.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self.kind, FaultKind::Unreachable)
    }
}
