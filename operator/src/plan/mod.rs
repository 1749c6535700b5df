//! Decisions, and nothing else: facts in, a plan out.
//!
//! Everything here is a pure, total function: no client, no runtime, no clock, no panic. What is
//! read lives in [`crate::observe`], what is written in [`crate::effects`]; the same facts always
//! give the same plan, so that a crash at any moment is followed by the same decision.
//!
//! * [`execution::next`] moves one `PipelineExecution` through its steps.
//! * [`memory::next`] says which executions that ended, and which versions of a `Pipeline`, may go.
//! * [`environment::next`] moves the workloads of one `Environment` to the release it should run.
//! * [`pipeline::next`] says whether a `Pipeline` can run, and which execution a change of its source starts.

pub mod bases;
pub mod environment;
pub mod execution;
pub mod memory;
pub mod pipeline;
