//! The product's own files, compiled a second time: see `Cargo.toml`.

// What the modules call the crate of the API types is this crate, too.
extern crate self as launchway_crds;

pub mod conditions;
#[path = "../../../crds/src/digest.rs"]
pub mod digest;
pub mod gate;
pub mod git;
#[path = "../../../operator/src/image/mod.rs"]
pub mod image;
#[path = "../../../crds/src/layer_encoding.rs"]
pub mod layer_encoding;
pub mod registry;
#[path = "../../../crds/src/step.rs"]
pub mod step;
#[allow(dead_code, reason = "some words are for commands")]
#[path = "../../../operator/src/text.rs"]
pub mod text;
pub mod webhook;
