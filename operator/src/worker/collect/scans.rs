//! Reads what scanners left, each in a folder of its own.

use launchway_crds::step::Metric;

use super::{
    Read, Request,
    folder::{self, Reports, Room},
    judge,
};
use crate::{gate::TestKind, worker::verdict::Reason};

/// What every scanner has measured. One that left nothing, or something torn, decides: nothing is known then.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn read(request: &Request) -> Result<Read, String> {
    let mut room = Room::default();
    let (mut documents, mut notes) = (vec![], vec![]);
    let mut results = vec![];
    // Our own first: whatever scanners leave, it finds room.
    if let Some(findings) = &request.findings {
        let reports = folder::read(findings, None, &mut room)?;
        documents.extend(reports.documents);
    }
    for scanner in &request.scanners {
        let Reports { found, documents: own, notes: left } =
            folder::read(&request.folder.join(scanner), Some(scanner), &mut room)?;
        documents.extend(own);
        notes.extend(left.into_iter().map(|note| format!("{scanner}: {note}")));
        results.push(judge(TestKind::Scan, found).map(|(metrics, said)| (named(scanner, metrics), said)).map_err(
            |reason| Reason {
                report: reason.report,
                ..Reason::new(&reason.reason, &format!("{scanner}: {}", reason.message))
            },
        ));
    }
    let result = results.into_iter().collect::<Result<Vec<_>, _>>().map(|all| {
        let (metrics, said): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let said: Vec<String> = said.into_iter().filter(|said| !said.is_empty()).collect();
        (metrics.into_iter().flatten().collect(), said.join("; "))
    });
    Ok(Read { documents, notes, result })
}

/// Counts of SARIF are those of one scanner; what a scanner names itself keeps its name.
fn named(scanner: &str, metrics: Vec<Metric>) -> Vec<Metric> {
    let own = |metric: Metric| {
        let counted = metric.name.starts_with("sarif_");
        if counted { Metric { name: format!("{scanner}.{}", metric.name), ..metric } } else { metric }
    };
    metrics.into_iter().map(own).collect()
}
