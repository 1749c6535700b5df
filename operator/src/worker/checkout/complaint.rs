//! What Git complains about, put into the words of status.

use launchway_crds::conditions::{reasons, truncate};

use super::super::verdict::{Reason, Verdict};
use crate::text::one_line;

const WORDS_MAX: usize = 400;

/// What Git complained about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    reason: &'static str,
    message: String,
    /// Whether the platform is at fault, and another try may end well.
    platform: bool,
    /// The server gives out only what its refs name.
    pub only_refs: bool,
}

/// A part of what Git says, in lower case, the reason for it, and what to do.
type Rule = (&'static str, &'static str, &'static str);

const KEY: &str = "add the server's key to known_hosts of the Secret that spec.source.git.secretRef names, after comparing it with the published one";
const LOGIN: &str = "correct the Secret that spec.source.git.secretRef names, or the rights of its user";
const URL: &str = "correct spec.source.git.url; some servers answer so when the login may not read the repository";
const GONE: &str = "the commit is gone, by a force push most likely: run again";
const AWAY: &str = "repair the Git server or the way to it, and run again";
const CONTENT: &str = "the repository holds what is refused";
const DISK: &str = "raise spec.source.git.builder.disk";

/// The first that is found counts: what comes first says more.
const RULES: &[Rule] = &[
    ("host key verification failed", reasons::HOST_KEY_UNKNOWN, KEY),
    ("remote host identification has changed", reasons::HOST_KEY_UNKNOWN, KEY),
    ("permission denied (", reasons::GIT_REFUSED, LOGIN),
    ("authentication failed", reasons::GIT_REFUSED, LOGIN),
    ("could not read username", reasons::GIT_REFUSED, LOGIN),
    ("could not read password", reasons::GIT_REFUSED, LOGIN),
    ("error: 401", reasons::GIT_REFUSED, LOGIN),
    ("error: 403", reasons::GIT_REFUSED, LOGIN),
    ("error: 404", reasons::REPOSITORY_NOT_FOUND, URL),
    ("' not found", reasons::REPOSITORY_NOT_FOUND, URL),
    ("repository not found", reasons::REPOSITORY_NOT_FOUND, URL),
    ("does not appear to be a git repository", reasons::REPOSITORY_NOT_FOUND, URL),
    ("not valid: is this a git repository", reasons::REPOSITORY_NOT_FOUND, URL),
    ("not our ref", reasons::COMMIT_NOT_FOUND, GONE),
    ("couldn't find remote ref", reasons::COMMIT_NOT_FOUND, GONE),
    ("is not a tree", reasons::COMMIT_NOT_FOUND, GONE),
    ("no space left on device", reasons::TOO_LARGE, DISK),
    ("not allowed", reasons::GIT_INVALID, CONTENT),
    ("fsck error", reasons::GIT_INVALID, CONTENT),
    ("object corrupt", reasons::GIT_INVALID, CONTENT),
    ("invalid path", reasons::GIT_INVALID, CONTENT),
    ("could not resolve host", reasons::GIT_UNREACHABLE, AWAY),
    ("connection refused", reasons::GIT_UNREACHABLE, AWAY),
    ("connection reset", reasons::GIT_UNREACHABLE, AWAY),
    ("connection closed", reasons::GIT_UNREACHABLE, AWAY),
    ("timed out", reasons::GIT_UNREACHABLE, AWAY),
    ("failed to connect", reasons::GIT_UNREACHABLE, AWAY),
    ("unexpected disconnect", reasons::GIT_UNREACHABLE, AWAY),
    ("early eof", reasons::GIT_UNREACHABLE, AWAY),
    ("remote end hung up", reasons::GIT_UNREACHABLE, AWAY),
    ("error: 5", reasons::GIT_UNREACHABLE, AWAY),
    (
        "certificate",
        reasons::GIT_UNREACHABLE,
        "add the authority's certificate as ca.crt to the Secret that spec.source.git.secretRef names",
    ),
];

impl Complaint {
    /// What the user gave is at fault.
    pub(super) fn failed(reason: &'static str, message: String) -> Self {
        Self { reason, message, platform: false, only_refs: false }
    }

    /// Reads what Git wrote on its error output when it ended with `code`.
    pub(super) fn read(url: &str, said: &str, code: Option<i32>) -> Self {
        let lower = said.to_lowercase();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let rule = RULES.iter().find(|(part, _, _)| lower.contains(part));
        // The line that the rule is about; else the last one, for Git ends with what it gave up for.
        let line = rule
            .and_then(|(part, _, _)| lines.iter().find(|line| line.to_lowercase().contains(part)))
            .or(lines.last())
            .map(|line| truncate(&one_line(line), WORDS_MAX))
            .unwrap_or_else(|| format!("git ended with {}", code.map_or("a signal".into(), |code| code.to_string())));
        let only_refs = lower.contains("unadvertised object");
        match rule {
            Some((_, reason, remedy)) => Self {
                reason,
                message: format!("{url}: {line}: {remedy}"),
                platform: *reason == reasons::GIT_UNREACHABLE,
                only_refs,
            },
            None => Self { reason: reasons::JOB_FAILED, message: format!("{url}: {line}"), platform: true, only_refs },
        }
    }

    /// As the outcome of a container.
    pub(super) fn verdict<T>(self) -> Verdict<T> {
        let reason = Reason::new(self.reason, &self.message);
        if self.platform { Verdict::Error(reason) } else { Verdict::Failed(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Git 2.39 and OpenSSH 9.2 say.
    #[test]
    fn complaints_get_reasons() {
        for (said, reason, failed) in [
            (
                "No ED25519 host key is known for git.example.com and you have requested strict checking.\nHost key verification failed.\nfatal: Could not read from remote repository.",
                reasons::HOST_KEY_UNKNOWN,
                true,
            ),
            (
                "git@git: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                reasons::GIT_REFUSED,
                true,
            ),
            ("fatal: could not read Username for 'http://git': terminal prompts disabled", reasons::GIT_REFUSED, true),
            ("fatal: Authentication failed for 'http://git/x.git/'", reasons::GIT_REFUSED, true),
            ("fatal: repository 'http://git/x.git/' not found", reasons::REPOSITORY_NOT_FOUND, true),
            ("fatal: remote error: upload-pack: not our ref aaaa", reasons::COMMIT_NOT_FOUND, true),
            ("fatal: transport 'file' not allowed", reasons::GIT_INVALID, true),
            ("fatal: unable to access 'http://git/': Could not resolve host: git", reasons::GIT_UNREACHABLE, false),
            (
                "fatal: unable to access 'http://git/': The requested URL returned error: 503",
                reasons::GIT_UNREACHABLE,
                false,
            ),
            ("something new", reasons::JOB_FAILED, false),
        ] {
            match Complaint::read("URL", said, Some(128)).verdict::<()>() {
                Verdict::Failed(found) => assert!(failed && found.reason == reason, "{said}: {found:?}"),
                Verdict::Error(found) => assert!(!failed && found.reason == reason, "{said}: {found:?}"),
                Verdict::Ok(()) => panic!("{said}"),
            }
        }
        let one = Complaint::read("URL", "error: Server does not allow request for unadvertised object aaaa", Some(1));
        assert!(one.only_refs);
    }
}
