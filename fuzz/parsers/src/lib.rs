//! The product's own files, compiled a second time: see `Cargo.toml`.

// What the modules call the crate of the API types is this crate, too.
extern crate self as launchway_crds;

#[path = "../../../crds/src/digest.rs"]
pub mod digest;
pub mod gate;
#[path = "../../../operator/src/image/mod.rs"]
pub mod image;
#[path = "../../../crds/src/layer_encoding.rs"]
pub mod layer_encoding;
pub mod registry;
#[path = "../../../crds/src/step.rs"]
pub mod step;
pub mod webhook;
