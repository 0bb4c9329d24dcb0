//! Dense products: the middle layers, and every output when imputing.

use crate::{DenseView, DenseViewMut, Isa, Kernel};

mod blas;
mod reference;
#[cfg(test)]
mod tests;

pub use blas::blas_single_thread;

/// Signature shared by the kernels of this operation.
pub type Run = fn(DenseViewMut<'_>, DenseView<'_>, DenseView<'_>, f32);

/// Every kernel of this operation. BLAS does its own dispatch, so it stands for every other [`Isa`].
pub static KERNELS: &[Kernel<Run>] = &[
    Kernel::new(Isa::Reference, "gemm_f32__reference", reference::gemm_f32__reference),
    Kernel::new(Isa::Portable, "gemm_f32__blas", blas::gemm_f32__blas),
];

/// `c = a · b + beta · c`; `c` is not read if `beta` is 0.
///
/// `c: m × n`, `a: m × k`, `b: k × n`. [`Isa::Reference`] runs the plain loops, every other `isa` OpenBLAS,
/// whose threads are the caller's concern: see [`blas_single_thread`].
///
/// # Panics
/// If the sizes do not match, or one does not fit BLAS's 32-bit integers.
pub fn gemm(isa: Isa, c: DenseViewMut<'_>, a: DenseView<'_>, b: DenseView<'_>, beta: f32) {
    assert_eq!(a.n_rows(), c.n_rows(), "a and c differ in rows");
    assert_eq!(b.n_cols(), c.n_cols(), "b and c differ in columns");
    assert_eq!(a.n_cols(), b.n_rows(), "a's columns are not b's rows");
    let kernel = if isa == Isa::Reference { reference::gemm_f32__reference } else { blas::gemm_f32__blas };
    kernel(c, a, b, beta);
}
