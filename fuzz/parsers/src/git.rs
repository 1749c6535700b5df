//! The part of the Git client that reads answers.

#[allow(dead_code, reason = "the request, which writes packets, is not here")]
#[path = "../../../operator/src/git/pkt.rs"]
mod pkt;
#[path = "../../../operator/src/git/refs.rs"]
mod refs;

pub use refs::{Advertised, Ref, advertisement, listed};
