//! tmp
pub mod image;
pub mod plan;
pub mod render;
