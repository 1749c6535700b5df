//! The part of the gates that judges what package checks found.

#[path = "../../../operator/src/gate/metric.rs"]
pub mod metric;
