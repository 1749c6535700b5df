//! The demo site's page as a visitor sees it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::{
    Failure, Outcome,
    cluster::{call, until},
    program::{PAGE, Program},
};

const HEADING: &str = "<h1 id=\"release\">";

/// Header by which the demo site's dispatcher configuration tells its release.
const DISPATCHER: &str = "x-launchway-demo-dispatcher";

/// What a visitor got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The page.
    pub body: String,
    /// Release of the dispatcher's configuration, `N.0.0`.
    pub dispatcher: String,
}

impl Answer {
    /// The release that served the page, when it was one release: that of the dispatcher and of its publish.
    ///
    /// # Errors
    /// When the page tells none, or the two differ.
    pub fn release(&self) -> Outcome<String> {
        let heading = heading(&self.body).ok_or_else(|| Failure::new("the page has no heading").seen(&self.body))?;
        if heading.strip_prefix("Release ").map(|number| format!("{number}.0.0")).as_ref() == Some(&self.dispatcher) {
            return Ok(heading.to_string());
        }
        Err(Failure::new(format!(
            "two releases in one answer: the page says '{heading}', the dispatcher {}",
            self.dispatcher
        )))
    }
}

/// The text of the page's heading: `Release N`, or what is there instead.
#[must_use]
pub fn heading(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once(HEADING)?;
    rest.split_once("</h1>").map(|(heading, _)| heading.trim())
}

impl Program {
    /// Name of the Service where visitors reach an Environment.
    #[must_use]
    pub fn front(environment: &str) -> String {
        format!("{environment}-dispatcher")
    }

    /// The cluster's address of the Service where visitors reach an Environment.
    ///
    /// # Errors
    /// When it has none.
    pub async fn address(&self, environment: &str) -> Outcome<String> {
        let api: Api<Service> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let service = call(api.get(&Self::front(environment))).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).filter(|ip| ip != "None");
        Ok(format!("http://{}", address.ok_or_else(|| format!("Service {} has no address", Self::front(environment)))?))
    }

    /// The page through the Environment's dispatchers. On a cluster of the user's own it goes through the apiserver,
    /// as its Services may not be reachable from here.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn page(&self, environment: &str, path: &str) -> Outcome<String> {
        if self.cluster.local {
            let url = format!("{}{path}", self.address(environment).await?);
            return get(&client()?, &url).await.map(|answer| answer.body);
        }
        let front = Self::front(environment);
        let uri = format!("/api/v1/namespaces/{}/services/{front}:http/proxy{path}", self.namespace);
        let request = http::Request::get(uri).body(vec![]).map_err(|error| Failure::new(error.to_string()))?;
        call(self.cluster.client.request_text(request)).await
    }

    /// The heading of the demo page.
    ///
    /// # Errors
    /// When there is none.
    pub async fn heading(&self, environment: &str) -> Outcome<String> {
        let body = self.page(environment, PAGE).await?;
        heading(&body)
            .map(str::to_string)
            .ok_or_else(|| Failure::new(format!("the page of {environment} has no heading")).seen(&body))
    }

    /// Waits until the page says so.
    ///
    /// # Errors
    /// After a minute.
    pub async fn serves(&self, environment: &str, wanted: &str) -> Outcome {
        until(&format!("{environment} serves {wanted}"), Duration::from_secs(60), || async {
            let seen = self.heading(environment).await?;
            Ok(if seen == wanted { Ok(()) } else { Err(seen) })
        })
        .await
    }
}

/// A client of pages: no proxy, no waiting for ever.
///
/// # Errors
/// When none can be made.
pub fn client() -> Outcome<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .tls_certs_only([])
        .build()
        .map_err(|error| Failure::new(format!("no HTTP client can be made: {error}")))
}

/// A page that answers 200.
///
/// # Errors
/// When it answers anything else.
pub async fn get(client: &reqwest::Client, url: &str) -> Outcome<Answer> {
    let failed = |error: reqwest::Error| Failure::new(format!("GET {url}: {error:?}"));
    let answer = client.get(url).send().await.map_err(failed)?;
    let status = answer.status();
    let header = answer.headers().get(DISPATCHER).and_then(|value| value.to_str().ok());
    let dispatcher = header.unwrap_or_default().to_string();
    let body = answer.text().await.map_err(failed)?;
    if status.as_u16() != 200 {
        return Err(Failure::new(format!("GET {url} answered {status}")).seen(&body));
    }
    Ok(Answer { body, dispatcher })
}

#[cfg(test)]
mod tests {
    use super::{Answer, heading};

    #[test]
    fn a_page_of_one_release_through_a_dispatcher_of_another_is_no_answer() {
        let answer = |dispatcher: &str| Answer {
            body: "<h1 id=\"release\">Release 2</h1>".into(),
            dispatcher: dispatcher.into(),
        };
        assert_eq!(answer("2.0.0").release().ok().as_deref(), Some("Release 2"));
        assert!(answer("1.0.0").release().is_err());
    }

    #[test]
    fn the_heading_is_the_whole_element() {
        assert_eq!(heading("<p>x</p><h1 id=\"release\">Release 12</h1>"), Some("Release 12"));
        assert_eq!(heading("Release 1"), None);
    }
}
