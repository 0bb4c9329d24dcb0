//! Sparse, fused, vectorised kernels of late-fast.
//!
//! Every operation has a plain `reference` kernel and one body that is compiled for each instruction set
//! ([`Isa`]). The safe entry points check every precondition and panic on misuse. Nothing here does I/O,
//! starts threads, reads a clock, keeps random state or allocates; the same inputs give the same bits for a
//! given [`Isa`].
//!
//! Matrices are row-major `f32` slices. The two wide layers are stored feature-major, `n_features × k`, so
//! that one feature is one row. Arguments come as outputs, inputs, sizes.
//!
//! ```
//! use late_fast_kernels::{CsrView, F32, Isa, spmm::spmm};
//!
//! // Two samples, three features: [[0, 2, 0], [1, 0, 3]].
//! let x = CsrView::new(&[0, 1, 3], &[1, 0, 2], &[2.0, 1.0, 3.0], 2, 3)?;
//! let w = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]; // 3 × 2
//! let mut out = [f32::NAN; 4];
//! spmm::<F32>(Isa::detect(), &mut out, x, &w, 2, false);
//! assert_eq!(out, [4.0, 40.0, 10.0, 100.0]);
//! # Ok::<(), late_fast_kernels::ViewError>(())
//! ```
#![allow(non_snake_case, reason = "kernels are named <op>_<dtype>__<isa>")]

extern crate openblas_src as _;

#[macro_use]
mod table;
pub mod activation;
pub mod adam;
#[cfg(target_arch = "x86_64")]
mod amx;
mod blocks;
pub mod decoder;
mod dense;
pub mod dense_step;
pub mod dropout;
pub mod encoder;
pub mod gemm;
pub mod gemm_bf16;
mod gradient;
mod isa;
mod lanes;
mod layer;
pub mod paired;
pub mod sddmm;
pub mod spmm;
mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod view;

pub use adam::Adam;
pub use dense::{DenseView, DenseViewMut};
pub use isa::{ISA_VARIABLE, Isa, IsaError, flush_denormals};
pub use layer::{WideLayerMut, WideWeightsMut};
pub use storage::{Bf16, F32, Storage};
pub use table::Kernel;
pub use view::{CsrView, ViewError};
