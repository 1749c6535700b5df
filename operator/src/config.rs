//! What the operator is told when it starts: arguments or environment variables, checked once.

use std::net::SocketAddr;

use clap::{ArgAction, Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use launchway_crds::digest::{DigestError, ImageRef};

/// The least that a build needs: code, a 64 KiB window for each layer, and the lists of a large package.
const JOB_MEMORY_MIN: u64 = 64 << 20;

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Arguments of `launchway operator`.
#[derive(Args, Clone, Debug)]
pub struct OperatorArgs {
    /// The operator's own image; Jobs run it
    #[arg(long, env = "LAUNCHWAY_IMAGE", value_name = "REF")]
    pub image: String,
    /// Namespace of the Lease: the operator's own
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Base image of author and publish where an Environment names none, by digest
    #[arg(
        long,
        env = "LAUNCHWAY_RUNTIME_AEM",
        value_name = "REF@DIGEST",
        default_value = "",
        hide_default_value = true
    )]
    pub runtime_aem: String,
    /// Base image of the dispatcher where an Environment names none, by digest
    #[arg(
        long,
        env = "LAUNCHWAY_RUNTIME_DISPATCHER",
        value_name = "REF@DIGEST",
        default_value = "",
        hide_default_value = true
    )]
    pub runtime_dispatcher: String,
    /// Image that packages are built in where a pipeline names none, by digest; sources are fetched in it
    #[arg(long, env = "LAUNCHWAY_BUILDER", value_name = "REF@DIGEST", default_value = "", hide_default_value = true)]
    pub builder: String,
    /// Registries that base images are read from by plain HTTP; repeat it, or separate with commas
    #[arg(long, env = "LAUNCHWAY_PLAIN_HTTP", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub plain_http: Vec<String>,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "LAUNCHWAY_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address of the webhook receiver; without it there is none
    #[arg(long, env = "LAUNCHWAY_WEBHOOK_LISTEN", value_name = "ADDRESS")]
    pub webhook_listen: Option<SocketAddr>,
    /// Form of the log
    #[arg(long, env = "LAUNCHWAY_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,kube=debug`
    #[arg(long, env = "LAUNCHWAY_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Name of the Lease that decides which replica works
    #[arg(long, env = "LAUNCHWAY_LEASE_NAME", value_name = "NAME", default_value = "launchway")]
    pub lease_name: String,
    /// Whether to hold the Lease before working; only a single process outside a cluster may go without
    #[arg(
        long,
        env = "LAUNCHWAY_LEADER_ELECT",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub leader_elect: bool,
    /// ValidatingAdmissionPolicy, and binding of the same name with Deny, without which no approval is accepted
    #[arg(long, env = "LAUNCHWAY_APPROVAL_POLICY", value_name = "NAME", default_value = "launchway-requests")]
    pub approval_policy: String,
    /// Memory limit of a Build Images Job
    #[arg(long, env = "LAUNCHWAY_JOB_MEMORY", value_name = "QUANTITY", default_value = "256Mi")]
    pub job_memory: String,
}

/// The checked arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorConfig {
    /// The operator's own image; Jobs run it.
    pub image: String,
    /// Namespace of the Lease.
    pub namespace: String,
    /// Default base image of author and publish.
    pub runtime_aem: Option<ImageRef>,
    /// Default base image of the dispatcher.
    pub runtime_dispatcher: Option<ImageRef>,
    /// Default image that packages are built in.
    pub builder: Option<ImageRef>,
    /// Registries (`host` or `host:port`) whose base images are read by plain HTTP.
    pub plain_http: Vec<String>,
    /// Address of the web server.
    pub listen: SocketAddr,
    /// Address of the webhook receiver.
    pub webhook_listen: Option<SocketAddr>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: String,
    /// Name of the Lease.
    pub lease_name: String,
    /// Whether the Lease is needed.
    pub leader_elect: bool,
    /// Name of the admission policy and its binding.
    pub approval_policy: String,
    /// Memory limit of a Build Images Job.
    pub job_memory: Quantity,
}

/// Why the arguments are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An argument that cannot be empty.
    #[error("--{0} is empty: give it a value")]
    Empty(&'static str),
    /// Not a name of an object.
    #[error(
        "--{argument} `{value}` is no name of a Kubernetes object: lower-case letters, digits, `-` and `.`, at most 253"
    )]
    Name {
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: String,
    },
    /// Not an image by digest.
    #[error("--{argument}: {source}")]
    Image {
        /// The argument.
        argument: &'static str,
        /// What is wrong with it.
        source: DigestError,
    },
    /// Not a registry.
    #[error("--plain-http `{0}` is no registry: expected HOST or HOST:PORT, without a scheme or a path")]
    Registry(String),
    /// Not a reference of an image.
    #[error("--image `{0}` has blanks in it: expected REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:…")]
    OwnImage(String),
    /// Not a quantity, or too little.
    #[error(
        "--job-memory `{0}` is no amount of memory of at least 64Mi: write whole bytes, or a number with Ki, Mi, Gi, k, M or G"
    )]
    Memory(String),
}

impl TryFrom<OperatorArgs> for OperatorConfig {
    type Error = ConfigError;

    fn try_from(args: OperatorArgs) -> Result<Self, ConfigError> {
        if args.image.trim().is_empty() {
            return Err(ConfigError::Empty("image"));
        }
        if args.image.contains(char::is_whitespace) {
            return Err(ConfigError::OwnImage(args.image));
        }
        let plain_http: Vec<String> =
            args.plain_http.iter().map(|host| host.trim().to_string()).filter(|host| !host.is_empty()).collect();
        if let Some(bad) = plain_http.iter().find(|host| host.contains('/') || host.contains(char::is_whitespace)) {
            return Err(ConfigError::Registry(bad.clone()));
        }
        if memory(&args.job_memory).is_none_or(|bytes| bytes < JOB_MEMORY_MIN) {
            return Err(ConfigError::Memory(args.job_memory));
        }
        Ok(Self {
            namespace: object_name("namespace", args.namespace)?,
            lease_name: object_name("lease-name", args.lease_name)?,
            approval_policy: object_name("approval-policy", args.approval_policy)?,
            runtime_aem: image("runtime-aem", &args.runtime_aem)?,
            runtime_dispatcher: image("runtime-dispatcher", &args.runtime_dispatcher)?,
            builder: image("builder", &args.builder)?,
            image: args.image,
            plain_http,
            listen: args.listen,
            webhook_listen: args.webhook_listen,
            log_format: args.log_format,
            log: args.log,
            leader_elect: args.leader_elect,
            job_memory: Quantity(args.job_memory),
        })
    }
}

/// A chart passes an empty value for what is not set.
fn image(argument: &'static str, text: &str) -> Result<Option<ImageRef>, ConfigError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    text.trim().parse().map(Some).map_err(|source| ConfigError::Image { argument, source })
}

fn object_name(argument: &'static str, value: String) -> Result<String, ConfigError> {
    if value.is_empty() {
        return Err(ConfigError::Empty(argument));
    }
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = value.bytes().next().is_some_and(letter) && value.bytes().next_back().is_some_and(letter);
    if ends && value.len() <= 253 && value.bytes().all(|byte| letter(byte) || byte == b'-' || byte == b'.') {
        Ok(value)
    } else {
        Err(ConfigError::Name { argument, value })
    }
}

/// Bytes of a whole quantity.
pub(crate) fn memory(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        operator: OperatorArgs,
    }

    fn parse(more: &[&str]) -> Result<OperatorConfig, String> {
        let all = ["launchway", "--image", "registry.example.com/launchway:1", "--namespace", "launchway"];
        let program = Program::try_parse_from(all.iter().chain(more)).map_err(|error| error.to_string())?;
        OperatorConfig::try_from(program.operator).map_err(|error| error.to_string())
    }

    /// A configuration with nothing but what has to be given.
    pub fn defaults() -> OperatorConfig {
        parse(&[]).unwrap()
    }

    #[test]
    fn defaults_are_those_of_a_small_install() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.lease_name, "launchway");
        assert_eq!(config.approval_policy, "launchway-requests");
        assert_eq!(config.job_memory, Quantity("256Mi".into()));
        assert!(config.webhook_listen.is_none(), "strangers are only heard where that is asked for");
        assert!(config.leader_elect && config.runtime_aem.is_none() && config.plain_http.is_empty());
    }

    #[test]
    fn empty_values_of_a_chart_mean_not_set() {
        let config = parse(&["--runtime-aem", "", "--plain-http", ""]).unwrap();
        assert_eq!((config.runtime_aem, config.plain_http), (None, vec![]));
    }

    #[test]
    fn lists_and_switches() {
        let digest = format!("r.example.com/sling@sha256:{}", "ab".repeat(32));
        let config = parse(&[
            "--plain-http",
            "10.111.0.2:5000,localhost:5000",
            "--plain-http=r:80",
            "--leader-elect=false",
            "--runtime-aem",
            &digest,
            "--log-format",
            "text",
        ])
        .unwrap();
        assert_eq!(config.plain_http, ["10.111.0.2:5000", "localhost:5000", "r:80"]);
        assert!(!config.leader_elect);
        assert_eq!(config.runtime_aem.unwrap().to_string(), digest);
        assert_eq!(config.log_format, LogFormat::Text);
    }

    #[test]
    fn refusals_name_the_argument() {
        for (more, part) in [
            (["--runtime-aem", "r/sling:latest"], "--runtime-aem"),
            (["--plain-http", "http://r:5000"], "--plain-http"),
            (["--job-memory", "16Mi"], "64Mi"),
            (["--job-memory", "1.5Gi"], "--job-memory"),
            (["--lease-name", "Launchway"], "--lease-name"),
            (["--listen", "8080"], "--listen"),
        ] {
            let error = parse(&more).unwrap_err();
            assert!(error.contains(part), "{more:?}: {error}");
        }
    }
}
