//! How people answer an execution: annotations on it, which the apiserver accepts only from whoever holds the verb.

use std::io::{BufRead, IsTerminal, Write};

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use launchway_crds::{
    PipelineExecution,
    conditions::{self, types},
    execution::{PipelineExecutionStatus, Step},
    step::StepName,
};
use serde_json::{Value, json};

use super::{
    CliError,
    session::{Session, same_as},
};
use crate::{
    client::{CALL, within},
    text::one_line,
};

/// Field manager of what this command writes.
const MANAGER: &str = "kubectl-launchway";
/// Characters of a reason, as the schema and the policies bound it.
const REASON_MAX: usize = 512;

/// Sets annotations on exactly this execution: another one of the same name is refused.
///
/// # Errors
/// The apiserver's refusal, in its words.
pub async fn annotate(
    session: &Session,
    execution: &PipelineExecution,
    annotations: &[(&str, &str)],
) -> Result<(), CliError> {
    let values: serde_json::Map<String, Value> =
        annotations.iter().map(|(key, value)| ((*key).to_string(), json!(value))).collect();
    let patch = json!({"metadata": {"uid": execution.metadata.uid, "annotations": values}});
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    within(CALL, session.executions().patch(&execution.name_any(), &params, &Patch::Merge(patch))).await?;
    Ok(())
}

/// Tells how kubectl sets the same annotations. Those that are there already, it overwrites only when told so.
pub fn tell(session: &Session, execution: &PipelineExecution, annotations: &[(&str, &str)]) {
    let object = format!("pipelineexecution/{}", execution.name_any());
    let pairs: Vec<String> = annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut words = vec!["annotate", object.as_str()];
    if annotations.iter().any(|(key, _)| execution.annotations().contains_key(*key)) {
        words.push("--overwrite");
    }
    words.extend(pairs.iter().map(String::as_str));
    same_as(&session.kubectl(&words));
}

/// The status of an execution that has not ended.
///
/// # Errors
/// When it ended, or has not begun.
pub fn running(execution: &PipelineExecution) -> Result<&PipelineExecutionStatus, CliError> {
    let name = execution.name_any();
    let status = execution.status.as_ref().filter(|status| !status.steps.is_empty()).ok_or_else(|| {
        CliError::said(format!("{name} has not begun: no operator has seen it yet, look again in a moment"))
    })?;
    match ended(status) {
        Some((_, how)) => Err(CliError::said(format!("{name} has ended: {how}"))),
        None => Ok(status),
    }
}

/// The status and the step that waits, and what `fits` makes of that step: nothing, when the step does not wait for what
/// the person wants to give, which `wanted` names.
///
/// # Errors
/// When the execution has not begun, has ended, or waits for something else; what it does instead is told.
pub fn awaiting<'a, T>(
    execution: &'a PipelineExecution,
    wanted: &str,
    fits: impl Fn(&'a Step) -> Option<T>,
) -> Result<(&'a PipelineExecutionStatus, T), CliError> {
    let status = running(execution)?;
    let waiting = status.waiting_for.as_ref();
    let step = status.steps.iter().find(|step| waiting.is_some_and(|waiting| waiting.step == step.name));
    step.and_then(fits).map(|found| (status, found)).ok_or_else(|| {
        let at = status.step.map_or("its begin", StepName::as_str);
        let why = waiting.map(|waiting| format!(", waiting: {}", one_line(&waiting.why))).unwrap_or_default();
        CliError::said(format!("{} does not wait for {wanted}: it is at {at}{why}", execution.name_any()))
    })
}

/// Whether an execution ended, successfully or not, and how.
#[must_use]
pub fn ended(status: &PipelineExecutionStatus) -> Option<(bool, String)> {
    let condition = conditions::get(&status.conditions, types::SUCCEEDED)?;
    let succeeded = match condition.status.as_str() {
        "True" => true,
        "False" => false,
        _ => return None,
    };
    let message = one_line(&condition.message);
    let said = if message.is_empty() { String::new() } else { format!(": {message}") };
    Some((succeeded, format!("{}{said}", condition.reason)))
}

/// How an execution ended, in few words where its steps, shown beside it, say the rest.
#[must_use]
pub fn ending(status: &PipelineExecutionStatus) -> Option<String> {
    let (_, how) = ended(status)?;
    let says = |step: &&Step| {
        let message = step.message.as_deref().map(one_line).unwrap_or_default();
        step.state.is_terminal() && !step.state.lets_pass() && !message.is_empty() && how.contains(&message)
    };
    Some(match (status.steps.iter().find(says), how.split_once(':')) {
        (Some(step), Some((reason, _))) => format!("{reason} at {}", step.name.as_str()),
        _ => how,
    })
}

/// A reason as a person gave it.
///
/// # Errors
/// When it says nothing, or too much.
pub fn reason(text: &str) -> Result<String, CliError> {
    let text = one_line(text);
    match text.chars().count() {
        0 => Err(CliError::said("--reason is empty: it is what everyone else will read, say why")),
        1..=REASON_MAX => Ok(text),
        more => Err(CliError::said(format!("--reason has {more} characters and may have {REASON_MAX}: shorten it"))),
    }
}

/// Asks for a yes on the terminal.
///
/// # Errors
/// When there is no terminal, or the answer is anything else.
pub async fn confirm(question: &str) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::said(format!("{question} There is no terminal to ask on: say --yes")));
    }
    print!("{question} [y/N] ");
    std::io::stdout().flush()?;
    let read = || std::io::stdin().lock().lines().next().transpose();
    let answer = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
    match answer.unwrap_or_default().trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::said("nothing was changed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_fits() {
        assert_eq!(reason(" wrong\n branch ").unwrap(), "wrong branch");
        assert_eq!(reason(&"ü".repeat(512)).unwrap().chars().count(), 512);
        for (text, part) in [(" \n", "is empty"), (&"x".repeat(513) as &str, "513 characters")] {
            assert!(reason(text).unwrap_err().to_string().contains(part), "{part}");
        }
    }
}
