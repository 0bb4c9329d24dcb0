//! The crate's only foreign functions.

use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE, cblas_sgemm};

use super::{GemmShape, Transpose};

unsafe extern "C" {
    /// Of OpenBLAS, not of CBLAS.
    safe fn openblas_set_num_threads(n_threads: std::ffi::c_int);
}

/// Makes every later product run on the calling thread.
///
/// Callers parallelise by cutting products into fixed tiles, so that results do not depend on the number of
/// threads; besides, OpenBLAS's own workers keep spinning after a product and slow down what follows.
pub fn blas_single_thread() {
    openblas_set_num_threads(1);
}

/// The lengths are those asserted by the safe entry, which are asserted again: this is the last safe function.
pub(super) fn gemm_f32__blas(
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
    assert!(c.len() == m * n && a.len() == m * k && b.len() == k * n);
    if m == 0 || n == 0 {
        return;
    }
    let int = |size: usize| i32::try_from(size).unwrap_or_else(|_| panic!("BLAS cannot count to {size}"));
    let leading = |transpose, rows, cols| int(if transpose == Transpose::No { cols } else { rows }).max(1);
    let (lda, ldb) = (leading(transpose_a, m, k), leading(transpose_b, k, n));
    let (m, n, k) = (int(m), int(n), int(k));
    let op = |transpose| match transpose {
        Transpose::No => CBLAS_TRANSPOSE::CblasNoTrans,
        Transpose::Yes => CBLAS_TRANSPOSE::CblasTrans,
    };
    let (op_a, op_b) = (op(transpose_a), op(transpose_b));
    let (c, a, b) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
    // SAFETY: the slices hold whole row-major matrices of the sizes and leading dimensions passed, see the assert.
    unsafe {
        cblas_sgemm(CBLAS_LAYOUT::CblasRowMajor, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, n);
    }
}
