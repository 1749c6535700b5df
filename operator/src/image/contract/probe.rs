//! How the kubelet learns whether a container is ready, and whether it is alive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ContractError, Labels, PREFIX, error, port};

/// A question to a container. A command can look at anything in there, but each time costs a process that runc starts; a
/// request costs next to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// A program with its arguments, run in the container. Exit 0 means yes.
    Command(#[schemars(length(min = 1, max = 32), inner(length(max = 512)))] Vec<String>),
    /// A GET by the kubelet. A status from 200 to 399 means yes: this is the kubelet's rule, a redirect counts.
    Http {
        /// Path, with a query if there is one.
        #[schemars(length(max = 512))]
        path: String,
        /// The port that answers.
        #[schemars(range(min = 1, max = 65535))]
        port: u16,
    },
}

/// Both questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Whether visitors may come.
    pub ready: Probe,
    /// Whether it has to be restarted; without it only a container that ended is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Probe>,
}

impl Probes {
    /// Reads both from the labels. `visitors` is the port that answers when no other is stated.
    ///
    /// # Errors
    /// The label concerned and what it must be.
    pub(super) fn of(labels: &Labels<'_>, visitors: u16) -> Result<Self, ContractError> {
        let stated = labels.get("probe-port").map(|value| port("probe-port", value)).transpose()?;
        let at = stated.unwrap_or(visitors);
        let ready = one(labels, "ready", at)?.ok_or_else(|| {
            let rule = format!(
                "it is missing, and so is {PREFIX}http.ready; without one of them nothing proves that a release runs"
            );
            error(&format!("{PREFIX}command.ready"), rule)
        })?;
        let probes = Self { ready, live: one(labels, "live", at)? };
        if stated.is_some() && probes.ports().next().is_none() {
            let rule = format!("neither {PREFIX}http.ready nor {PREFIX}http.live is there: nobody asks at this port");
            return Err(error(&format!("{PREFIX}probe-port"), rule));
        }
        Ok(probes)
    }

    /// The ports that the kubelet asks at.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        std::iter::once(&self.ready).chain(&self.live).filter_map(|probe| match probe {
            Probe::Command(_) => None,
            Probe::Http { port, .. } => Some(*port),
        })
    }
}

/// A question in one of its two forms, or none.
fn one(labels: &Labels<'_>, name: &str, port: u16) -> Result<Option<Probe>, ContractError> {
    let command = labels.command(&format!("command.{name}"))?;
    let key = format!("http.{name}");
    match (command.is_empty(), labels.get(&key)) {
        (true, None) => Ok(None),
        (false, None) => Ok(Some(Probe::Command(command))),
        (true, Some(value)) => Ok(Some(Probe::Http { path: path(&format!("{PREFIX}{key}"), value)?, port })),
        (false, Some(_)) => {
            let rule = format!("there is {PREFIX}command.{name} as well: state one of the two");
            Err(error(&format!("{PREFIX}{key}"), rule))
        }
    }
}

/// A path as it stands in a request. Two slashes in front would be a host.
fn path(label: &str, value: &str) -> Result<String, ContractError> {
    let printable = value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if !value.starts_with('/') || value.starts_with("//") || value.len() > 512 || !printable {
        let rule = format!(
            "`{}` is not the path of a URL: one slash in front, at most 512 bytes, no space, no `#`",
            value.escape_debug()
        );
        return Err(error(label, rule));
    }
    Ok(value.to_owned())
}
