//! A program: a namespace with two Environments, a Pipeline, and the people who work there.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use launchway_crds::{Environment, PipelineExecution};
use serde_json::{Value, json};

use crate::{
    Failure, Outcome,
    cluster::{Cluster, call, until},
    external_metrics,
    images::{Images, Runtime},
    people,
};

/// The Environment where releases are tested.
pub const STAGE: &str = "stage";
/// The Environment that they go to.
pub const PRODUCTION: &str = "prod";
/// The Pipeline.
pub const PIPELINE: &str = "demo";
/// What every good release's page has.
pub const HEADING: &str = "<h1 id=\"release\">Release ";
/// The page that tells the release.
pub const PAGE: &str = "/content/launchway-demo/home.html";
/// Who may run pipelines.
pub const DEVELOPER: &str = "dana";
/// Who may approve.
pub const APPROVER: &str = "alex";
/// Label of namespaces that scenarios made, with the scenario's name.
pub const SCENARIO: &str = "launchway.dev/e2e-scenario";

/// A hundred Environments may be in it.
const GONE: Duration = Duration::from_secs(900);
const MANAGER: &str = "launchway-e2e";

/// What differs from program to program.
#[derive(Clone, Debug)]
pub struct Options {
    /// Publish+dispatcher pairs of production.
    pub pairs: i32,
    /// Pairs that a rollout may add meanwhile.
    pub surge: i32,
    /// What author and publish are.
    pub runtime: Runtime,
    /// How long a pod may take to get ready.
    pub ready_timeout: &'static str,
    /// The scenario whose it is: its next run removes it, and so does one that runs alone. Without one it stays.
    pub scenario: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Self { pairs: 2, surge: 1, runtime: Runtime::Sling, ready_timeout: "10m", scenario: None }
    }
}

impl Options {
    /// A scenario in which author and publish start in a moment.
    #[must_use]
    pub fn stand_in(pairs: i32) -> Self {
        Self { pairs, runtime: Runtime::StandIn, ready_timeout: "2m", ..Self::default() }
    }

    /// The same, of this scenario.
    #[must_use]
    pub fn of(self, scenario: &'static str) -> Self {
        Self { scenario: Some(scenario), ..self }
    }
}

/// A program on a cluster.
#[derive(Clone)]
pub struct Program {
    /// The cluster.
    pub cluster: Cluster,
    /// Its namespace.
    pub namespace: String,
    /// What its Environments and tests run.
    pub images: Images,
}

impl Program {
    /// Makes the namespace with everything in it, or brings what is there up to date.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn set_up(cluster: &Cluster, images: &Images, namespace: &str, options: &Options) -> Outcome<Self> {
        let program = Self::empty(cluster, images, namespace, options.scenario).await?;
        for (name, type_, pairs) in [(STAGE, "Stage", 1), (PRODUCTION, "Production", options.pairs)] {
            program.apply(&program.environment_object(name, type_, pairs, options)).await?;
        }
        program.apply(&program.pipeline(&images.tester)).await?;
        for (user, role) in [(DEVELOPER, "launchway-developer"), (APPROVER, "launchway-approver")] {
            program.apply(&people::binding(user, role)).await?;
        }
        Ok(program)
    }

    /// Makes the namespace alone; `scenario` as in [`Options`].
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn empty(cluster: &Cluster, images: &Images, namespace: &str, scenario: Option<&str>) -> Outcome<Self> {
        let program = Self { cluster: cluster.clone(), namespace: namespace.into(), images: images.clone() };
        program.make_namespace(scenario).await?;
        Ok(program)
    }

    async fn make_namespace(&self, scenario: Option<&str>) -> Outcome {
        let all: Api<Namespace> = Api::all(self.cluster.client.clone());
        // The strictest level of Pod Security: what Launchway makes must run there.
        let mut labels = vec![("pod-security.kubernetes.io/enforce", "restricted")];
        labels.extend(scenario.map(|name| (SCENARIO, name)));
        let wanted = Namespace {
            metadata: ObjectMeta {
                name: Some(self.namespace.clone()),
                labels: Some(labels.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        if call(all.get_opt(&self.namespace)).await?.is_none() {
            call(all.create(&PostParams::default(), &wanted)).await?;
        }
        Ok(())
    }

    /// The Pipeline as it is applied; tests change parts of it.
    #[must_use]
    pub fn pipeline(&self, tester: &str) -> Value {
        let repository = |of: &str| format!("{}/{}/{of}", self.cluster.registry, self.namespace);
        json!({
            "apiVersion": "launchway.dev/v1alpha1",
            "kind": "Pipeline",
            "metadata": {"name": PIPELINE},
            "spec": {
                "type": "FullStack",
                "source": {"artifact": {"repository": repository("artifacts"), "tag": "main", "plainHTTP": true}},
                "images": {"repository": repository("images"), "plainHTTP": true},
                "stage": {
                    "environment": STAGE,
                    "tests": {
                        "smoke": [{"path": PAGE, "status": 200, "contains": HEADING}],
                        "functional": {
                            "image": tester,
                            "variables": {
                                "LAUNCHWAY_TEST_PATH": "/content/launchway-demo/packages.html",
                                "LAUNCHWAY_TEST_CONTAINS": HEADING,
                            },
                            "timeout": "3m",
                        },
                    },
                },
                "production": {"environment": PRODUCTION, "approval": {"required": true, "timeout": "336h"}},
            },
        })
    }

    /// An Environment that fits a small machine.
    #[must_use]
    pub fn environment_object(&self, name: &str, type_: &str, pairs: i32, options: &Options) -> Value {
        // Sling is what the chart was installed with: an Environment has to name it no more than a user's.
        let (memory, mut runtime) = match options.runtime {
            Runtime::Sling => ("384Mi", json!({})),
            Runtime::StandIn => ("32Mi", json!({"aem": self.images.standin, "dispatcher": self.images.httpd})),
        };
        // Base images that start while packages are built would take the small machine from what is measured.
        runtime["bare"] = json!("Disabled");
        let aem = json!({"requests": {"cpu": "50m", "memory": memory}, "limits": {"memory": "1Gi"}});
        let dispatcher = json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}});
        json!({
            "apiVersion": "launchway.dev/v1alpha1",
            "kind": "Environment",
            "metadata": {"name": name},
            "spec": {
                "type": type_,
                "runtime": runtime,
                "author": {"resources": aem},
                "publish": {"replicas": pairs, "resources": aem},
                "dispatcher": {"resources": dispatcher, "warmUp": [PAGE]},
                "rollout": {"surge": options.surge, "readyTimeout": options.ready_timeout},
                "variables": [{"name": "DEMO_GREETING", "value": format!("Greetings from {name}")}],
            },
        })
    }

    /// Applies an object to the namespace.
    ///
    /// # Errors
    /// When the apiserver refuses it.
    pub async fn apply(&self, object: &Value) -> Outcome {
        let dynamic: DynamicObject =
            serde_json::from_value(object.clone()).map_err(|error| Failure::new(error.to_string()))?;
        let types = dynamic.types.clone().ok_or("an object without a kind")?;
        let gvk = GroupVersionKind::try_from(&types).map_err(|error| error.to_string())?;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.client.clone(), &self.namespace, &ApiResource::from_gvk(&gvk));
        let name = dynamic.metadata.name.clone().unwrap_or_default();
        call(api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(object)))
            .await
            .map_err(|failure| failure.during(&format!("{} {name}", types.kind)))?;
        Ok(())
    }

    /// The Environments.
    #[must_use]
    pub fn environments(&self) -> Api<Environment> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// The executions, for the administrator.
    #[must_use]
    pub fn executions(&self) -> Api<PipelineExecution> {
        Api::namespaced(self.cluster.client.clone(), &self.namespace)
    }

    /// An Environment as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn environment(&self, name: &str) -> Outcome<Environment> {
        call(self.environments().get(name)).await
    }

    /// Deletes the namespace and waits until it is gone.
    ///
    /// # Errors
    /// When it stays.
    pub async fn remove(&self) -> Outcome {
        remove(&self.cluster, &self.namespace).await
    }

    /// Deletes the namespace, whose pods end while something else begins.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn let_go(&self) -> Outcome {
        let_go(&self.cluster, &self.namespace).await.map(drop)
    }
}

/// Deletes a namespace and waits until it is gone.
///
/// # Errors
/// When it stays.
pub async fn remove(cluster: &Cluster, namespace: &str) -> Outcome {
    if let_go(cluster, namespace).await? { gone(cluster, namespace).await } else { Ok(()) }
}

/// Deletes a namespace, if it is there, before it what the apiserver has served from it. Its pods get their time to end, and
/// nobody has to wait for that.
async fn let_go(cluster: &Cluster, namespace: &str) -> Outcome<bool> {
    external_metrics::remove(cluster, namespace).await?;
    let all: Api<Namespace> = Api::all(cluster.client.clone());
    if call(all.get_opt(namespace)).await?.is_none() {
        return Ok(false);
    }
    call(all.delete(namespace, &DeleteParams::background())).await?;
    Ok(true)
}

async fn gone(cluster: &Cluster, namespace: &str) -> Outcome {
    let all: Api<Namespace> = Api::all(cluster.client.clone());
    let environments: Api<Environment> = Api::namespaced(cluster.client.clone(), namespace);
    until(&format!("namespace {namespace} is gone"), GONE, || async {
        // A scenario that failed may have left executions at work and no operator that could take their finalizers away.
        for held in call(environments.list(&ListParams::default())).await?.items {
            if held.metadata.deletion_timestamp.is_some() && held.metadata.finalizers.is_some() {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let name = held.metadata.name.unwrap_or_default();
                call(environments.patch(&name, &PatchParams::default(), &patch)).await?;
            }
        }
        let left = call(all.get_opt(namespace)).await?;
        Ok(left.map_or(Ok(()), |left| Err(format!("{:?}", left.status.and_then(|status| status.conditions)))))
    })
    .await
}

/// Removes what earlier scenarios left, or an earlier run of this one.
///
/// # Errors
/// When a namespace stays.
pub async fn remove_scenarios(cluster: &Cluster, only: Option<&str>) -> Outcome {
    let left = let_scenarios_go(cluster, only).await?;
    for namespace in &left {
        println!("  removing namespace {namespace} (up to 20 s)");
        gone(cluster, namespace).await?;
    }
    Ok(())
}

/// Deletes the namespaces of all scenarios, or of one. Whoever has to have the cluster to itself waits for their end; others
/// begin meanwhile.
///
/// # Errors
/// When the apiserver refuses.
pub async fn let_scenarios_go(cluster: &Cluster, only: Option<&str>) -> Outcome<Vec<String>> {
    let all: Api<Namespace> = Api::all(cluster.client.clone());
    let selector = only.map_or(SCENARIO.into(), |name| format!("{SCENARIO}={name}"));
    let left = call(all.list(&ListParams::default().labels(&selector))).await?;
    let names: Vec<String> = left.items.into_iter().filter_map(|namespace| namespace.metadata.name).collect();
    for name in &names {
        let_go(cluster, name).await?;
    }
    Ok(names)
}
