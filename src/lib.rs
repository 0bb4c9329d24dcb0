//! late-fast: single-cell RNA-seq imputation (LATE, TRANSLATE) at atlas scale, on CPUs.
//!
//! A count matrix is read by [`io`], unpacked once into a memory-mapped [`store`], streamed in
//! minibatches by [`minibatch`], trained by [`train`] on the network of [`model`], and imputed by
//! [`impute`], which [`evaluate`] measures. Benchmark inputs are made by [`perturb`] and [`simulate`]. Dependencies point
//! one way: cli -> train, impute -> model, minibatch -> store -> matrix; evaluate -> minibatch, store, report.
#![deny(unsafe_code)]

pub mod atomic;
pub mod budget;
pub mod cli;
pub mod config;
pub mod error;
pub mod evaluate;
pub mod h5ad;
pub mod hdf;
pub mod impute;
pub mod io;
pub mod matrix;
pub mod minibatch;
pub mod model;
pub mod output;
pub mod parallel;
pub mod perturb;
pub mod profile;
mod random;
pub mod report;
pub mod simulate;
pub mod store;
mod tensors;
pub mod tenx;
pub mod text;
pub mod train;

/// What users are told with every imputed matrix.
pub const CAUTION: &str =
    "imputed values are estimates: do not use them unexamined for differential expression or clustering";

pub use error::{Error, Result};
