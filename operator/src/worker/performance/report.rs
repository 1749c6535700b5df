//! The report of a performance test: everything as JSON, and a page with the numbers for people.

use std::fmt::Write as _;

use launchway_crds::{pipeline::PageSet, step::Metric};
use serde::Serialize;

use super::{
    Request,
    load::Baseline,
    mix::Mix,
    tally::{Counts, PerPage, Slice, Tally, millis},
};
use crate::text::html;

/// The report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    format: &'static str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    duration_seconds: u64,
    concurrency: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages_per_minute: Option<u32>,
    sets: &'a [PageSet],
    metrics: &'a [Metric],
    percentiles: Vec<(u64, f64)>,
    page_requests: Counts,
    asset_requests: Counts,
    late: u64,
    pages: Vec<Page<'a>>,
    /// The time of the test in equal parts.
    slices: &'a [Slice],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    baseline: &'a Baseline,
    under_load: PerPage,
    mean_ms: f64,
    peak_ms: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        request: &'a Request,
        mix: &Mix,
        baseline: &'a [Baseline],
        tally: &'a Tally,
        metrics: &'a [Metric],
    ) -> Self {
        let page = |(index, baseline): (usize, &'a Baseline)| {
            let under_load = tally.by_page.get(index).copied().unwrap_or_default();
            let (mean_ms, peak_ms) = under_load.times();
            Page { baseline, under_load, mean_ms, peak_ms }
        };
        Self {
            format: "launchway-performance/1",
            url: &request.url,
            host: request.host.as_deref(),
            duration_seconds: request.duration_seconds,
            concurrency: request.concurrency,
            pages_per_minute: request.pages_per_minute,
            sets: &request.sets,
            metrics,
            percentiles: [50, 75, 90, 95, 99].map(|percent| (percent, millis(tally.percentile(percent)))).to_vec(),
            page_requests: tally.pages,
            asset_requests: tally.assets,
            late: tally.late,
            pages: baseline.iter().take(mix.paths().len()).enumerate().map(page).collect(),
            slices: &tally.slices,
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// One page that needs nothing from elsewhere: no script, no style sheet, no font.
    pub(super) fn to_html(&self) -> Vec<u8> {
        let mut out = String::from(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Performance test</title><style>\
             body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}\
             table{border-collapse:collapse;width:100%;margin:1em 0}td,th{padding:.3em .6em;text-align:left;\
             border-bottom:1px solid #ddd}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
             .bad{color:#b00020}.good{color:#1b7a2f}svg{width:100%;height:8em;background:#f6f6f6}</style>",
        );
        let rate = self.pages_per_minute.map_or("as fast as they can".to_string(), |rate| format!("{rate} pages/min"));
        let _ = write!(
            out,
            "<h1>Performance test</h1><p>{}: {} visitors, {} s, {rate}. {} page views, {} failed; {} other files, {} \
             failed.</p>",
            html(self.url),
            self.concurrency,
            self.duration_seconds,
            self.page_requests.requests,
            self.page_requests.failed,
            self.asset_requests.requests,
            self.asset_requests.failed,
        );
        self.metrics_table(&mut out);
        let times = self.percentiles.iter().map(|(percent, ms)| format!("{percent} %: {ms} ms")).collect::<Vec<_>>();
        let _ = write!(out, "<p>Response times by percentile: {}.</p>", times.join(", "));
        self.charts(&mut out);
        self.pages_table(&mut out);
        out.push_str("</html>");
        out.into_bytes()
    }

    fn metrics_table(&self, out: &mut String) {
        out.push_str("<h2>Metrics</h2><table><tr><th>metric<th>severity<th class=n>actual<th class=n>expected<th>");
        for metric in self.metrics {
            let (class, word) = if metric.passed { ("good", "passed") } else { ("bad", "failed") };
            let _ = write!(
                out,
                "<tr><td>{}<td>{}<td class=n>{}<td class=n>{} {}<td class={class}>{word}",
                html(&metric.name),
                metric.severity.as_str(),
                html(&metric.actual),
                metric.comparator.as_str(),
                html(&metric.expected)
            );
        }
        out.push_str("</table>");
    }

    fn charts(&self, out: &mut String) {
        let views: Vec<f64> = self.slices.iter().map(|slice| slice.views as f64).collect();
        let peaks: Vec<f64> = self.slices.iter().map(|slice| slice.peak_ms).collect();
        for (title, values) in [("Views over time", views), ("Longest response time (ms)", peaks)] {
            let most = values.iter().copied().fold(1.0, f64::max);
            let points: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(index, value)| format!("{},{:.1}", index * 10, 100.0 - value * 95.0 / most))
                .collect();
            let _ = write!(
                out,
                "<h2>{title}</h2><p>at most {most:.0}</p><svg viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" \
                 role=\"img\" aria-label=\"{title}\"><polyline fill=\"none\" stroke=\"#2457a6\" stroke-width=\"2\" \
                 vector-effect=\"non-scaling-stroke\" points=\"{}\"/></svg>",
                (values.len().max(2) - 1) * 10,
                points.join(" ")
            );
        }
    }

    fn pages_table(&self, out: &mut String) {
        out.push_str(
            "<h2>Pages</h2><table><tr><th>page<th class=n>status<th class=n>bytes<th class=n>files<th class=n>alone, ms\
             <th class=n>views<th class=n>failed<th class=n>mean, ms<th class=n>longest, ms",
        );
        for page in &self.pages {
            let Baseline { path, status, bytes, millis, asset_count, problem, .. } = page.baseline;
            let problem =
                problem.as_ref().map(|why| format!("<br><span class=bad>{}</span>", html(why))).unwrap_or_default();
            let _ = write!(
                out,
                "<tr><td>{}{problem}<td class=n>{status}<td class=n>{bytes}<td class=n>{asset_count}<td class=n>{millis}\
                 <td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}",
                html(path),
                page.under_load.views,
                page.under_load.failed,
                page.mean_ms,
                page.peak_ms
            );
        }
        out.push_str("</table>");
    }
}
