//! An execution as it happens: a tree that is redrawn on a terminal, a line for each transition elsewhere.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use launchway_crds::{Environment, PipelineExecution, execution::PipelineExecutionStatus};
use launchway_operator::cli::{
    screen::Screen,
    transitions::Told,
    tree::{self, Around, Room},
};

use crate::{Failure, Outcome, cluster::call, executions::told, install, program::Program};

const LOOK: Duration = Duration::from_secs(1);

/// A view of one execution, which goes on where it stopped.
pub struct Live<'a> {
    program: &'a Program,
    name: String,
    lines: Told,
}

impl<'a> Live<'a> {
    /// A view of an execution.
    #[must_use]
    pub fn of(program: &'a Program, name: &str) -> Self {
        Self { program, name: name.into(), lines: Told::default() }
    }

    /// Shows the execution until its status satisfies the test.
    ///
    /// # Errors
    /// After `limit`, or when the execution ended in another way.
    pub async fn show(
        &mut self,
        limit: Duration,
        until: impl Fn(&PipelineExecutionStatus) -> bool,
    ) -> Outcome<PipelineExecution> {
        let began = Instant::now();
        let mut screen = Screen::open();
        loop {
            let looked = self.look().await;
            if let Ok((execution, environments)) = &looked {
                let status = execution.status.clone().unwrap_or_default();
                let (over, now) = (status.completion_time.is_some(), Timestamp::now());
                let there = until(&status);
                match &mut screen {
                    Some(screen) => {
                        let around = Around { environments: environments.clone(), ..Around::default() };
                        let drawing = tree::draw(execution, &around, now, Room::Screen(screen.size()));
                        let drawn = if there || over { screen.finish(&drawing) } else { screen.redraw(&drawing) };
                        drawn.map_err(|error| Failure::new(format!("the terminal is gone: {error}")))?;
                    }
                    None => {
                        for line in self.lines.news(execution, environments, now) {
                            println!("    {line}");
                        }
                    }
                }
                if there {
                    return Ok(execution.clone());
                }
                if over {
                    return Err(self.failure("did not go as awaited", &told(&status)).await);
                }
            }
            if began.elapsed() > limit {
                let seen = match looked {
                    Ok((execution, _)) => told(&execution.status.unwrap_or_default()),
                    Err(failure) => failure.to_string(),
                };
                return Err(self.failure(&format!("is not there after {} s", limit.as_secs()), &seen).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn failure(&self, what: &str, seen: &str) -> Failure {
        let (name, namespace) = (&self.name, &self.program.namespace);
        Failure::new(format!("execution {name} {what}"))
            .seen(&format!("{seen}\npods:\n{}", self.program.pods_told().await))
            .remedy(format!(
                "KUBECONFIG={} kubectl -n {namespace} describe pe/{name}; the operator's log: kubectl -n {} logs deployment/{}",
                self.program.cluster.kubeconfig.display(),
                install::NAMESPACE,
                install::RELEASE,
            ))
    }

    async fn look(&self) -> Outcome<(PipelineExecution, BTreeMap<String, Environment>)> {
        let execution = self.program.execution(&self.name).await?;
        let environments = call(self.program.environments().list(&ListParams::default())).await?;
        let environments = environments.items.into_iter().map(|environment| (environment.name_any(), environment));
        Ok((execution, environments.collect()))
    }
}
