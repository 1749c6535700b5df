//! What a build Job says at its end: small, typed, and fit for a container's termination message.

use launchway_crds::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

/// Most bytes that Kubernetes keeps of a termination message.
pub const MAX_BYTES: usize = 4096;
/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 1024;
/// Most bytes of a reason.
pub const MAX_REASON: usize = 64;

/// Digests of a finished build, all in the target repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    /// The index over both images: what is tested, approved and deployed.
    pub release: Sha256Digest,
    /// Author and publish.
    pub aem: Sha256Digest,
    /// The web server.
    pub dispatcher: Sha256Digest,
    /// The artifact with the report.
    pub report: Sha256Digest,
}

/// Why a build did not finish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Stable code.
    pub reason: String,
    /// Text for people.
    pub message: String,
    /// The artifact with the report, when it could be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Sha256Digest>,
}

/// The end of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Done.
    Ok(Built),
    /// The customer's input is refused; building again gives the same.
    Failed(Problem),
    /// The platform or a registry failed; building again may work.
    Error(Problem),
}

fn bounded(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        // Quotes and backslashes take two bytes in JSON.
        if out.len() + c.len_utf8() > limit {
            while out.len() > limit - '…'.len_utf8() {
                out.pop();
            }
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

impl Problem {
    /// Shortens and cleans reason and message.
    #[must_use]
    pub fn new(reason: &str, message: &str) -> Self {
        let reason: String = reason.chars().filter(char::is_ascii_alphanumeric).take(MAX_REASON).collect();
        let reason = if reason.is_empty() { "Unknown".to_owned() } else { reason };
        Self { reason, message: bounded(message, MAX_MESSAGE), report: None }
    }
}

impl Outcome {
    /// As JSON of at most [`MAX_BYTES`] bytes.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        if !text.is_empty() && text.len() <= MAX_BYTES {
            return text;
        }
        let short = |problem: &Problem| Problem {
            report: problem.report,
            ..Problem::new(&problem.reason, &bounded(&problem.message, MAX_MESSAGE / 2))
        };
        let shorter = match self {
            Self::Ok(built) => Self::Ok(built.clone()),
            Self::Failed(problem) => Self::Failed(short(problem)),
            Self::Error(problem) => Self::Error(short(problem)),
        };
        serde_json::to_string(&shorter).unwrap_or_default()
    }

    /// Reads a termination message, which is as untrusted as the container that wrote it.
    ///
    /// # Errors
    /// When it is not an outcome.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("the outcome has {} bytes, {MAX_BYTES} allowed", text.len()));
        }
        let outcome: Self =
            serde_json::from_str(text.trim()).map_err(|error| format!("the outcome cannot be read: {error}"))?;
        let again =
            |problem: Problem| Problem { report: problem.report, ..Problem::new(&problem.reason, &problem.message) };
        Ok(match outcome {
            Self::Ok(built) => Self::Ok(built),
            Self::Failed(problem) => Self::Failed(again(problem)),
            Self::Error(problem) => Self::Error(again(problem)),
        })
    }

    /// Exit code of the worker: 0 done, 1 failed, 2 error.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Ok(_) => 0,
            Self::Failed(_) => 1,
            Self::Error(_) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn wire_form() {
        let digest = Sha256Digest::from_bytes([1; 32]);
        let built = Outcome::Ok(Built { release: digest, aem: digest, dispatcher: digest, report: digest });
        let json = built.to_json();
        assert!(json.starts_with("{\"ok\":{\"release\":\"sha256:0101"), "{json}");
        assert_eq!(Outcome::parse(&json).unwrap(), built);
        let failed = Outcome::Failed(Problem::new("NoArtifacts", "nothing"));
        assert_eq!(failed.to_json(), "{\"failed\":{\"reason\":\"NoArtifacts\",\"message\":\"nothing\"}}");
        assert_eq!(
            (built.exit_code(), failed.exit_code(), Outcome::Error(Problem::new("x", "")).exit_code()),
            (0, 1, 2)
        );
    }

    #[test]
    fn bounds() {
        for filler in ["x", "\"", "\\", "\n", "ü", "…", "\u{1F600}", "\u{7f}", "\u{0}"] {
            let problem = Problem::new(&filler.repeat(500), &filler.repeat(5000));
            assert!(problem.message.len() <= MAX_MESSAGE && problem.reason.len() <= MAX_REASON);
            let mut problem = problem;
            problem.report = Some(Sha256Digest::from_bytes([2; 32]));
            let json = Outcome::Error(problem).to_json();
            assert!(json.len() <= MAX_BYTES, "{filler:?} {}", json.len());
            assert!(Outcome::parse(&json).is_ok());
        }
    }

    #[test]
    fn hostile_messages() {
        assert!(Outcome::parse(&"x".repeat(5000)).is_err());
        assert!(Outcome::parse("{\"ok\":{\"release\":\"latest\"}}").is_err());
        assert!(Outcome::parse("").is_err());
        let forged = format!("{{\"failed\":{{\"reason\":\"a b\\n\",\"message\":\"{}\"}}}}", "m".repeat(2000));
        let Outcome::Failed(problem) = Outcome::parse(&forged).unwrap() else { panic!() };
        assert_eq!((problem.reason.as_str(), problem.message.len()), ("ab", MAX_MESSAGE));
    }
}
