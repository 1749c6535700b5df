//! The variables of an Environment as immutable objects, named after what they contain.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, ConfigMapEnvSource, EnvFromSource, PodSpec, Secret, SecretEnvSource},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use launchway_crds::{
    Environment,
    environment::Tier,
    names::{FIELD_MANAGER, labels},
    variable::{SECRET_VALUE_MAX, SecretKeyRef, Variable},
};
use serde::Serialize;

use crate::{image::blob::Hasher, plan::environment::configuration_name};

use super::meta;

/// The manager of what a version of the operator made that did not give its name: so the apiserver writes that.
const NAMELESS: &str = "unknown";
/// Hex digits of the hash in names.
const HASH_LENGTH: usize = 10;
/// What the variables of a tier may take in one object: the apiserver stores at most 1 MiB.
const SIZE_MAX: usize = 900 * 1024;
/// How many problems are told at once.
const PROBLEMS_MAX: usize = 5;

/// The variables of the tiers that have any, with their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    hashes: BTreeMap<Tier, String>,
    tiers: BTreeMap<Tier, Variables>,
}

/// The variables of one tier.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
struct Variables {
    plain: BTreeMap<String, String>,
    secret: BTreeMap<String, String>,
}

impl Variables {
    fn hash(&self, environment: &Environment, tier: Tier) -> String {
        // Who reads a name must not learn that two Environments, or two tiers, have the same secret.
        let owner = (&environment.metadata.namespace, &environment.metadata.name);
        let content = serde_json::json!([owner, tier, self]).to_string();
        Hasher::of(content.as_bytes()).hex()[..HASH_LENGTH].to_owned()
    }
}

/// Values are left out: they are secrets.
impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configuration").field("hashes", &self.hashes).finish_non_exhaustive()
    }
}

/// Secrets that the variables of an Environment refer to.
#[must_use]
pub fn secrets(environment: &Environment) -> BTreeSet<String> {
    let referred = |variable: &Variable| variable.secret_key_ref.as_ref().map(|secret| secret.name.clone());
    environment.spec.variables.iter().filter_map(referred).collect()
}

/// Whether a configuration object is this Environment's: it owns it; or nobody does and the labels say so, as after an
/// Environment of the same name was deleted with `--cascade=orphan`.
#[must_use]
pub fn is_of(object: &ObjectMeta, environment: &Environment) -> bool {
    let owners = object.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() {
        return object.labels.as_ref().is_some_and(|marks| {
            marks.contains_key(labels::VARIABLES)
                && marks.get(labels::ENVIRONMENT) == environment.metadata.name.as_ref()
        });
    }
    owners.iter().any(|owner| Some(&owner.uid) == environment.metadata.uid.as_ref())
}

/// Whether somebody else than the operator made an object: nobody else's data ever gets into one that is immutable.
#[must_use]
pub fn is_made_by_others(object: &ObjectMeta) -> bool {
    let mut managers = object.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref());
    !managers.any(|manager| manager == FIELD_MANAGER || manager == NAMELESS)
}

/// Whether the objects of a tier hold the variables of this hash. Whoever restores a backup makes them anew, too.
#[must_use]
pub fn holds(environment: &Environment, tier: Tier, hash: &str, map: &ConfigMap, secret: Option<&Secret>) -> bool {
    let text = |(name, value): (&String, &ByteString)| Some((name.clone(), String::from_utf8(value.0.clone()).ok()?));
    let plain = map.data.clone().unwrap_or_default();
    let secret: Option<BTreeMap<String, String>> =
        secret.into_iter().flat_map(|secret| secret.data.iter().flatten()).map(text).collect();
    secret.is_some_and(|secret| Variables { plain, secret }.hash(environment, tier) == hash)
}

impl Configuration {
    /// The variables of an Environment with their values. `found` has every Secret of [`secrets`] that exists.
    ///
    /// # Errors
    /// Which variables have no usable value, why, and what to do.
    pub fn resolve(environment: &Environment, found: &BTreeMap<String, Secret>) -> Result<Self, String> {
        let mut tiers: BTreeMap<Tier, Variables> = BTreeMap::new();
        let mut problems = vec![];
        for variable in &environment.spec.variables {
            let value = match (&variable.value, &variable.secret_key_ref) {
                (_, Some(reference)) => secret_value(found, reference),
                (value, None) => Ok(value.clone().unwrap_or_default()),
            };
            match value {
                Err(problem) => problems.push(format!("variable {}: {problem}", variable.name)),
                Ok(value) => {
                    for tier in Tier::ALL.into_iter().filter(|tier| variable.is_for(*tier)) {
                        let variables = tiers.entry(tier).or_default();
                        let secret = variable.secret_key_ref.is_some();
                        let values = if secret { &mut variables.secret } else { &mut variables.plain };
                        values.insert(variable.name.clone(), value.clone());
                    }
                }
            }
        }
        problems.extend(tiers.iter().filter_map(|(tier, variables)| too_large(*tier, variables)));
        if !problems.is_empty() {
            let more = problems.len().saturating_sub(PROBLEMS_MAX);
            problems.truncate(PROBLEMS_MAX);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            return Err(format!("{}{more}", problems.join("; ")));
        }
        let hash = |(tier, variables): (&Tier, &Variables)| (*tier, variables.hash(environment, *tier));
        Ok(Self { hashes: tiers.iter().map(hash).collect(), tiers })
    }

    /// Hashes of every name and value, of the tiers that have any.
    #[must_use]
    pub const fn hashes(&self) -> &BTreeMap<Tier, String> {
        &self.hashes
    }

    /// The ConfigMap with the plain variables of a tier, none if it has no variables. It is there also without plain ones, so
    /// that whoever finds it finds the Secret of its name.
    #[must_use]
    pub fn config_map(&self, owner: &Environment, tier: Tier) -> Option<ConfigMap> {
        Some(ConfigMap {
            metadata: self.metadata(owner, tier)?,
            data: Some(self.tiers.get(&tier)?.plain.clone()),
            immutable: Some(true),
            binary_data: None,
        })
    }

    /// The Secret with the other variables of a tier, none if it has no variables; the dispatcher never has one.
    #[must_use]
    pub fn secret(&self, owner: &Environment, tier: Tier) -> Option<Secret> {
        if tier == Tier::Dispatcher {
            return None;
        }
        let variables = self.tiers.get(&tier)?;
        let bytes = |(name, value): (&String, &String)| (name.clone(), ByteString(value.clone().into_bytes()));
        Some(Secret {
            metadata: self.metadata(owner, tier)?,
            data: Some(variables.secret.iter().map(bytes).collect()),
            immutable: Some(true),
            type_: Some("Opaque".into()),
            string_data: None,
        })
    }

    fn metadata(&self, owner: &Environment, tier: Tier) -> Option<ObjectMeta> {
        let hash = self.hashes.get(&tier)?;
        let name = configuration_name(owner.metadata.name.as_deref().unwrap_or_default(), tier, hash);
        let marks = meta::map([(labels::TIER, tier.as_str()), (labels::VARIABLES, hash)]);
        Some(meta::of_environment(owner, name, marks))
    }
}

fn secret_value(found: &BTreeMap<String, Secret>, reference: &SecretKeyRef) -> Result<String, String> {
    let SecretKeyRef { name, key } = reference;
    let remedy = "or correct spec.variables of the Environment";
    let secret = found.get(name).ok_or_else(|| format!("Secret {name} does not exist: create it, {remedy}"))?;
    let bytes = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(|| format!("Secret {name} has no key {key}: add it, {remedy}"))?;
    let text = std::str::from_utf8(&bytes.0).ok().filter(|text| !text.contains('\0'));
    let text =
        text.ok_or_else(|| format!("key {key} of Secret {name} is no text: variables are UTF-8 without zero bytes"))?;
    if text.chars().count() > SECRET_VALUE_MAX {
        return Err(format!("key {key} of Secret {name} has more than {SECRET_VALUE_MAX} characters: shorten it"));
    }
    Ok(text.to_owned())
}

fn too_large(tier: Tier, variables: &Variables) -> Option<String> {
    let size = |values: &BTreeMap<String, String>| values.iter().map(|(name, value)| name.len() + value.len()).sum();
    let largest: usize = [&variables.plain, &variables.secret].into_iter().map(size).max().unwrap_or_default();
    (largest > SIZE_MAX).then(|| {
        format!("the variables of {} have {largest} bytes, more than {SIZE_MAX}: shorten or remove some", tier.as_str())
    })
}

/// Where a container of a tier gets its variables from.
pub(super) fn env_from(environment: &str, tier: Tier, hash: &str) -> Vec<EnvFromSource> {
    let name = configuration_name(environment, tier, hash);
    let plain = EnvFromSource {
        config_map_ref: Some(ConfigMapEnvSource { name: name.clone(), optional: None }),
        ..EnvFromSource::default()
    };
    let secret =
        EnvFromSource { secret_ref: Some(SecretEnvSource { name, optional: None }), ..EnvFromSource::default() };
    if tier == Tier::Dispatcher { vec![plain] } else { vec![plain, secret] }
}

/// Configuration objects that a pod's containers take variables from.
#[must_use]
pub fn referred(pod: &PodSpec) -> BTreeSet<String> {
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    let sources = containers.flat_map(|container| container.env_from.iter().flatten());
    let names = sources.flat_map(|source| {
        let plain = source.config_map_ref.as_ref().map(|reference| reference.name.clone());
        let secret = source.secret_ref.as_ref().map(|reference| reference.name.clone());
        plain.into_iter().chain(secret)
    });
    names.collect()
}

/// Hash of the variables that a pod of a tier has.
#[must_use]
pub fn in_force(environment: &str, tier: Tier, pod: &PodSpec) -> Option<String> {
    let prefix = configuration_name(environment, tier, "");
    referred(pod).iter().find_map(|name| name.strip_prefix(&prefix).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(variables: &serde_json::Value) -> Environment {
        serde_json::from_value(json!({
            "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
            "metadata": { "name": "prod", "namespace": "wknd", "uid": "env-uid" },
            "spec": { "type": "Production", "variables": variables },
        }))
        .unwrap()
    }

    fn secret(value: &[u8]) -> BTreeMap<String, Secret> {
        let data = [("key".to_owned(), ByteString(value.to_vec()))].into();
        [("api".to_owned(), Secret { data: Some(data), ..Secret::default() })].into()
    }

    fn variables() -> serde_json::Value {
        json!([
            { "name": "API_URL", "value": "https://api" },
            { "name": "API_KEY", "secretKeyRef": { "name": "api", "key": "key" }, "services": ["publish"] },
        ])
    }

    #[test]
    fn names_follow_content_and_values_go_where_they_are_for() {
        let owner = environment(&variables());
        assert_eq!(secrets(&owner), ["api".to_owned()].into());
        let one = Configuration::resolve(&owner, &secret(b"s3cret")).unwrap();
        let same = Configuration::resolve(&owner, &secret(b"s3cret")).unwrap();
        let other = Configuration::resolve(&owner, &secret(b"s3cret2")).unwrap();
        assert_eq!(one, same);
        let differs = |tier| one.hashes()[&tier] != other.hashes()[&tier];
        assert_eq!(Tier::ALL.map(differs), [false, true, false], "only who gets a value is replaced for it");
        let object = serde_json::to_value(one.config_map(&owner, Tier::Dispatcher)).unwrap();
        assert_eq!(
            object["metadata"]["name"],
            format!("prod-dispatcher-variables-{}", one.hashes()[&Tier::Dispatcher])
        );
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "env-uid");
        assert_eq!((&object["immutable"], &object["data"]), (&json!(true), &json!({ "API_URL": "https://api" })));
        let keys = |tier| one.secret(&owner, tier).map(|secret| secret.data.unwrap().into_keys().collect::<Vec<_>>());
        assert_eq!(keys(Tier::Publish), Some(vec!["API_KEY".to_owned()]));
        assert_eq!((keys(Tier::Author), keys(Tier::Dispatcher)), (Some(vec![]), None));
        assert!(!format!("{one:?}").contains("s3cret"));
    }

    #[test]
    fn what_an_object_holds_is_told_by_its_name() {
        let owner = environment(&variables());
        let one = Configuration::resolve(&owner, &secret(b"s3cret")).unwrap();
        for tier in Tier::ALL {
            let (map, secret) = (one.config_map(&owner, tier).unwrap(), one.secret(&owner, tier));
            let hash = &one.hashes()[&tier];
            assert!(holds(&owner, tier, hash, &map, secret.as_ref()), "{tier:?}");
            let other = ConfigMap { data: Some([("API_URL".into(), "https://evil".into())].into()), ..map.clone() };
            assert!(!holds(&owner, tier, hash, &other, secret.as_ref()), "{tier:?}");
            for value in [&b"other"[..], b"\xff"] {
                let data = Some([("API_KEY".into(), ByteString(value.to_vec()))].into());
                assert!(!holds(&owner, tier, hash, &map, Some(&Secret { data, ..Secret::default() })), "{tier:?}");
            }
        }
    }

    #[test]
    fn who_made_an_object_is_read_from_its_managers() {
        let made_by = |managers: &[&str]| {
            let entries: Vec<_> = managers.iter().map(|manager| json!({ "manager": manager })).collect();
            is_made_by_others(&serde_json::from_value(json!({ "managedFields": entries })).unwrap())
        };
        for (managers, others) in [
            (&["launchway"][..], false),
            (&["unknown"], false),
            (&["kubectl-label", "launchway"], false),
            (&["kubectl-create"], true),
            (&["kubectl-client-side-apply", "velero-server"], true),
            (&[], true),
        ] {
            assert_eq!(made_by(managers), others, "{managers:?}");
        }
    }

    #[test]
    fn a_tier_without_variables_has_no_objects() {
        let owner = environment(&json!([{ "name": "API_URL", "value": "x", "services": ["dispatcher"] }]));
        let found = Configuration::resolve(&owner, &BTreeMap::new()).unwrap();
        assert_eq!(found.hashes().keys().collect::<Vec<_>>(), [&Tier::Dispatcher]);
        assert_eq!((found.config_map(&owner, Tier::Author), found.secret(&owner, Tier::Author)), (None, None));
        assert_eq!(Configuration::resolve(&environment(&json!([])), &BTreeMap::new()), Ok(Configuration::default()));
    }

    #[test]
    fn the_same_secret_in_another_environment_has_another_name() {
        let owner = environment(&variables());
        let mut neighbour = owner.clone();
        neighbour.metadata.name = Some("other".into());
        let hashes = |owner: &Environment| Configuration::resolve(owner, &secret(b"x")).unwrap().hashes;
        let (one, other) = (hashes(&owner), hashes(&neighbour));
        assert!(Tier::ALL.iter().all(|tier| one[tier] != other[tier]));
        assert_ne!(one[&Tier::Author], one[&Tier::Dispatcher], "what is in them is the same");
    }

    #[test]
    fn what_a_pod_has_is_read_from_its_template() {
        let pod = |sources| PodSpec {
            containers: vec![k8s_openapi::api::core::v1::Container { env_from: Some(sources), ..Default::default() }],
            ..PodSpec::default()
        };
        let pod = pod(env_from("prod", Tier::Publish, "h1"));
        assert_eq!(referred(&pod), ["prod-publish-variables-h1".to_owned()].into());
        assert_eq!(in_force("prod", Tier::Publish, &pod).as_deref(), Some("h1"));
        assert_eq!(in_force("prod", Tier::Author, &pod), None);
    }

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let owner = environment(&variables());
        let refused = |found: &BTreeMap<String, Secret>| Configuration::resolve(&owner, found).unwrap_err();
        assert!(refused(&BTreeMap::new()).starts_with("variable API_KEY: Secret api does not exist: create it"));
        let empty = [("api".to_owned(), Secret::default())].into();
        assert!(refused(&empty).contains("Secret api has no key key: add it"));
        assert!(refused(&secret(b"\xff")).contains("is no text"));
        assert!(refused(&secret(b"a\0b")).contains("is no text"));
        assert!(refused(&secret("ü".repeat(501).as_bytes())).contains("more than 500 characters"));
        assert!(Configuration::resolve(&owner, &secret("ü".repeat(500).as_bytes())).is_ok());
    }

    #[test]
    fn many_problems_are_told_shortly_and_too_much_is_refused() {
        let many: Vec<_> = (0..9)
            .map(|at| json!({ "name": format!("KEY_{at}"), "secretKeyRef": { "name": format!("s{at}"), "key": "k" } }))
            .collect();
        let told = Configuration::resolve(&environment(&json!(many)), &BTreeMap::new()).unwrap_err();
        assert!(told.contains("KEY_4") && !told.contains("KEY_5") && told.ends_with("and 4 more"), "{told}");
        let large: Vec<_> =
            (0..200).map(|at| json!({ "name": format!("KEY_{at}"), "value": "\u{1F600}".repeat(2048) })).collect();
        let told = Configuration::resolve(&environment(&json!(large)), &BTreeMap::new()).unwrap_err();
        assert!(told.contains("the variables of author have"), "{told}");
    }
}
