use super::*;
use crate::testing::{Rng, Unaligned, assert_close};

/// ε · (k + 4).
#[test]
fn blas_agrees_with_the_reference() {
    blas_single_thread();
    for m in [0, 1, 5, 16, 37] {
        for n in [0, 1, 7, 33] {
            for k in [0, 1, 3, 16, 101] {
                for (transpose_a, transpose_b) in [
                    (Transpose::No, Transpose::No),
                    (Transpose::No, Transpose::Yes),
                    (Transpose::Yes, Transpose::No),
                    (Transpose::Yes, Transpose::Yes),
                ] {
                    let rng = &mut Rng::new((m * 10_000 + n * 100 + k) as u64);
                    let a = Unaligned::new(&rng.vec(m * k, -1.0, 1.0));
                    let b = Unaligned::new(&rng.vec(k * n, -1.0, 1.0));
                    let start = rng.vec(m * n, -1.0, 1.0);
                    let shape = GemmShape { m, n, k };
                    for (alpha, beta) in [(1.0, 0.0), (0.5, 1.0), (1.0, -0.25)] {
                        let start = if beta == 0.0 { vec![f32::NAN; m * n] } else { start.clone() };
                        let (mut want, mut got) = (start.clone(), Unaligned::new(&start));
                        gemm(Isa::Reference, &mut want, &a, transpose_a, &b, transpose_b, shape, alpha, beta);
                        gemm(Isa::detect(), &mut got, &a, transpose_a, &b, transpose_b, shape, alpha, beta);
                        let what = format!("{shape:?} {transpose_a:?} {transpose_b:?} {alpha} {beta}");
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
        let shape = GemmShape { m: 2, n: 2, k: 3 };
        gemm(isa, &mut c, &a, Transpose::No, &b, Transpose::No, shape, 1.0, 0.0);
        assert_eq!(c, [4.0, 5.0, 10.0, 11.0], "{isa}");
    }
}

#[test]
#[should_panic(expected = "b is not k × n")]
fn lengths_are_checked() {
    let shape = GemmShape { m: 1, n: 1, k: 1 };
    gemm(Isa::Reference, &mut [0.0], &[0.0], Transpose::No, &[], Transpose::No, shape, 1.0, 0.0);
}
