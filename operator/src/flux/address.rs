//! Addresses that objects of Flux name: which of them may be used, and how they are told.

/// Longest URL of a repository, as status takes it.
const URL_MAX: usize = 1024;
/// Longest name of a repository in a registry, as `spec.source.artifact.repository`.
const REPOSITORY_MAX: usize = 400;

/// A URL that Git may be given: what the schema asks of `spec.source.git.url`, less the form without a scheme. The server
/// becomes part of a key of Git's configuration, so that no other letter may be in it.
pub(super) fn is_repository(url: &str) -> bool {
    let rest = ["https://", "http://", "ssh://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some((authority, path)) = rest.and_then(|rest| rest.split_once('/')) else { return false };
    let (user, server) = authority.rsplit_once('@').map_or((None, authority), |(user, server)| (Some(user), server));
    // A password in a URL would be written to status.
    let user_fits = user.is_none_or(|user| url.starts_with("ssh://") && is_user(user));
    let visible = url.bytes().all(|byte| byte.is_ascii_graphic());
    url.len() <= URL_MAX && visible && user_fits && is_server(server) && !path.is_empty()
}

/// `HOST` or `HOST:PORT`; the host may be an address of IPv6 in brackets.
fn is_server(text: &str) -> bool {
    let (is_host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let fits = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            (!address.is_empty() && address.bytes().all(fits), port)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(host), port)
        }
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    is_host && (port.is_empty() || (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Letters, digits, dots, underscores and hyphens, of which the first is a letter or a digit.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && has_only_letters_of_names(text)
}

/// The same, or beginning with an underscore.
fn is_user(text: &str) -> bool {
    is_name(text) || text.strip_prefix('_').is_some_and(has_only_letters_of_names)
}

fn has_only_letters_of_names(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A repository of a registry, without login, tag and digest.
pub(super) fn is_registry_path(text: &str) -> bool {
    let path = text.split_once('/').map(|(_, path)| path).unwrap_or_default();
    text.len() <= REPOSITORY_MAX
        && !text.starts_with('/')
        && !path.is_empty()
        && !path.contains(':')
        && !text.contains('@')
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The text with `…` for what is before the `@` of a server in each of its URLs.
pub(super) fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let is_end = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '?' | '#' | '"' | '\'' | '`');
        let (authority, rest) = part.split_at(part.find(is_end).unwrap_or(part.len()));
        let (login, server) = authority.rsplit_once('@').map_or((None, authority), |(login, rest)| (Some(login), rest));
        out.push_str("://");
        out.push_str(login.map_or("", |_| "…@"));
        out.push_str(server);
        out.push_str(rest);
    }
    out
}
