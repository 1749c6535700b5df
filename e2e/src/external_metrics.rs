//! The metrics API of a cluster whose autoscalers do what a scenario wants: the apiserver hands questions about external
//! metrics on to a pod that answers what it was last told.
//!
//! An APIService is of the whole cluster, and one whose pod is gone keeps every namespace from being deleted: the
//! namespaces' controller has to know all kinds of objects first. So it is made when its pod answers, it stays no longer
//! than the pod (`program::remove` takes it away before the namespace), and scenarios beside it notice nothing.

use std::time::Duration;

use http::Request;
use k8s_openapi::{
    ByteString, apimachinery::pkg::apis::meta::v1::Status, kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call, until},
    process::Program as Process,
    program::Program,
    server::Server,
};

const NAME: &str = "external-metrics";
const GROUP: &str = "external.metrics.k8s.io";
/// What the apiserver knows it by: one in a cluster.
const SERVICE: &str = "v1beta1.external.metrics.k8s.io";
const READY: Duration = Duration::from_secs(60);

/// The API.
pub struct ExternalMetrics {
    program: Program,
}

impl ExternalMetrics {
    /// Starts it in the program's namespace, and waits until the apiserver reaches it.
    ///
    /// # Errors
    /// When somebody else serves this API already, or this one does not get ready.
    pub async fn start(program: &Program) -> Outcome<Self> {
        let services: Api<APIService> = Api::all(program.cluster.client.clone());
        if let Some(other) = call(services.get_opt(SERVICE)).await?
            && !is_served_from(&other, &program.namespace)
        {
            return Err(Failure::new(format!("the cluster has an APIService {SERVICE} already"))
                .remedy("delete it if nobody needs it, or use the local cluster"));
        }
        let certificate = keys(program).await?;
        server(program).await?;
        let api = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": SERVICE },
            "spec": {
                "group": GROUP, "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "caBundle": certificate, "service": { "name": NAME, "namespace": program.namespace },
            },
        });
        call(services.patch(SERVICE, &PatchParams::apply(NAME), &Patch::Apply(&api))).await?;
        until("the apiserver reaches the API of external metrics", READY, || async {
            let status = call(services.get(SERVICE)).await?.status.and_then(|status| status.conditions);
            let available = status.iter().flatten().any(|is| is.type_ == "Available" && is.status == "True");
            Ok(if available { Ok(()) } else { Err(format!("{status:?}")) })
        })
        .await?;
        Ok(Self { program: program.clone() })
    }

    /// Sets a metric of the program's namespace. `selector`: its labels, as in `environment=prod`.
    ///
    /// # Errors
    /// When the API is not reached.
    pub async fn set(&self, metric: &str, selector: &str, value: &str) -> Outcome {
        let selector = selector.replace('=', "%3D");
        let namespace = &self.program.namespace;
        let path = format!("/apis/{GROUP}/v1beta1/namespaces/{namespace}/{metric}?labelSelector={selector}");
        let request = Request::put(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(json!({ "value": value }).to_string().into_bytes())
            .map_err(|error| error.to_string())?;
        call(self.program.cluster.client.request::<Status>(request)).await.map(drop)
    }
}

async fn server(program: &Program) -> Outcome {
    let script = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": NAME },
        "data": { "main.py": include_str!("external_metrics.py") },
    });
    program.apply(&script).await?;
    let server = Server {
        name: NAME,
        container: json!({
            "image": program.images.standin, "command": ["python3", "-B", "-I", "/program/main.py"],
            "readinessProbe": {
                "httpGet": { "scheme": "HTTPS", "port": 8443, "path": format!("/apis/{GROUP}/v1beta1") },
                "periodSeconds": 1,
            },
            "volumeMounts": [{ "name": "program", "mountPath": "/program" }, { "name": "tls", "mountPath": "/tls" }],
        }),
        volumes: json!([
            { "name": "program", "configMap": { "name": NAME } }, { "name": "tls", "secret": { "secretName": NAME } },
        ]),
        ports: json!([{ "name": "https", "port": 443, "targetPort": 8443 }]),
    };
    server.start(program).await
}

/// Makes the Secret with a key and a certificate of the Service; the certificate is what the apiserver has to trust.
async fn keys(program: &Program) -> Outcome<ByteString> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (key, certificate) = (folder.path().join("tls.key"), folder.path().join("tls.crt"));
    Process::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj".into(), format!("/CN={NAME}"), "-addext".into()])
        .args([format!("subjectAltName=DNS:{NAME}.{}.svc", program.namespace)])
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .remedy("openssl makes the certificate of the API: install it")
        .run()
        .await?;
    let read = |path: &std::path::Path| std::fs::read(path).map(ByteString).map_err(|error| error.to_string());
    let (key, certificate) = (read(&key)?, read(&certificate)?);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": NAME }, "type": "kubernetes.io/tls",
        "data": { "tls.key": key, "tls.crt": certificate },
    });
    program.apply(&secret).await?;
    Ok(certificate)
}

/// Takes away the APIs that the apiserver knows as served from this namespace.
///
/// # Errors
/// When the apiserver does not answer.
pub async fn remove(cluster: &Cluster, namespace: &str) -> Outcome {
    let services: Api<APIService> = Api::all(cluster.client.clone());
    for service in call(services.list(&ListParams::default())).await?.items {
        if is_served_from(&service, namespace) {
            call(services.delete(&service.name_any(), &DeleteParams::default())).await.map(drop)?;
        }
    }
    Ok(())
}

fn is_served_from(api: &APIService, namespace: &str) -> bool {
    let service = api.spec.as_ref().and_then(|spec| spec.service.as_ref());
    service.is_some_and(|service| service.namespace.as_deref() == Some(namespace))
}
