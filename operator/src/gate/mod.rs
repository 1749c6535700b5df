//! Gates: what was measured, whether it is good enough, and what follows from that.
//!
//! Pure: metrics in, a decision out. [`metric`] compares, [`thresholds`] are the pipeline's, [`decision`] decides,
//! [`kind`] says what counts for which test, and the others read reports of common tools into metrics. Every reader is
//! bounded in bytes, depth and number: reports come from images that nobody here has written. Formats and names:
//! `docs/metrics.md`.

pub mod bounded;
pub mod decision;
pub mod jacoco;
pub mod json;
pub mod junit;
pub mod kind;
pub mod metric;
pub mod sarif;
pub mod thresholds;

pub use decision::{Decision, OverrideRefused, decide, override_of};
pub use kind::TestKind;
pub use metric::{Rule, metric};
