//! Dense products: the middle layers, and every output when imputing.

use crate::table::size;
use crate::{Isa, Kernel};

mod blas;
mod reference;
#[cfg(test)]
mod tests;

pub use blas::blas_single_thread;

/// Whether a factor is stored as its transpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// As written in the product.
    No,
    /// Columns of the product's factor are rows of the slice.
    Yes,
}

/// Sizes of a product: `c` is `m × n`; `op(a)` is `m × k` and `op(b)` is `k × n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of `c`.
    pub m: usize,
    /// Columns of `c`.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
}

/// Signature shared by the kernels of this operation.
pub type Run = unsafe fn(&mut [f32], &[f32], Transpose, &[f32], Transpose, GemmShape, f32, f32);

/// Every kernel of this operation. BLAS does its own dispatch, so it stands for every other [`Isa`].
pub static KERNELS: &[Kernel<Run>] = &[
    Kernel::new(Isa::Reference, "gemm_f32__reference", reference::gemm_f32__reference),
    Kernel::new(Isa::Portable, "gemm_f32__blas", blas::gemm_f32__blas),
];

/// `c = alpha · op(a) · op(b) + beta · c`, row-major; `c` is not read if `beta` is 0.
///
/// `c: m × n`; `a: m × k`, or `k × m` if transposed; `b: k × n`, or `n × k` if transposed.
/// [`Isa::Reference`] runs the plain loops, every other `isa` OpenBLAS, whose threads are the caller's concern:
/// see [`blas_single_thread`].
///
/// # Panics
/// If a length is not the one stated, or a size does not fit BLAS's 32-bit integers.
pub fn gemm(
    isa: Isa,
    c: &mut [f32],
    a: &[f32],
    transpose_a: Transpose,
    b: &[f32],
    transpose_b: Transpose,
    shape: GemmShape,
    alpha: f32,
    beta: f32,
) {
    let GemmShape { m, n, k } = shape;
    assert_eq!(c.len(), size(m, n), "c is not m × n");
    assert_eq!(a.len(), size(m, k), "a is not m × k");
    assert_eq!(b.len(), size(k, n), "b is not k × n");
    for size in [m, n, k] {
        assert!(i32::try_from(size).is_ok(), "BLAS cannot count to {size}");
    }
    let kernel = if isa == Isa::Reference { reference::gemm_f32__reference } else { blas::gemm_f32__blas };
    kernel(c, a, transpose_a, b, transpose_b, shape, alpha, beta);
}
