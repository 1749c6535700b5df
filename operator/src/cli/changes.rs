//! Pipelines that start on changes of their source, as `status` lists them below the executions.

use jiff::Timestamp;
use kube::ResourceExt;
use launchway_crds::{
    Pipeline,
    conditions::{get, reasons, types},
};

use super::times::{between, span};
use crate::text::{clip, one_line};

/// A row for each pipeline that starts on changes, below titles; nothing when there is none.
#[must_use]
pub fn rows(pipelines: &[Pipeline], now: Timestamp) -> Vec<[String; 6]> {
    let own = pipelines.iter().filter(|pipeline| pipeline.spec.starts_on_change().is_some());
    let rows: Vec<_> = own.map(|pipeline| row(pipeline, now)).collect();
    if rows.is_empty() {
        return rows;
    }
    let titles = ["PIPELINE", "TRIGGER", "REVISION", "SEEN", "LAST STARTED", "CHANGES"].map(String::from);
    std::iter::once(titles).chain(rows).collect()
}

fn row(pipeline: &Pipeline, now: Timestamp) -> [String; 6] {
    let status = pipeline.status.clone().unwrap_or_default();
    let seen = status.source;
    let revision = seen.as_ref().map(|seen| seen.revision.as_deref().map_or_else(|| "none".to_string(), short));
    let due = seen.as_ref().and_then(|seen| seen.due.as_ref());
    let said = get(&status.conditions, types::SOURCE_WATCHED);
    let watched = said.filter(|condition| condition.reason != reasons::WATCHED);
    let state = match (due, watched) {
        (_, Some(condition)) => format!("{}: {}", condition.reason, one_line(&condition.message)),
        (Some(due), None) => format!("{} waits until no other execution runs", one_line(due)),
        (None, None) if said.is_some() => "are looked for".into(),
        (None, None) => "not looked for yet".into(),
    };
    let cut = |text: &str| clip(&one_line(text), 40);
    [
        cut(&pipeline.name_any()),
        format!("{:?}", pipeline.spec.trigger),
        revision.unwrap_or_default(),
        seen.as_ref().map(|seen| span(between(seen.since.0, now))).unwrap_or_default(),
        seen.and_then(|seen| seen.execution).map(|name| cut(&name)).unwrap_or_default(),
        state,
    ]
}

/// The part of a revision that people know it by.
fn short(revision: &str) -> String {
    let digits = revision.rsplit(':').next().unwrap_or_default();
    one_line(&digits.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{samples, table::table};

    #[test]
    fn what_triggers_a_pipeline_and_what_was_seen_last() {
        let now: Timestamp = samples::NOW.parse().unwrap();
        let due = samples::on_change("wknd-stage", Some("wknd-stage-abababab-12345678"), ("True", "Watched", "asked"));
        let held = samples::on_change("wknd-production", None, ("False", "StageOnlyWins", "wknd-stage does it"));
        let mut manual = samples::on_change("by-hand", None, ("True", "Watched", "asked"));
        manual.spec.trigger = launchway_crds::trigger::PipelineTrigger::Manual;
        assert!(rows(std::slice::from_ref(&manual), now).is_empty());
        assert_eq!(
            table(&rows(&[due, held, manual], now), 140).join("\n"),
            "\
PIPELINE         TRIGGER   REVISION      SEEN   LAST STARTED         CHANGES
wknd-stage       OnChange  abababababab  5m12s  wknd-stage-cdcdcdcd  wknd-stage-abababab-12345678 waits until no other execution runs
wknd-production  OnChange  abababababab  5m12s  wknd-stage-cdcdcdcd  StageOnlyWins: wknd-stage does it"
        );
    }
}
