//! Signing in: from the registry's challenge to the header of the next attempt.

use reqwest::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use std::sync::PoisonError;
use url::Url;

use super::answer::{capped, unreachable};
use super::auth::{Challenge, challenge};
use super::client::{Ask, Client};
use super::credentials::Credential;
use super::error::{ErrorKind, RegistryError};

const TOKEN_CAP: usize = 64 << 10;

/// What a token has to allow, one scope a repository.
fn scope(ask: &Ask<'_>) -> String {
    let actions = match (&ask.method, ask.write) {
        (&Method::DELETE, _) => "pull,delete",
        (_, true) => "pull,push",
        (_, false) => "pull",
    };
    let own = format!("repository:{}:{actions}", ask.repository.path());
    match ask.reads {
        Some(other) => format!("{own} repository:{}:pull", other.path()),
        None => own,
    }
}

fn key(ask: &Ask<'_>) -> (String, String) {
    (ask.repository.registry().to_owned(), scope(ask))
}

impl Client {
    fn credential(&self, ask: &Ask<'_>) -> Option<&Credential> {
        self.options.credentials.get(ask.repository)
    }

    /// The `Authorization` header to start with.
    pub(super) fn authorization(&self, ask: &Ask<'_>) -> Option<String> {
        let key = key(ask);
        // A token that was given for a mount also covers the plain upload that follows when the mount is declined.
        let found = self
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .range(key.clone()..)
            .next()
            .filter(|((host, scope), _)| {
                *host == key.0 && (*scope == key.1 || scope.starts_with(&format!("{} ", key.1)))
            })
            .map(|(_, token)| format!("Bearer {token}"));
        if found.is_some() {
            return found;
        }
        let basic = self.basic.lock().unwrap_or_else(PoisonError::into_inner).contains(ask.repository.registry());
        match self.credential(ask) {
            Some(credential @ Credential::Token(_)) => Some(credential.header()),
            Some(credential) if basic => Some(credential.header()),
            _ => None,
        }
    }

    /// Answers a 401: remembers how to authenticate. The next attempt uses it.
    pub(super) async fn authenticate(&self, ask: &Ask<'_>, headers: &HeaderMap) -> Result<(), RegistryError> {
        let key = key(ask);
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let plain = self.is_plain(&key.0);
        let header: Vec<&str> =
            headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        match challenge(&header.join(", "), &key.0, plain)? {
            Challenge::Basic => {
                if self.credential(ask).is_none() {
                    return Err(self.refused(ask, StatusCode::UNAUTHORIZED, "it asks for a user and a password"));
                }
                self.basic.lock().unwrap_or_else(PoisonError::into_inner).insert(key.0);
            }
            Challenge::Bearer { realm, service } => {
                let token = self.token(ask, realm, service.as_deref(), &key.1).await?;
                self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(key, token);
            }
        }
        Ok(())
    }

    /// Asks a token server. Its redirects are not followed: credentials go where the registry's challenge says, or
    /// nowhere.
    async fn token(
        &self,
        ask: &Ask<'_>,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
    ) -> Result<String, RegistryError> {
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scope.split(' ') {
                query.append_pair("scope", scope);
            }
        }
        let place = format!("{} (token server {})", ask.repository, realm.host_str().unwrap_or_default());
        let patience = &self.options.patience;
        let mut request = self.http(&realm)?.get(realm.clone()).timeout(patience.answer);
        if let Some(credential @ Credential::Password { .. }) = self.credential(ask) {
            request = request.header(AUTHORIZATION, credential.header());
        }
        let response = tokio::time::timeout(patience.idle, request.send())
            .await
            .map_err(|_| RegistryError::new(ErrorKind::Unreachable, &place, "no token: no answer", "Try again later"))?
            .map_err(|error| unreachable(&place, &error))?;
        let status = response.status();
        let (kind, remedy) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                (ErrorKind::Refused, "Check the credentials of this registry")
            }
            _ if status.is_redirection() => {
                (ErrorKind::Refused, "Credentials do not follow redirects; check the registry's settings")
            }
            _ => (ErrorKind::Unreachable, "Try again later"),
        };
        if !status.is_success() {
            return Err(RegistryError::new(kind, &place, format!("no token: {status}"), remedy));
        }
        let body = capped(response, TOKEN_CAP, &place, patience).await?;
        let value: serde_json::Value =
            serde_json::from_slice(&body).map_err(|_| RegistryError::invalid(&place, "the token is not JSON"))?;
        ["token", "access_token"]
            .iter()
            .find_map(|key| value.get(*key)?.as_str())
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(str::to_owned)
            .ok_or_else(|| RegistryError::invalid(&place, "its answer has no token"))
    }

    /// A request that the registry refuses, and what to do about it.
    pub(super) fn refused(&self, ask: &Ask<'_>, status: StatusCode, detail: &str) -> RegistryError {
        let remedy = match (self.credential(ask).is_some(), ask.write) {
            (false, _) => "No credentials for this registry are configured: add a dockerconfigjson secret for it",
            (true, true) if ask.method == Method::DELETE => {
                "The configured credentials do not allow deleting from this repository"
            }
            (true, true) => "The configured credentials do not allow pushing to this repository",
            (true, false) => "The configured credentials do not allow pulling from this repository",
        };
        RegistryError::new(
            ErrorKind::Refused,
            &ask.repository.to_string(),
            format!("{} {}: {detail}", status.as_u16(), status.canonical_reason().unwrap_or_default()),
            remedy,
        )
    }
}
