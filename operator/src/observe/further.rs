//! The objects of an Environment besides workloads and Services, as they are in the cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{ResourceExt, api::ListParams};
use launchway_crds::{Environment, names::labels};

use crate::{
    context::Context,
    error::Error,
    plan::environment::objects::{Deviation, Further},
    render::deviation,
};

use super::fresh;

/// What is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    budgets: Vec<PodDisruptionBudget>,
    policies: Vec<NetworkPolicy>,
    routes: Vec<Ingress>,
}

impl Found {
    /// Reads what belongs to the Environment of this name, routes apart.
    pub(super) async fn read(context: &Context, namespace: &str, name: &str) -> Result<Self, Error> {
        let (budgets, policies) = tokio::try_join!(
            fresh::of_environment(context, "list budgets", namespace, name),
            fresh::of_environment(context, "list network policies", namespace, name),
        )?;
        Ok(Self { budgets, policies, routes: vec![] })
    }

    /// Reads its routes, where it may have any.
    pub(super) async fn read_routes(
        &mut self,
        context: &Context,
        namespace: &str,
        environment: &Environment,
    ) -> Result<(), Error> {
        // Few have a route; one that was taken out of the spec is in status until its Ingresses are gone.
        let urls = environment.status.as_ref().and_then(|status| status.urls.as_ref());
        let told = urls.is_some_and(|urls| urls.site.is_some() || urls.editors.is_some());
        if environment.spec.route.is_some() || told {
            let own = ListParams::default().labels(&format!("{}={}", labels::ENVIRONMENT, environment.name_any()));
            self.routes = fresh::list(context, "list routes", namespace, own).await?;
        }
        Ok(())
    }

    /// Those that are there.
    pub(super) fn names(&self) -> BTreeSet<Further> {
        Further::ALL.into_iter().filter(|object| self.is_there(*object)).collect()
    }

    fn is_there(&self, object: Further) -> bool {
        match object {
            Further::Budget => named(&self.budgets, object).is_some(),
            Further::Policy(_) => named(&self.policies, object).is_some(),
            Further::Route(_) => named(&self.routes, object).is_some(),
        }
    }

    /// Those that are there and are not what they should be.
    pub(super) fn deviations(&self, environment: &Environment) -> Vec<Deviation> {
        let wanted = Further::ALL.into_iter().filter(|object| object.wanted(&environment.spec));
        wanted
            .filter_map(|object| match object {
                Further::Budget => deviation::of_further(environment, object, named(&self.budgets, object)?),
                Further::Policy(_) => deviation::of_further(environment, object, named(&self.policies, object)?),
                Further::Route(_) => deviation::of_further(environment, object, named(&self.routes, object)?),
            })
            .collect()
    }
}

/// The object of a name that follows from the Environment that its label names.
fn named<K: ResourceExt>(all: &[K], object: Further) -> Option<&K> {
    all.iter().find(|found| {
        let owner = found.labels().get(labels::ENVIRONMENT);
        owner.is_some_and(|owner| found.name_any() == object.of(owner))
    })
}
