//! What went wrong while an object was looked at, and what that means for the next try.

use std::time::Duration;

/// An error of a round. Errors of the user's input are no errors here: they are verdicts of the planner.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The apiserver refused or could not be reached.
    #[error("{doing}: {source}")]
    Kube {
        /// What was being done.
        doing: &'static str,
        /// The client's error.
        source: Box<kube::Error>,
    },
    /// An object is not what this version of the operator knows.
    #[error("{doing}: {why}")]
    Unreadable {
        /// What was being done.
        doing: &'static str,
        /// What is wrong with the object.
        why: String,
    },
    /// The apiserver did not answer in time.
    #[error("{doing}: no answer within {} s", limit.as_secs())]
    TimedOut {
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The object changed between reading and writing.
    #[error("{0}: the object changed meanwhile")]
    Conflict(&'static str),
    /// Somebody else has an object of the name that is needed.
    #[error("{0}")]
    Taken(String),
    /// Effects were repeated and the facts did not change.
    #[error("no progress after {0} rounds")]
    NoProgress(usize),
}

impl Error {
    /// A label for metrics: few values, no names.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Kube { .. } => "apiserver",
            Self::Unreadable { .. } => "unreadable",
            Self::TimedOut { .. } => "timeout",
            Self::Conflict(_) => "conflict",
            Self::Taken(_) => "taken",
            Self::NoProgress(_) => "no_progress",
        }
    }

    /// What the apiserver says of an object that it does not take as it is: repeating it changes nothing until somebody
    /// else does. That is so, too, of an admission webhook that cannot be reached and has to be asked, and of a name that
    /// is taken.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        /// Malformed, forbidden (also by quotas and admission policies), too large, invalid.
        const REFUSED: [u16; 4] = [400, 403, 413, 422];
        if let Self::Taken(why) = self {
            return Some(why);
        }
        let Self::Kube { source, .. } = self else { return None };
        let kube::Error::Api(status) = source.as_ref() else { return None };
        let unasked = status.code == 500 && status.message.contains("failed calling webhook");
        (unasked || REFUSED.contains(&status.code)).then_some(status.message.as_str())
    }

    /// Whether the apiserver understood an object and finds it invalid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        let Self::Kube { source, .. } = self else { return false };
        matches!(source.as_ref(), kube::Error::Api(status) if status.code == 422)
    }

    /// How long to wait before the try after `attempts` failed ones: conflicts are read again at
    /// once, everything else backs off to a minute.
    #[must_use]
    pub fn pause(&self, attempts: u32) -> Duration {
        let base = match self {
            Self::Conflict(_) => Duration::from_millis(50),
            // A change wakes it; what it refers to may be what cannot be read.
            Self::Unreadable { .. } => Duration::from_secs(60),
            Self::Kube { .. } | Self::TimedOut { .. } | Self::Taken(_) | Self::NoProgress(_) => Duration::from_secs(1),
        };
        base.saturating_mul(2_u32.saturating_pow(attempts.min(10))).min(Duration::from_secs(60))
    }
}

/// The longest that one call to the apiserver may take.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Bounds a call to the apiserver and names it in its error.
///
/// # Errors
/// [`Error::Conflict`] for 409 of a changed object, [`Error::TimedOut`], [`Error::Kube`].
pub async fn bounded<T>(doing: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Err(_) => Err(Error::TimedOut { doing, limit: CALL_LIMIT }),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Err(Error::Conflict(doing)),
        Ok(Err(kube::Error::SerdeError(error))) => Err(Error::Unreadable { doing, why: error.to_string() }),
        Ok(Err(source)) => Err(Error::Kube { doing, source: Box::new(source) }),
        Ok(Ok(value)) => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let error = Error::NoProgress(3);
        assert_eq!(error.pause(0), Duration::from_secs(1));
        assert_eq!(error.pause(3), Duration::from_secs(8));
        assert_eq!(error.pause(u32::MAX), Duration::from_secs(60));
        assert!(Error::Conflict("x").pause(0) < Duration::from_millis(100));
    }

    #[test]
    fn what_is_refused_is_told_from_what_may_go_better() {
        let answered = |code| Error::Kube {
            doing: "apply an object",
            source: Box::new(kube::Error::Api(Box::new(kube::core::Status {
                code,
                message: "exceeded quota: program".into(),
                ..Default::default()
            }))),
        };
        for code in [400, 403, 413, 422] {
            assert_eq!(answered(code).refusal(), Some("exceeded quota: program"), "{code}");
        }
        for code in [401, 404, 409, 429, 500, 503] {
            assert_eq!(answered(code).refusal(), None, "{code}");
        }
        assert_eq!(Error::Conflict("x").refusal(), None);
        let said =
            "Internal error occurred: failed calling webhook \"jobs.example.com\": failed to call webhook: Post …";
        let away = kube::core::Status { code: 500, message: said.into(), ..Default::default() };
        let away = Error::Kube { doing: "create a Job", source: Box::new(kube::Error::Api(Box::new(away))) };
        assert_eq!(away.refusal(), Some(said));
    }
}
