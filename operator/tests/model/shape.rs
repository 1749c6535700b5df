//! The pipelines of a site: which Environments each goes to, and what becomes of others while one runs.

use super::site::Site;

/// What a pipeline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    FullStack,
    StageOnly,
    /// Takes what the pipeline of this index tested.
    ProductionOnly {
        source: usize,
    },
    /// The dispatcher of production alone, which others leave to it.
    WebTier,
}

/// A pipeline: where it goes, and what becomes of the next execution while one runs.
#[derive(Clone, Copy, Debug)]
pub struct PipelineShape {
    pub kind: Kind,
    pub stage: Option<&'static str>,
    pub production: Option<&'static str>,
    pub concurrency: &'static str,
}

impl Site {
    /// Pipelines, by index.
    pub const PIPELINES: [PipelineShape; 7] = [
        PipelineShape { kind: Kind::FullStack, stage: Some("stage"), production: Some("prod"), concurrency: "Queue" },
        PipelineShape { kind: Kind::FullStack, stage: Some("stage2"), production: Some("prod"), concurrency: "Queue" },
        PipelineShape { kind: Kind::StageOnly, stage: Some("stage"), production: None, concurrency: "Queue" },
        PipelineShape {
            kind: Kind::ProductionOnly { source: 2 },
            stage: None,
            production: Some("prod"),
            concurrency: "Queue",
        },
        PipelineShape { kind: Kind::FullStack, stage: Some("stage"), production: Some("prod"), concurrency: "Replace" },
        PipelineShape { kind: Kind::FullStack, stage: Some("stage"), production: Some("prod"), concurrency: "Refuse" },
        PipelineShape { kind: Kind::WebTier, stage: None, production: Some("prod"), concurrency: "Queue" },
    ];
}
