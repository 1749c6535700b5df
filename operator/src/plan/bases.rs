//! The base images of an Environment.

use launchway_crds::environment::{Bare, EnvironmentSpec, ReleaseImages, Runtime};

/// The base images of an Environment: its own, or those that the operator was installed with.
#[must_use]
pub fn of(spec: &EnvironmentSpec, default: &Runtime) -> Runtime {
    let own = spec.runtime.clone().unwrap_or_default();
    Runtime {
        aem: own.aem.or_else(|| default.aem.clone()),
        dispatcher: own.dispatcher.or_else(|| default.dispatcher.clone()),
        image_pull_secrets: own.image_pull_secrets,
        bare: own.bare,
    }
}

/// Both base images, where they are to run before anything was deployed, and both are known.
#[must_use]
pub fn images(spec: &EnvironmentSpec, default: &Runtime) -> Option<ReleaseImages> {
    let Runtime { aem, dispatcher, image_pull_secrets: _, bare } = of(spec, default);
    match bare {
        Bare::Enabled => Some(ReleaseImages { aem: aem?, dispatcher: dispatcher? }),
        Bare::Disabled => None,
    }
}
