//! What a base image promises, stated in its labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod probe;
#[cfg(test)]
mod tests;

pub use probe::{Probe, Probes};

/// Prefix of all labels.
pub const PREFIX: &str = "dev.launchway.";

/// Which image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageTier {
    /// Author and publish: one image, run modes decide.
    Aem,
    /// The web server in front of publish.
    Dispatcher,
}

impl ImageTier {
    /// `aem` or `dispatcher`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aem => "aem",
            Self::Dispatcher => "dispatcher",
        }
    }
}

/// Commands run in the container, each a program with its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Commands {
    /// Run before a container is stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 512)))]
    pub drain: Vec<String>,
    /// Test of the configuration, run as an init container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 512)))]
    pub config_test: Vec<String>,
}

/// The contract of one image, parsed and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeContract {
    /// Which image it is.
    pub tier: ImageTier,
    /// The port that serves HTTP.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The port that serves counters of what visitors got; only of a `dispatcher`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub metrics_port: Option<u16>,
    /// Numeric user that the image runs as; never 0.
    #[schemars(range(min = 1))]
    pub user: i64,
    /// Numeric group, when the image states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<i64>,
    /// Folder for package files. Always set for `aem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub install_path: Option<String>,
    /// File that says what must be installed. Always set for `aem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub index_path: Option<String>,
    /// Writable repository folder. Always set for `aem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub data_path: Option<String>,
    /// Folder of the configuration. Always set for `dispatcher`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub config_path: Option<String>,
    /// Writable cache folder of a dispatcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cache_path: Option<String>,
    /// Further folders that must be writable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub writable_paths: Vec<String>,
    /// Files below the configuration folder that a customer's configuration never replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 256)))]
    pub immutable_files: Vec<String>,
    /// How the kubelet learns whether it is ready, and whether it is alive.
    pub probes: Probes,
    /// Commands.
    pub commands: Commands,
    /// Signal that stops the container, when the image states one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub stop_signal: Option<String>,
}

/// Why an image's configuration is not a contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {label}: {rule}")]
pub struct ContractError {
    /// The label, or `User` for the image's user.
    pub label: String,
    /// What is wrong and what it should be.
    pub rule: String,
}

struct Labels<'a>(BTreeMap<&'a str, &'a str>);

fn error(label: &str, rule: impl Into<String>) -> ContractError {
    ContractError { label: label.to_owned(), rule: rule.into() }
}

impl Labels<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(format!("{PREFIX}{key}").as_str()).copied().map(str::trim).filter(|value| !value.is_empty())
    }

    fn need(&self, key: &str) -> Result<&str, ContractError> {
        self.get(key)
            .ok_or_else(|| error(&format!("{PREFIX}{key}"), "it is missing; a Launchway base image must state it"))
    }

    fn path(&self, key: &str) -> Result<Option<String>, ContractError> {
        self.get(key).map(|value| absolute(&format!("{PREFIX}{key}"), value)).transpose()
    }

    fn need_path(&self, key: &str) -> Result<Option<String>, ContractError> {
        self.need(key)?;
        self.path(key)
    }

    fn command(&self, key: &str) -> Result<Vec<String>, ContractError> {
        let label = format!("{PREFIX}{key}");
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let words: Vec<String> = serde_json::from_str(value)
            .map_err(|_| error(&label, "it is not a JSON array of strings, as in [\"/bin/ready\",\"--quick\"]"))?;
        if words.is_empty()
            || words.len() > 32
            || words.iter().any(|word| word.len() > 512 || word.contains('\0'))
            || words[0].is_empty()
        {
            return Err(error(&label, "a command has 1 to 32 words of at most 512 bytes"));
        }
        Ok(words)
    }
}

fn absolute(label: &str, value: &str) -> Result<String, ContractError> {
    let trimmed = value.trim().trim_end_matches('/');
    let parts = || trimmed.split('/').skip(1);
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.starts_with(".wh.");
    if !trimmed.starts_with('/') || trimmed.len() > 256 || parts().any(bad) || trimmed.chars().any(char::is_control) {
        return Err(error(
            label,
            format!("`{}` is not an absolute path of at most 256 bytes without `.` and `..`", value.escape_debug()),
        ));
    }
    Ok(trimmed.to_owned())
}

fn port(key: &str, value: &str) -> Result<u16, ContractError> {
    let port = value.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| error(&format!("{PREFIX}{key}"), format!("`{value}` is not a port from 1 to 65535")))
}

/// The port of counters, which is not that of visitors.
fn metrics_port(labels: &Labels<'_>, visitors: u16) -> Result<Option<u16>, ContractError> {
    let key = "metrics-port";
    let Some(port) = labels.get(key).map(|value| port(key, value)).transpose()? else { return Ok(None) };
    if port == visitors {
        return Err(error(&format!("{PREFIX}{key}"), format!("`{port}` is the port of visitors: use another")));
    }
    Ok(Some(port))
}

fn list(value: Option<&str>) -> impl Iterator<Item = &str> {
    value.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
}

impl RuntimeContract {
    /// Reads the contract from an image configuration (the JSON that the manifest's `config` names).
    ///
    /// # Errors
    /// The label concerned and what it must be.
    pub fn from_config(config: &Value) -> Result<Self, ContractError> {
        let inner = config.get("config").unwrap_or(&Value::Null);
        let labels = Labels(
            inner
                .get("Labels")
                .and_then(Value::as_object)
                .map(|map| map.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect())
                .unwrap_or_default(),
        );
        match labels.need("contract")? {
            "1" => {}
            other => {
                let rule = format!("`{other}` is not a version that this Launchway knows; it knows 1");
                return Err(error("dev.launchway.contract", rule));
            }
        }
        let tier = match labels.need("tier")? {
            "aem" => ImageTier::Aem,
            "dispatcher" => ImageTier::Dispatcher,
            other => {
                return Err(error("dev.launchway.tier", format!("`{other}` is neither aem nor dispatcher")));
            }
        };
        let port = port("port", labels.need("port")?)?;
        let (user, group) = numeric_user(inner.get("User").and_then(Value::as_str).unwrap_or_default())?;
        let aem = tier == ImageTier::Aem;
        let metrics_port = if aem { None } else { metrics_port(&labels, port)? };
        let probes = Probes::of(&labels, port)?;
        let commands =
            Commands { drain: labels.command("command.drain")?, config_test: labels.command("command.config-test")? };
        let writable_paths = list(labels.get("writable-paths"))
            .map(|path| absolute("dev.launchway.writable-paths", path))
            .collect::<Result<Vec<_>, _>>()?;
        let immutable_files: Vec<String> = list(labels.get("immutable-files")).map(str::to_owned).collect();
        let relative = |path: &String| {
            path.len() <= 256 && !path.starts_with('/') && !path.split('/').any(|part| part.is_empty() || part == "..")
        };
        if writable_paths.len() > 16 {
            return Err(error("dev.launchway.writable-paths", "more than 16 folders"));
        }
        if immutable_files.len() > 256 || !immutable_files.iter().all(relative) {
            return Err(error(
                "dev.launchway.immutable-files",
                "it must be at most 256 relative paths, separated by commas",
            ));
        }
        Ok(Self {
            tier,
            port,
            metrics_port,
            user,
            group,
            install_path: if aem { labels.need_path("install-path")? } else { None },
            index_path: if aem { labels.need_path("index-path")? } else { None },
            data_path: if aem { labels.need_path("data-path")? } else { None },
            config_path: if aem { None } else { labels.need_path("config-path")? },
            cache_path: labels.path("cache-path")?,
            writable_paths,
            immutable_files,
            probes,
            commands,
            stop_signal: inner
                .get("StopSignal")
                .and_then(Value::as_str)
                .map(|signal| signal.chars().take(32).collect()),
        })
    }
}

fn numeric_user(user: &str) -> Result<(i64, Option<i64>), ContractError> {
    let (user_part, group_part) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    match (number(user_part), group_part.map(number)) {
        (Some(user), None) if user > 0 => Ok((user, None)),
        (Some(user), Some(Some(group))) if user > 0 => Ok((user, Some(group))),
        _ => Err(error(
            "User",
            format!(
                "`{}` is not a numeric user other than 0: pods run as non-root, which only a number proves",
                user.escape_debug()
            ),
        )),
    }
}
