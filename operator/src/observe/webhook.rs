//! What the webhook receiver needs to know of pipelines: which of them have a webhook, and its secret.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use launchway_crds::{Pipeline, trigger::WebhookSecret};

use super::source::Key;
use crate::{context::Context, error::bounded, webhook::Watcher};

/// How long a secret is remembered: strangers must not be able to have the apiserver asked with every request.
const REMEMBERED: Duration = Duration::from_secs(30);

/// A secret as it was read, and when; none where there is none.
type Read = (Instant, Option<Vec<u8>>);

/// Pipelines in memory, and their secrets for a short while.
pub struct Webhooks {
    context: Arc<Context>,
    pipelines: Store<DeserializeGuard<Pipeline>>,
    /// One for each pipeline with a webhook at most.
    secrets: Mutex<HashMap<(Key, WebhookKey), Read>>,
}

/// Name and key of a Secret.
type WebhookKey = (String, String);

impl Webhooks {
    /// Of the pipelines in a store.
    #[must_use]
    pub fn new(context: Arc<Context>, pipelines: Store<DeserializeGuard<Pipeline>>) -> Self {
        Self { context, pipelines, secrets: Mutex::default() }
    }

    /// Where the secret of a pipeline's webhook is. Nothing is asked for this: a path that means nothing costs nothing.
    fn place(&self, key: &Key) -> Option<WebhookSecret> {
        let object = self.pipelines.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        let webhook = object.0.as_ref().ok()?.spec.starts_on_change()?.webhook?;
        Some(webhook.secret_ref)
    }

    async fn read(&self, key: &Key, place: WebhookSecret) -> Result<Option<Vec<u8>>, String> {
        let known = (key.clone(), (place.name, place.key));
        if let Some((at, secret)) = self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(&known)
            && at.elapsed() < REMEMBERED
        {
            return Ok(secret.clone());
        }
        let (name, field) = &known.1;
        let api: Api<Secret> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let found = bounded("read a webhook secret", api.get_opt(name)).await.map_err(|error| error.to_string())?;
        // A file that a Secret is made from ends with a new line.
        let secret = found.and_then(|secret| secret.data?.remove(field)).map(|bytes| bytes.0.trim_ascii_end().to_vec());
        if secret.is_none() {
            tracing::warn!(pipeline = %key, secret = name, key = field, "Webhook secret is missing: its webhook refuses everything");
        }
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        secrets.insert(known, (Instant::now(), secret.clone()));
        Ok(secret)
    }
}

impl Watcher for Webhooks {
    fn secret<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Vec<u8>>, String>> {
        Box::pin(async move {
            match self.place(key) {
                Some(place) => self.read(key, place).await,
                None => Ok(None),
            }
        })
    }

    fn ring(&self, key: &Key) {
        self.context.sources.ring(key);
    }
}
