//! The part of the conditions that bounds texts.

#[path = "../../../crds/src/truncate.rs"]
mod truncate;

pub use truncate::truncate;
