//! late-fast: single-cell RNA-seq imputation (LATE, TRANSLATE) at atlas scale, on CPUs.
//!
//! A count matrix is read by [`io`], unpacked once into a memory-mapped [`store`], streamed in
//! minibatches by [`minibatch`], trained by [`train`] on the network of [`model`], and imputed by
//! [`impute`]. Dependencies point one way: cli -> train, impute -> model, minibatch -> store -> matrix.
#![deny(unsafe_code)]

pub mod error;
pub mod h5ad;
pub mod hdf;
pub mod io;
pub mod matrix;

pub use error::{Error, Result};
