//! What runs in Jobs of the operator's own image.

pub mod build;
pub mod images;
pub mod outcome;
pub mod report;
