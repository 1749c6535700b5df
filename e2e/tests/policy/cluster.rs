//! The cluster under test: what is installed on it, who asks, and a namespace that is gone afterwards.

use std::{collections::HashMap, future::Future, path::PathBuf, time::Duration};

use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};

/// What went wrong, told to the person who runs the test.
pub type Outcome<T = ()> = Result<T, String>;

/// Base installations of the repository, in the order in which they are applied.
const BASES: [&str; 5] =
    ["crd/crds.yaml", "rbac/operator.yaml", "rbac/users.yaml", "policy/requests.yaml", "policy/deletions.yaml"];
/// Stamps of the apiserver: Kubernetes 1.36.
const STAMPS: &str = "policy/stamps.yaml";
/// Annotation of what these tests installed.
const OURS: &str = "launchway.dev/installed-by";
const CALL: Duration = Duration::from_secs(20);
/// How long policies may take to become active after they were applied.
const ACTIVE: Duration = Duration::from_secs(90);
/// How long the apiserver may go on with the former version of a policy.
const TAKEN_OVER: Duration = Duration::from_secs(4);
static INSTALLED: OnceCell<Outcome> = OnceCell::const_new();

/// A namespace of the cluster under test.
pub struct Program {
    pub namespace: String,
    admin: Client,
    people: Mutex<HashMap<String, Client>>,
}

/// Executions that one set of policies judges: those of this repository, or a mutant of one of them.
pub struct Place {
    pub group: &'static str,
    /// What is on every execution here, so that policies of mutants can tell theirs.
    pub labels: Value,
}

impl Place {
    /// Where people work.
    pub fn real() -> Self {
        Self { group: launchway_crds::names::GROUP, labels: json!({}) }
    }

    pub fn resource(&self) -> ApiResource {
        ApiResource::from_gvk(&GroupVersionKind::gvk(self.group, launchway_crds::names::VERSION, "PipelineExecution"))
    }

    /// A new execution of Pipeline `wknd`, with a change merged into it.
    pub fn execution(&self, change: &Value) -> Outcome<DynamicObject> {
        let mut object = json!({
            "apiVersion": format!("{}/{}", self.group, launchway_crds::names::VERSION), "kind": "PipelineExecution",
            "metadata": {"generateName": "run-", "labels": self.labels}, "spec": {"pipelineRef": {"name": "wknd"}},
        });
        merge(&mut object, change);
        serde_json::from_value(object).map_err(|error| error.to_string())
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Runs `test` in a namespace of its own, on a cluster that has what this repository installs, and removes the namespace.
pub async fn in_a_program<F, Fut>(theme: &str, test: F)
where
    F: FnOnce(Program) -> Fut,
    Fut: Future<Output = Outcome<Vec<String>>>,
{
    let failures = match program(theme).await {
        Ok(program) => {
            let (admin, namespace) = (program.admin.clone(), program.namespace.clone());
            let failures = test(program).await;
            let _ = bounded(Api::<Namespace>::all(admin).delete(&namespace, &DeleteParams::background())).await;
            failures
        }
        Err(error) => Err(error),
    };
    match failures {
        Ok(failures) => {
            assert!(failures.is_empty(), "{} of the cases failed:\n{}", failures.len(), failures.join("\n"));
        }
        Err(error) => panic!("the test could not run: {error}"),
    }
}

async fn program(theme: &str) -> Outcome<Program> {
    let admin = client(None).await?;
    let all = Api::<Namespace>::all(admin.clone());
    let wanted = Namespace {
        metadata: ObjectMeta { generate_name: Some(format!("policy-{theme}-")), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let namespace = bounded(all.create(&PostParams::default(), &wanted)).await?.name_any();
    let program = Program { namespace, admin, people: Mutex::default() };
    let installed = INSTALLED.get_or_init(|| program.install()).await.clone();
    if let Err(error) = installed {
        let _ = bounded(all.delete(&program.namespace, &DeleteParams::background())).await;
        return Err(error);
    }
    Ok(program)
}

/// A client of the cluster that KUBECONFIG names, as its administrator or as somebody else.
async fn client(user: Option<&str>) -> Outcome<Client> {
    if std::env::var_os("KUBECONFIG").is_none() {
        return Err("KUBECONFIG is not set: export KUBECONFIG=\"$(e2e/cluster/up.sh | tail -1)\", or name a cluster of your own".into());
    }
    let mut config = Config::infer().await.map_err(|error| format!("the kubeconfig cannot be used: {error}"))?;
    config.auth_info.impersonate = user.map(str::to_string);
    Client::try_from(config).map_err(|error| format!("no client for the cluster: {error}"))
}

/// A call with an end: kube's client has no read time-out of its own.
pub async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Outcome<T> {
    match tokio::time::timeout(CALL, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(format!("{} {}", status.code, status.message)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the apiserver did not answer within {} s", CALL.as_secs())),
    }
}

impl Program {
    pub fn of_admin<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    pub fn admin(&self) -> Client {
        self.admin.clone()
    }

    /// Executions of this namespace as the administrator sees them.
    pub fn executions(&self, place: &Place) -> Api<DynamicObject> {
        Api::namespaced_with(self.admin.clone(), &self.namespace, &place.resource())
    }

    /// Executions of this namespace in the hands of `user`.
    pub async fn executions_of(&self, user: &str, place: &Place) -> Outcome<Api<DynamicObject>> {
        let mut people = self.people.lock().await;
        let client = match people.get(user) {
            Some(client) => client.clone(),
            None => people.entry(user.to_string()).or_insert(client(Some(user)).await?).clone(),
        };
        Ok(Api::namespaced_with(client, &self.namespace, &place.resource()))
    }

    /// Gives `user` a ClusterRole in this namespace.
    pub async fn bind(&self, user: &str, role: &str) -> Outcome {
        self.bind_to(user, "ClusterRole", role).await
    }

    /// Gives `user` exactly `rules` in this namespace, besides the roles that they have.
    pub async fn allow(&self, user: &str, rules: Vec<PolicyRule>) -> Outcome {
        self.also_allow(user, "own", rules).await
    }

    /// Gives `user` further `rules`, for the reason `why`.
    pub async fn also_allow(&self, user: &str, why: &str, rules: Vec<PolicyRule>) -> Outcome {
        let name = format!("{user}-{why}");
        let role =
            Role { metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() }, rules: Some(rules) };
        bounded(self.of_admin::<Role>().create(&PostParams::default(), &role)).await?;
        self.bind_to(user, "Role", &name).await
    }

    async fn bind_to(&self, user: &str, kind: &str, role: &str) -> Outcome {
        let group = "rbac.authorization.k8s.io".to_string();
        let binding = RoleBinding {
            metadata: ObjectMeta { name: Some(format!("{user}-{role}")), ..ObjectMeta::default() },
            role_ref: RoleRef { api_group: Some(group.clone()), kind: kind.into(), name: role.into() },
            subjects: Some(vec![Subject {
                api_group: Some(group),
                kind: "User".into(),
                name: user.into(),
                namespace: None,
            }]),
        };
        bounded(self.of_admin::<RoleBinding>().create(&PostParams::default(), &binding)).await.map(drop)
    }

    async fn install(&self) -> Outcome {
        println!("installing CRDs, roles and policies of config/ and waiting until they are active (about 5 s)");
        let mut changed = false;
        for base in BASES {
            changed |= self.apply_all(base).await?;
        }
        changed |= self.apply_all(STAMPS).await.map_err(|error| format!("{error} (stamps need Kubernetes 1.36)"))?;
        if changed {
            // Nothing tells when the apiserver has taken over a new version of a policy that acts already.
            tokio::time::sleep(TAKEN_OVER).await;
        }
        self.wait_until_active().await
    }

    /// Whether anything had to be changed.
    async fn apply_all(&self, base: &str) -> Outcome<bool> {
        let path = config_dir().join(base);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut changed = false;
        // The Lease's Role belongs to the operator's namespace: no test asks for it.
        let cluster_wide = |document: &Value| document["metadata"]["namespace"].is_null();
        for document in documents(&text)?.into_iter().filter(cluster_wide) {
            let object: DynamicObject = serde_json::from_value(document).map_err(|error| format!("{base}: {error}"))?;
            let what = format!("{} of {base}", object.name_any());
            changed |= self.apply(object).await.map_err(|error| format!("{what}: {error}"))?;
        }
        Ok(changed)
    }

    /// Installs an object, unless somebody else did: then it must be what this repository has.
    ///
    /// What is installed here is made so that a later `helm install` takes it over: Helm's marks, and Helm's field
    /// manager, which then also takes [`OURS`] away.
    async fn apply(&self, mut object: DynamicObject) -> Outcome<bool> {
        let types = object.types.clone().ok_or("has no kind")?;
        let gvk = GroupVersionKind::try_from(&types).map_err(|error| error.to_string())?;
        let resource = ApiResource::from_gvk(&gvk);
        let name = object.name_any();
        let api: Api<DynamicObject> = Api::all_with(self.admin.clone(), &resource);
        let live = bounded(api.get_opt(&name)).await?;
        let params = PatchParams::apply("helm").force();
        if let Some(live) = live.as_ref().filter(|live| !live.annotations().contains_key(OURS)) {
            let ours = bounded(api.patch(&name, &params.dry_run(), &Patch::Apply(&object))).await?;
            return if ours.data.get("spec") == live.data.get("spec") && ours.data.get("rules") == live.data.get("rules")
            {
                Ok(false)
            } else {
                Err("the cluster has another version, installed by somebody else: upgrade it from charts/launchway or config/ first".into())
            };
        }
        object.labels_mut().insert("app.kubernetes.io/managed-by".into(), "Helm".into());
        for (key, value) in [
            (OURS, "e2e/tests/policy"),
            ("meta.helm.sh/release-name", "launchway"),
            ("meta.helm.sh/release-namespace", "launchway-system"),
        ] {
            object.annotations_mut().insert(key.into(), value.into());
        }
        let applied = bounded(api.patch(&name, &params, &Patch::Apply(&object))).await?;
        Ok(live.is_none_or(|live| live.metadata.generation != applied.metadata.generation))
    }

    /// Policies act some time after they are stored: both were seen to act when this returns.
    async fn wait_until_active(&self) -> Outcome {
        let place = Place::real();
        let probe = place.execution(&json!({}))?;
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        self.allow("nobody", vec![rule("pipelineexecutions", &["create"], &[])]).await?;
        let nobody = self.executions_of("nobody", &place).await?;
        let deadline = tokio::time::Instant::now() + ACTIVE;
        loop {
            let refused = bounded(nobody.create(&dry_run, &probe)).await.map(drop);
            let stamped = bounded(self.executions(&place).create(&dry_run, &probe)).await;
            let stamped = stamped.map(|probe| probe.data["spec"]["requestedBy"].clone());
            if refused.as_ref().is_err_and(|error| error.contains("needs the verb run"))
                && stamped.as_ref().is_ok_and(Value::is_string)
            {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(format!(
                    "the policies did not become active within {} s: without the verb run: {refused:?}; stamped: {stamped:?}",
                    ACTIVE.as_secs(),
                ));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

pub fn rule(resource: &str, verbs: &[&str], names: &[&str]) -> PolicyRule {
    rule_of(launchway_crds::names::GROUP, resource, verbs, names)
}

pub fn rule_of(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> PolicyRule {
    let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(vec![resource.into()]),
        verbs: strings(verbs),
        resource_names: (!names.is_empty()).then(|| strings(names)),
        ..PolicyRule::default()
    }
}

pub fn config_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config")
}

/// The documents of a YAML file of this repository.
pub fn documents(text: &str) -> Outcome<Vec<Value>> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).map_err(|error| error.to_string()))
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}
