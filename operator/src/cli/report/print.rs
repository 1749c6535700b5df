//! A report on a terminal and in a spreadsheet.

use super::{Report, read::Line};
use crate::{
    cli::{gate, table},
    text::{human, one_line},
};

/// Metrics, findings and files, each with a heading.
pub fn table(report: &Report, width: usize) -> Vec<String> {
    let mut lines = vec![format!("{} of {}", report.step.as_str(), report.execution)];
    if !report.metrics.is_empty() {
        lines.push(String::new());
        lines.extend(gate::titled(report.metrics.iter(), width));
    }
    if !report.findings.is_empty() {
        let titles = ["SEVERITY", "FROM", "RULE", "PLACE", "FOUND"].map(String::from);
        let rows = report.findings.iter().map(|line| {
            let found = if line.remedy.is_empty() {
                line.message.clone()
            } else {
                format!("{}. {}", line.message, line.remedy)
            };
            [&line.severity, &line.source, &line.rule, &line.place, &found].map(|cell| one_line(cell))
        });
        let rows: Vec<[String; 5]> = std::iter::once(titles).chain(rows).collect();
        lines.push(String::new());
        lines.extend(table::table(&rows, width));
    }
    let Some(reference) = &report.reference else {
        lines.extend([String::new(), "it left no report: what it said is in its log".into()]);
        return lines;
    };
    lines.extend([String::new(), format!("report {reference}")]);
    let files: Vec<[String; 3]> = report
        .files
        .iter()
        .map(|file| [format!("  {}", one_line(&file.title)), human(file.size), one_line(&file.media_type)])
        .collect();
    lines.extend(table::table(&files, width));
    lines.extend(report.unread.iter().map(|why| format!("  not read: {}", one_line(why))));
    lines
}

/// The findings as CSV (RFC 4180). A spreadsheet takes a cell that begins with `=` and the like for a formula: such a
/// cell, which is a stranger's text, gets a quote in front.
pub fn csv(findings: &[Line]) -> String {
    let mut text = String::from("severity,from,rule,place,found,remedy\r\n");
    for line in findings {
        let cells = [&line.severity, &line.source, &line.rule, &line.place, &line.message, &line.remedy];
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use launchway_crds::step::{Comparator, Metric, Severity, StepName};

    use super::*;

    fn line(message: &str) -> Line {
        Line {
            severity: "error".into(),
            source: "pmd".into(),
            rule: "R1".into(),
            place: "a.java:7".into(),
            message: message.into(),
            remedy: String::new(),
        }
    }

    #[test]
    fn a_table_has_metrics_findings_and_files() {
        let metric = Metric {
            name: "pmd.sarif_errors".into(),
            severity: Severity::Important,
            comparator: Comparator::Eq,
            expected: "0".into(),
            actual: "1".into(),
            passed: false,
        };
        let report = Report {
            execution: "wknd-42".into(),
            step: StepName::CodeQuality,
            reference: None,
            metrics: vec![metric],
            findings: vec![line("bad \u{1b}[2J")],
            files: vec![],
            unread: vec![],
        };
        let text = table(&report, 100).join("\n");
        for part in ["codeQuality of wknd-42", "pmd.sarif_errors", "R1", "a.java:7", "left no report"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "what a scanner writes cannot act on a terminal");
    }

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let text = csv(&[line("say \"hi\", twice"), line("=cmd()")]);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains(r#","say ""hi"", twice","#) && text.contains(r#","'=cmd()","#), "{text}");
    }
}
