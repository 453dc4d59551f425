//! The lab: workloads, load, measurement, checks, results, experiments.
//!
//! A run is a [`spec::RunSpec`]: an engine, a workload, a load, hosts, a profile and a seed. It is
//! checked before anything happens ([`spec::RunSpec::check`]), carried out in a world of its own
//! ([`run::run`]), and written down ([`results::write`]) so that it can be repeated and compared
//! ([`diverge`]). An engine is known here through the [`registry`] alone.
//!
//! ```no_run
//! use sim_lab::{progress::Progress, run, spec::RunSpec};
//! let spec = RunSpec { seed: 7, ..RunSpec::default() };
//! let outcome = run::run(&spec.check()?, &Progress::default())?;
//! assert!(outcome.summary.passed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

pub mod autoscale;
pub mod checks;
pub mod claims;
pub mod compare;
pub mod contrast;
pub mod critical_path;
pub mod definition;
pub mod diverge;
pub mod experiment;
pub mod explain;
pub mod explore;
pub mod fault;
pub mod figure;
pub mod handover;
pub mod history;
pub mod host_event;
pub mod isolation;
pub mod levels;
pub mod linearizability;
pub mod load;
pub mod measure;
pub mod metric;
pub mod progress;
pub mod published;
mod recorder;
pub mod registry;
pub mod report;
pub mod results;
pub mod run;
pub mod saturate;
pub mod sensitivity;
pub mod side_by_side;
pub mod span;
pub mod spec;
pub mod statistics;
pub mod stuck;
pub mod suggest;
pub mod summary;
pub mod sweep;
pub mod text_file;
pub mod trace;
pub mod trial;
pub mod workload;

pub use recorder::{Outcome, Record};

/// The code of the programmer's guide, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide.md")]
mod guide {}
