//! An execution as it happens: a tree that is redrawn on a terminal, a line for each transition elsewhere.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};
use launchway_crds::{Environment, PipelineExecution, execution::PipelineExecutionStatus};
use launchway_operator::cli::{screen::Screen, transitions::Told, tree};

use crate::{Failure, Outcome, cluster::call, executions::told, program::Program};

const LOOK: Duration = Duration::from_secs(1);

/// Shows the execution until its status satisfies the test.
///
/// # Errors
/// After `limit`, or when the execution ended in another way.
pub async fn show(
    program: &Program,
    name: &str,
    limit: Duration,
    until: impl Fn(&PipelineExecutionStatus) -> bool,
) -> Outcome<PipelineExecution> {
    let began = Instant::now();
    let mut screen = Screen::open();
    let mut lines = Told::default();
    loop {
        let looked = look(program, name).await;
        if let Ok((execution, environments)) = &looked {
            let status = execution.status.clone().unwrap_or_default();
            let (over, now) = (status.completion_time.is_some(), Timestamp::now());
            let there = until(&status);
            match &mut screen {
                Some(screen) => {
                    let drawing = tree::draw(execution, environments, now, screen.width());
                    let drawn = if there || over { screen.finish(&drawing) } else { screen.redraw(&drawing) };
                    drawn.map_err(|error| Failure::new(format!("the terminal is gone: {error}")))?;
                }
                None => lines.news(execution, environments, now).iter().for_each(|line| println!("    {line}")),
            }
            if there {
                return Ok(execution.clone());
            }
            if over {
                return Err(Failure::new(format!("execution {name} did not go as awaited")).seen(&told(&status)));
            }
        }
        if began.elapsed() > limit {
            let seen = match looked {
                Ok((execution, _)) => told(&execution.status.unwrap_or_default()),
                Err(failure) => failure.to_string(),
            };
            return Err(Failure::new(format!("execution {name} is not there after {} s", limit.as_secs())).seen(&seen));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(program: &Program, name: &str) -> Outcome<(PipelineExecution, BTreeMap<String, Environment>)> {
    let execution = program.execution(name).await?;
    let environments = call(program.environments().list(&ListParams::default())).await?;
    let environments =
        environments.items.into_iter().map(|environment| (environment.name_any(), environment)).collect();
    Ok((execution, environments))
}
