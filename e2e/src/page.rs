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
            return get(&client()?, &url).await;
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

/// The body of a page that answers 200.
///
/// # Errors
/// When it answers anything else.
pub async fn get(client: &reqwest::Client, url: &str) -> Outcome<String> {
    let failed = |error: reqwest::Error| Failure::new(format!("GET {url}: {error:?}"));
    let answer = client.get(url).send().await.map_err(failed)?;
    let status = answer.status();
    let body = answer.text().await.map_err(failed)?;
    if status.as_u16() == 200 {
        Ok(body)
    } else {
        Err(Failure::new(format!("GET {url} answered {status}")).seen(&body))
    }
}

#[cfg(test)]
mod tests {
    use super::heading;

    #[test]
    fn the_heading_is_the_whole_element() {
        assert_eq!(heading("<p>x</p><h1 id=\"release\">Release 12</h1>"), Some("Release 12"));
        assert_eq!(heading("Release 1"), None);
    }
}
