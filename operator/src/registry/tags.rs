//! The tags of a repository.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::answer::{capped, error_detail, next_page};
use super::auth::same_host;
use super::client::{Client, MANIFEST_CAP};
use super::error::{ErrorKind, RegistryError};
use super::repository::Repository;

/// Most tags of one repository that are listed.
pub const MAX_TAGS: usize = 10_000;
/// Tags that are asked for at once; registries may give fewer.
const PAGE: &str = "1000";
/// Most pages of a list that are asked for.
const MAX_PAGES: usize = 200;

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository; none when the registry does not know it.
    ///
    /// # Errors
    /// When the registry refuses, is not reachable, or does not give the whole list: nobody may take a part for it.
    pub async fn list_tags(&self, repository: &Repository) -> Result<BTreeSet<String>, RegistryError> {
        let place = repository.to_string();
        let invalid = |what: String| Err(RegistryError::invalid(&place, what));
        let mut ask = self.ask(Method::GET, repository, "tags/list")?;
        ask.url.query_pairs_mut().append_pair("n", PAGE);
        let mut all = BTreeSet::new();
        for page in 0..MAX_PAGES {
            let response = self.follow(&ask).await?;
            let status = response.status();
            let next = next_page(response.headers(), &ask.url);
            let body = capped(response, MANIFEST_CAP, &place, &self.options.patience).await?;
            // A proxy may answer an unknown address with a page of its own: that there are no tags is the registry's to say.
            if page == 0 && status == StatusCode::NOT_FOUND && error_detail(&body).starts_with("NAME_UNKNOWN ") {
                return Ok(all);
            }
            if status != StatusCode::OK {
                return invalid(format!("a list of tags with status {status}"));
            }
            let Page { tags } = match serde_json::from_slice(&body) {
                Ok(page) => page,
                Err(error) => return invalid(format!("its list of tags cannot be read: {error}")),
            };
            let before = all.len();
            for tag in tags.unwrap_or_default() {
                if !is_tag(&tag) {
                    return invalid(format!("its list of tags has `{}`", tag.chars().take(200).collect::<String>()));
                }
                all.insert(tag);
            }
            if all.len() > MAX_TAGS {
                let what = format!("more than {MAX_TAGS} tags");
                let remedy = "Remove tags that nobody needs, or use another repository";
                return Err(RegistryError::new(ErrorKind::Invalid, &place, what, remedy));
            }
            let Some(next) = next else { return Ok(all) };
            if !same_host(&next, repository.registry(), self.is_plain(repository.registry())) {
                let host = next.host_str().unwrap_or_default();
                return invalid(format!("its list of tags goes on at another host ({host}), which is not followed"));
            }
            if all.len() == before {
                return invalid("its list of tags goes on without another tag".to_owned());
            }
            ask.url = next;
        }
        invalid(format!("more than {MAX_PAGES} pages of tags"))
    }
}

/// Whether a text is a tag (distribution-spec, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
        && text.bytes().next().is_some_and(word)
}
