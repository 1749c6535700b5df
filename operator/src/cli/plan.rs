//! `launchway plan`: the objects that a release would be on an Environment, and how they differ from what is there. Made by
//! the operator's own builders; nothing is written.

use clap::{Args, ValueEnum};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::Service,
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{Api, Resource, ResourceExt, api::ListParams};
use launchway_crds::{
    Environment,
    digest::ImageRef,
    environment::{ReleaseImages, Runtime},
    names::labels,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    CliError, End,
    plan_diff::{Changes, draw},
    registry::RegistryArgs,
    say,
    session::{Connection, Session},
};
use crate::{
    build::BaseRef,
    client::{CALL, within},
    image::contract::RuntimeContract,
    plan::{bases, environment::world::Content},
    registry::{Client, RegistryError},
    release::{image_config, runtime_contract},
    render::{Contracts, Release, whole},
};

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Name of the Environment
    pub environment: String,
    /// A release: REGISTRY/REPOSITORY@sha256:… or :TAG; default: what the Environment is to run now
    #[arg(long, value_name = "REF", conflicts_with = "execution")]
    pub release: Option<String>,
    /// The release that an execution made or took
    #[arg(long, value_name = "NAME")]
    pub execution: Option<String>,
    /// What is shown
    #[arg(short, long, value_name = "FORM", value_enum, default_value = "diff")]
    pub output: Form,
    /// Registry access.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// A form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// What would change, field by field
    Diff,
    /// The objects that would be applied
    Yaml,
}

/// What would run, and by whose word.
struct Wanted {
    content: Content,
    images: ReleaseImages,
    contracts: Contracts,
    execution: String,
}

/// Who deploys a release that no execution has deployed yet.
const SOMEBODY: &str = "NAME UID";

/// Shows. `Failed` when anything would change.
///
/// # Errors
/// When the Environment, the release or what is in the cluster cannot be read.
pub async fn run(args: PlanArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection.clone()).await?;
    let name = &args.environment;
    let environment = within(CALL, session.environments().get_opt(name)).await?.ok_or_else(|| {
        CliError::said(format!("no Environment {name} in namespace {}: kubectl get environments", session.namespace))
    })?;
    let found = found(&session, name).await?;
    let wanted = wanted(&args, &session, &environment, &found).await?;
    let release = Release {
        environment: &environment,
        content: &wanted.content,
        images: &wanted.images,
        contracts: &wanted.contracts,
        execution: &wanted.execution,
    };
    let objects = whole::objects(&release);
    let changes = Changes::between(&objects, &found);
    match args.output {
        Form::Diff => draw(&changes).iter().try_for_each(say)?,
        Form::Yaml => objects.iter().try_for_each(yaml)?,
    }
    Ok(if changes.is_empty() { End::Done } else { End::Failed })
}

fn yaml(object: &Value) -> Result<(), CliError> {
    let text = serde_yaml::to_string(object).map_err(|error| CliError::said(error.to_string()))?;
    say(format!("---\n{}", text.trim_end()))
}

/// The release that is asked for, with what its images promise.
async fn wanted(
    args: &PlanArgs,
    session: &Session,
    environment: &Environment,
    found: &[Value],
) -> Result<Wanted, CliError> {
    let client = args.registry.client().map_err(unreadable)?;
    let status = environment.status.clone().unwrap_or_default();
    let deployed = status.deployed.as_ref();
    let (release, execution) = if let Some(text) = &args.release {
        let release = match BaseRef::resolve(&client, text).await? {
            BaseRef::Image(release) => release,
            BaseRef::Layout(_) => {
                return Err(CliError::said(format!("{text}: name a release in a registry, which pods can pull")));
            }
        };
        let same = deployed.filter(|deployed| deployed.release == release);
        let by = same.map_or_else(|| SOMEBODY.into(), |deployed| format!("{} {}", deployed.execution, deployed.uid));
        (release, by)
    } else if let Some(name) = &args.execution {
        let execution = session.execution(name).await?;
        let release = execution.status.as_ref().and_then(|status| status.release.clone());
        let release = release.ok_or_else(|| {
            CliError::said(format!("execution {name} has no release yet: `{}`", session.plugin(&["status", name])))
        })?;
        (release, format!("{name} {}", execution.uid().unwrap_or_default()))
    } else if let Some(target) = &status.target {
        (target.release.clone(), format!("{} {}", target.execution, target.uid))
    } else if let Some(deployed) = deployed {
        (deployed.release.clone(), format!("{} {}", deployed.execution, deployed.uid))
    } else {
        return bare(&client, environment, found).await;
    };
    let both = runtime_contract(&client, &release).await.map_err(unreadable)?;
    Ok(Wanted {
        content: Content::Release(release),
        images: ReleaseImages { aem: both.aem.image, dispatcher: both.dispatcher.image },
        contracts: Contracts { aem: both.aem.contract, dispatcher: both.dispatcher.contract },
        execution,
    })
}

/// The bare base images: those of the Environment, or those that run already because the operator was installed with them.
async fn bare(client: &Client, environment: &Environment, found: &[Value]) -> Result<Wanted, CliError> {
    let running = |tier: &str| -> Option<ImageRef> {
        let name = format!("{}-{tier}", environment.name_any());
        let set = found.iter().find(|object| whole::identity(object) == ("StatefulSet", name.as_str()))?;
        set["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?.parse().ok()
    };
    let default = Runtime { aem: running("publish"), dispatcher: running("dispatcher"), ..Runtime::default() };
    let images = bases::images(&environment.spec, &default).ok_or_else(|| {
        CliError::said(format!(
            "nothing was deployed to {} yet, and its base images are not to run, or are the installation's, which this command \
             cannot know: name a release with --release or --execution",
            environment.name_any()
        ))
    })?;
    let contracts = Contracts {
        aem: contract(client, &images.aem).await?,
        dispatcher: contract(client, &images.dispatcher).await?,
    };
    Ok(Wanted { content: Content::Bare, images, contracts, execution: String::new() })
}

async fn contract(client: &Client, image: &ImageRef) -> Result<RuntimeContract, CliError> {
    let (_, config) = image_config(client, image).await.map_err(unreadable)?;
    RuntimeContract::from_config(&config).map_err(|error| CliError::said(format!("image {image}: {error}")))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
fn unreadable(error: RegistryError) -> CliError {
    CliError::said(error.to_string())
}

/// Everything that is labelled as a part of the Environment.
async fn found(session: &Session, environment: &str) -> Result<Vec<Value>, CliError> {
    let mut all = list::<StatefulSet>(session, environment).await?;
    all.extend(list::<Service>(session, environment).await?);
    all.extend(list::<PodDisruptionBudget>(session, environment).await?);
    all.extend(list::<NetworkPolicy>(session, environment).await?);
    all.extend(list::<Ingress>(session, environment).await?);
    Ok(all)
}

async fn list<K>(session: &Session, environment: &str) -> Result<Vec<Value>, CliError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let own = ListParams::default().labels(&format!("{}={environment}", labels::ENVIRONMENT));
    let api: Api<K> = Api::namespaced(session.client.clone(), &session.namespace);
    let items = within(CALL, api.list(&own)).await?.items;
    items.iter().map(|item| serde_json::to_value(item).map_err(|error| CliError::said(error.to_string()))).collect()
}
