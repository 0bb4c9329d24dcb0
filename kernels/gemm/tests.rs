use super::*;
use crate::testing::{Rng, Unaligned, assert_close};

/// ε · (k + 4).
#[test]
fn blas_agrees_with_the_reference() {
    blas_single_thread();
    for m in [0, 1, 5, 16, 37] {
        for n in [0, 1, 7, 33] {
            for k in [0, 1, 3, 16, 101] {
                for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)]
                {
                    let rng = &mut Rng::new((m * 10_000 + n * 100 + k) as u64);
                    // Both factors are columns 2.. of a wider matrix.
                    let (rows_a, cols_a) = if transpose_a { (k, m) } else { (m, k) };
                    let (rows_b, cols_b) = if transpose_b { (n, k) } else { (k, n) };
                    let a = Unaligned::new(&rng.vec(rows_a * (cols_a + 3), -1.0, 1.0));
                    let b = Unaligned::new(&rng.vec(rows_b * (cols_b + 3), -1.0, 1.0));
                    let a = DenseView::new(&a, rows_a, cols_a + 3).columns(2..cols_a + 2);
                    let b = DenseView::new(&b, rows_b, cols_b + 3).columns(2..cols_b + 2);
                    let a = if transpose_a { a.transposed() } else { a };
                    let b = if transpose_b { b.transposed() } else { b };
                    let start = rng.vec(m * n, -1.0, 1.0);
                    for beta in [0.0, 1.0, -0.25] {
                        let start = if beta == 0.0 { vec![f32::NAN; m * n] } else { start.clone() };
                        let (mut want, mut got) = (start.clone(), Unaligned::new(&start));
                        gemm(Isa::Reference, DenseViewMut::new(&mut want, m, n), a, b, beta);
                        gemm(Isa::detect(), DenseViewMut::new(&mut got, m, n), a, b, beta);
                        let what = format!("{m} × {n} × {k} {transpose_a} {transpose_b} {beta}");
                        assert!(got.iter().all(|x| !x.is_nan()), "{what}");
                        assert_close(&what, &got, &want, 0.0, k + 4);
                    }
                }
            }
        }
    }
}

#[test]
fn a_product_by_hand() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    for isa in Isa::available() {
        let mut c = [f32::NAN; 4];
        let (a, b) = (DenseView::new(&a, 2, 3), DenseView::new(&b, 3, 2));
        gemm(isa, DenseViewMut::new(&mut c, 2, 2), a, b, 0.0);
        assert_eq!(c, [4.0, 5.0, 10.0, 11.0], "{isa}");
    }
}

#[test]
#[should_panic(expected = "a's columns are not b's rows")]
fn sizes_are_checked() {
    let (a, b) = (DenseView::new(&[0.0], 1, 1), DenseView::new(&[0.0, 0.0], 2, 1));
    gemm(Isa::Reference, DenseViewMut::new(&mut [0.0], 1, 1), a, b, 0.0);
}
