//! Ingresses of an Environment: the way of visitors to the dispatchers, and of editors to the author.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use launchway_crds::{Environment, names::labels, network::Route};

use crate::plan::environment::{
    ServiceName,
    objects::{Further, Side},
};

use super::{meta, service::HTTP_NAME};

/// The Ingress of a side; none if the route does not have that side.
#[must_use]
pub fn ingress(environment: &Environment, side: Side) -> Option<Ingress> {
    let owner = environment.metadata.name.as_deref().unwrap_or_default();
    let route = environment.spec.route.as_ref()?;
    let (hosts, tls, service) = match side {
        Side::Visitors => (&route.hosts, &route.tls_secret_name, ServiceName::Dispatcher),
        Side::Editors => {
            let author = route.author.as_ref()?;
            (&author.hosts, &author.tls_secret_name, ServiceName::Author)
        }
    };
    let Route { annotations, ingress_class_name, hosts: _, tls_secret_name: _, author: _ } = route;
    let mut metadata = meta::of_environment(
        environment,
        Further::Route(side).of(owner),
        meta::map([(labels::TIER, side.tier().as_str())]),
    );
    metadata.annotations = (!annotations.is_empty()).then(|| annotations.clone());
    let path = HTTPIngressPath {
        path: Some("/".into()),
        path_type: "Prefix".into(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: service.of(owner, ""),
                port: Some(ServiceBackendPort { name: Some(HTTP_NAME.into()), number: None }),
            }),
            resource: None,
        },
    };
    Some(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: ingress_class_name.clone(),
            default_backend: None,
            tls: tls
                .as_ref()
                .map(|secret| vec![IngressTLS { hosts: Some(hosts.clone()), secret_name: Some(secret.clone()) }]),
            rules: Some(
                hosts
                    .iter()
                    .map(|host| IngressRule {
                        host: Some(host.clone()),
                        http: Some(HTTPIngressRuleValue { paths: vec![path.clone()] }),
                    })
                    .collect(),
            ),
        }),
        status: None,
    })
}
