//! The part of the gates that reads reports, and judges what package checks found.

#[path = "../../../operator/src/gate/bounded.rs"]
pub mod bounded;
#[path = "../../../operator/src/gate/jacoco.rs"]
pub mod jacoco;
#[path = "../../../operator/src/gate/json.rs"]
pub mod json;
#[path = "../../../operator/src/gate/junit.rs"]
pub mod junit;
#[path = "../../../operator/src/gate/metric.rs"]
pub mod metric;
#[path = "../../../operator/src/gate/sarif.rs"]
pub mod sarif;
