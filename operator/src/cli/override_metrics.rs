//! `launchway override`: accepts the failing important metrics of the gate that an execution waits at.

use clap::Args;
use launchway_crds::{
    PipelineExecution,
    execution::Step,
    names::requests::{OVERRIDDEN_BY, OVERRIDE},
};

use super::{
    CliError, End, gate, request, say,
    screen::Size,
    session::{Connection, Session},
};
use crate::text::one_line;

/// Arguments of `override`.
#[derive(Args, Debug)]
pub struct OverrideArgs {
    /// Name of the execution
    pub name: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Shows the failing metrics, asks, accepts the important ones, all of them.
///
/// # Errors
/// When the execution waits at no gate, the answer is no, or the apiserver refuses.
pub async fn run(args: OverrideArgs) -> Result<End, CliError> {
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    let step = gate(&execution)?;
    say(format!("{} waits at {}", args.name, step.name.as_str()))?;
    for line in gate::titled(gate::failing(step), Size::now().columns.saturating_sub(2)) {
        say(format!("  {line}").trim_end())?;
    }
    let me = session.me().await?;
    say(format!("  you are {}", one_line(&me)))?;
    let value = value(step);
    let annotations = [(OVERRIDE, value.as_str()), (OVERRIDDEN_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    if !args.yes {
        request::confirm("Let the execution go on with these important metrics as they are?").await?;
    }
    request::annotate(&session, &execution, &annotations).await?;
    say(format!("{}: failing metrics of {} accepted by {me}", args.name, step.name.as_str()))?;
    eprintln!("follow it with:\n  {}", session.plugin(&["status", &args.name, "-w"]));
    Ok(End::Done)
}

/// The step that waits for a word on its metrics.
fn gate(execution: &PipelineExecution) -> Result<&Step, CliError> {
    let waits = |step| gate::in_the_way(step).next().map(|_| step);
    request::awaiting(execution, "a word on failing metrics", waits).map(|(_, step)| step)
}

/// `STEP:METRIC,METRIC`: the request is about these failures and no others.
fn value(step: &Step) -> String {
    let mut names: Vec<&str> = vec![];
    for metric in gate::in_the_way(step) {
        if !names.contains(&metric.name.as_str()) {
            names.push(&metric.name);
        }
    }
    format!("{}:{}", step.name.as_str(), names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn every_failing_important_metric_is_named_and_no_other() {
        let mut execution = samples::gate();
        assert_eq!(value(gate(&execution).unwrap()), "codeQuality:coverage,skipped_tests");
        // Two scanners may measure the same, and one answer is for both.
        let metrics = &mut execution.status.as_mut().unwrap().steps[2].metrics;
        *metrics = metrics.iter().chain(&metrics[1..2]).cloned().collect();
        assert_eq!(value(gate(&execution).unwrap()), "codeQuality:coverage,skipped_tests");
    }

    #[test]
    fn an_execution_that_waits_at_no_gate_is_refused() {
        let error = gate(&samples::waiting()).unwrap_err().to_string();
        assert!(error.starts_with("wknd-42 does not wait for a word on failing metrics: it is at approval"), "{error}");
    }
}
