//! How a repository is spoken to.

/// How a repository is spoken to, as its URL says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Smart HTTP, with or without TLS.
    Http,
    /// SSH: `ssh://…` or `USER@HOST:PATH`.
    Ssh,
}

impl Transport {
    /// The transport of a URL of `spec.source.git.url`, which is of one of these forms.
    #[must_use]
    pub fn of(url: &str) -> Self {
        if url.starts_with("https://") || url.starts_with("http://") { Self::Http } else { Self::Ssh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_how_it_is_spoken_to() {
        for (url, is) in [
            ("https://git.example.com/wknd.git", Transport::Http),
            ("http://git/wknd.git", Transport::Http),
            ("ssh://git@example.com:2222/wknd.git", Transport::Ssh),
            ("git@example.com:wknd.git", Transport::Ssh),
        ] {
            assert_eq!(Transport::of(url), is, "{url}");
        }
    }
}
