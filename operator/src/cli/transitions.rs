//! What changed between two looks at an execution, a line each: for logs and pipes.

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};
use launchway_crds::{
    Environment, PipelineExecution,
    execution::{PipelineExecutionStatus, Step},
    step::StepState,
};

use super::{gate, request::ending, tree};
use crate::text::one_line;

/// What was told last.
#[derive(Debug, Default)]
pub struct Told {
    states: BTreeMap<&'static str, StepState>,
    rollouts: BTreeMap<&'static str, String>,
    waiting: Option<String>,
    ended: bool,
}

impl Told {
    /// Lines for everything that is new.
    pub fn news(
        &mut self,
        execution: &PipelineExecution,
        environments: &BTreeMap<String, Environment>,
        now: Timestamp,
    ) -> Vec<String> {
        let Some(status) = &execution.status else { return vec![] };
        let mut lines = vec![];
        for step in &status.steps {
            let name = step.name.as_str();
            let old = self.states.insert(name, step.state).unwrap_or_default();
            if old != step.state {
                lines.push(format!("{}  {}", stamp(at(step, now)), step_line(step, now)));
                let failing = gate::failing(step).map(gate::line);
                lines.extend(failing.map(|line| format!("{}  {name}  ✗ {line}", stamp(at(step, now)))));
            }
            if let Some(rollout) = tree::rollout(execution, step, environments) {
                // Its time goes on by itself, and its message names each package: neither is a transition.
                let key = format!("{} {}/{}", rollout.phase, rollout.updated, rollout.total);
                if self.rollouts.get(name) != Some(&key) {
                    lines.push(format!("{}  {name}  {}", stamp(now), tree::progress(rollout, now)));
                    self.rollouts.insert(name, key);
                }
            }
        }
        lines.extend(self.waits(status));
        if let Some(how) = ending(status)
            && !self.ended
        {
            self.ended = true;
            lines.push(format!("{}  {how}", stamp(status.completion_time.as_ref().map_or(now, |time| time.0))));
        }
        lines
    }

    fn waits(&mut self, status: &PipelineExecutionStatus) -> Option<String> {
        let Some(waiting) = status.waiting_for.as_ref() else {
            self.waiting = None;
            return None;
        };
        let mut text = format!("{}  waits for {}", waiting.step.as_str(), one_line(&waiting.why));
        if let Some(until) = &waiting.until {
            text.push_str(&format!(", until {}", stamp(until.0)));
        }
        if let Some(who) = &waiting.who {
            text.push_str(&format!(", by {}", one_line(who)));
        }
        if let Some(command) = &waiting.command {
            text.push_str(&format!(": {}", one_line(command)));
        }
        if self.waiting.as_ref() == Some(&text) {
            return None;
        }
        self.waiting = Some(text.clone());
        Some(format!("{}  {text}", stamp(waiting.since.0)))
    }
}

fn step_line(step: &Step, now: Timestamp) -> String {
    let place = step.environment.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
    let text = if step.state.is_terminal() {
        tree::summary(step, now)
    } else {
        format!("{} {:?}{place}", step.name.as_str(), step.state)
    };
    match &step.reason {
        Some(reason) if step.state.is_terminal() && !step.state.lets_pass() => format!("{text} ({})", one_line(reason)),
        _ => text,
    }
}

fn at(step: &Step, now: Timestamp) -> Timestamp {
    let time = if step.state.is_terminal() { step.finished_at.as_ref() } else { step.started_at.as_ref() };
    time.map_or(now, |time| time.0)
}

fn stamp(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn every_transition_is_told_once() {
        let now: Timestamp = samples::NOW.parse().unwrap();
        let mut told = Told::default();
        let lines = told.news(&samples::waiting(), &BTreeMap::new(), now);
        assert_eq!(
            lines.join("\n"),
            "\
2026-11-21T10:25:01Z  validate Finished in 1s
2026-11-21T10:25:03Z  build Finished in 2s
2026-11-21T10:25:44Z  buildImage Finished in 41s
2026-11-21T10:28:54Z  deployStage Finished in 3m10s
2026-11-21T10:28:58Z  smokeTest Finished in 4s: 3 pages
2026-11-21T10:35:12Z  functionalTest Incomplete: the pipeline names no functional test
2026-11-21T10:30:00Z  approvalProduction Waiting on prod
2026-11-21T10:30:00Z  approvalProduction  waits for approval of the production deployment, \
until 2026-12-05T10:30:00Z, by whoever holds the verb approve on Environment prod: \
kubectl launchway approve wknd-42 -n wknd"
        );
        assert!(told.news(&samples::waiting(), &BTreeMap::new(), now).is_empty());

        let environments = samples::production("u-42", "Progressing").environments;
        let lines = told.news(&samples::rolling(), &environments, now);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[2].contains("deployProduction  Pair 1  ███░░░░░░░ 1/3 pairs"), "{lines:?}");
        assert!(told.news(&samples::rolling(), &environments, now).is_empty());

        let lines = told.news(&samples::failed(), &BTreeMap::new(), now);
        assert!(lines[0].contains("deployProduction Failed in 5m00s: ") && lines[0].ends_with("(DeploymentFailed)"));
        assert_eq!(lines[1], "2026-11-21T10:35:00Z  Failed: deployProduction: DeploymentFailed");
    }

    #[test]
    fn failing_metrics_are_told_with_their_step() {
        let lines = Told::default().news(&samples::gate(), &BTreeMap::new(), samples::NOW.parse().unwrap());
        assert!(
            lines.contains(&"2026-11-21T10:25:03Z  codeQuality  ✗ coverage is 42.1, needed ≥ 50 (important)".into()),
            "{lines:?}"
        );
    }
}
