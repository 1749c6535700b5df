//! How commands reach a registry.

use std::collections::BTreeSet;

use clap::Args;

use crate::registry::{Authorities, Client, ClientOptions, Credentials, RegistryError};

/// How to reach a registry, shared by commands.
#[derive(Debug, Clone, Default, Args)]
pub struct RegistryArgs {
    /// Speak plain HTTP to this registry (HOST[:PORT]); may be given several times
    #[arg(long = "plain-http", value_name = "HOST[:PORT]")]
    pub plain_http: Vec<String>,
    /// File with credentials in Docker's format [default: Docker's own file]
    #[arg(long = "registry-config", value_name = "FILE", env = "LAUNCHWAY_REGISTRY_CONFIG")]
    pub registry_config: Option<std::path::PathBuf>,
    /// File with certificates (PEM) of authorities to trust besides those of this machine
    #[arg(long = "registry-ca", value_name = "FILE", env = "LAUNCHWAY_REGISTRY_CA")]
    pub registry_ca: Option<std::path::PathBuf>,
}

impl RegistryArgs {
    /// A client for these settings.
    ///
    /// # Errors
    /// When the credentials cannot be read.
    pub fn client(&self) -> Result<Client, RegistryError> {
        let credentials = match &self.registry_config {
            Some(path) if !path.exists() => {
                return Err(RegistryError::local(format!("{} does not exist", path.display())));
            }
            Some(path) => Credentials::from_file(path)?,
            None => Credentials::of_user()?,
        };
        let plain_http: BTreeSet<String> = self.plain_http.iter().cloned().collect();
        let authorities = match &self.registry_ca {
            Some(path) if !path.exists() => {
                return Err(RegistryError::local(format!("{} does not exist", path.display())));
            }
            Some(path) => Authorities::from_file(path)?,
            None => Authorities::default(),
        };
        Client::new(ClientOptions { plain_http, credentials, authorities, ..ClientOptions::default() })
    }
}
