use super::*;
use crate::testing::{Rng, Unaligned, assert_close, runnable};

/// Around one and two tiles, beyond a block; columns also beyond a chunk.
const ROWS: [usize; 8] = [0, 1, 5, 15, 16, 17, 33, 48];
const COLS: [usize; 8] = [0, 1, 7, 16, 31, 32, 67, 150];
/// Around the halves of a group, groups, and passes over k (288, 576).
const SUMMED: [usize; 9] = [0, 1, 15, 16, 17, 33, 101, 289, 800];

/// A view of `rows × cols` random values: columns 2.. of a wider matrix, and stored transposed or not.
fn with_view<T>(
    rng: &mut Rng,
    rows: usize,
    cols: usize,
    transposed: bool,
    f: impl FnOnce(DenseView<'_>) -> T,
) -> T {
    let (stored_rows, stored_cols) = if transposed { (cols, rows) } else { (rows, cols) };
    let data = Unaligned::new(&rng.vec(stored_rows * (stored_cols + 3), -1.0, 1.0));
    let view = DenseView::new(&data, stored_rows, stored_cols + 3).columns(2..stored_cols + 2);
    f(if transposed { view.transposed() } else { view })
}

#[test]
fn packing_equals_the_reference() {
    for m in ROWS {
        for k in SUMMED {
            for transposed in [false, true] {
                with_view(&mut Rng::new((m * 1000 + k) as u64), m, k, transposed, |a| {
                    for (isa, name) in runnable(PACK_LEFT_KERNELS) {
                        let (mut want, mut got) = (vec![1; m * words(k)], vec![2; m * words(k)]);
                        pack_left(Isa::Reference, &mut want, a);
                        pack_left(isa, &mut got, a);
                        assert_eq!(got, want, "{name} {m}×{k} {transposed}");
                    }
                    let b = a.transposed();
                    for (isa, name) in runnable(PACK_RIGHT_KERNELS) {
                        let (mut want, mut got) = (vec![1; panel_words(k, m)], vec![2; panel_words(k, m)]);
                        pack_right(Isa::Reference, &mut want, b);
                        pack_right(isa, &mut got, b);
                        assert_eq!(got, want, "{name} {k}×{m} {transposed}");
                    }
                });
            }
        }
    }
}

/// Rows that were not transposed are packed as everywhere in the project.
#[test]
fn left_factors_are_paired_rows() {
    let (m, k) = (5, 77);
    let x = Rng::new(3).vec(m * k, -1.0, 1.0);
    let (mut left, mut rows) = (vec![1; m * words(k)], vec![2; m * words(k)]);
    pack_left(Isa::detect(), &mut left, DenseView::new(&x, m, k));
    crate::paired::pack_rows(Isa::Reference, &mut rows, &x, m, k);
    assert_eq!(left, rows);
}

/// ε · (k + 4): both round the factors alike, and products of bf16 are exact in f32. The 1e-30 is for denormals,
/// which AMX flushes.
#[test]
fn products_agree_with_the_reference() {
    for (isa, name) in runnable(KERNELS) {
        for m in ROWS {
            for n in COLS {
                for k in SUMMED {
                    let rng = &mut Rng::new((m * 10_000 + n * 100 + k) as u64);
                    let turned = rng.bits();
                    let start = rng.vec(m * n, -1.0, 1.0);
                    let mut scratch = vec![u32::MAX; scratch_words(m, n, k)];
                    with_view(&mut rng.clone(), m, k, turned & 1 == 1, |a| {
                        with_view(rng, k, n, turned & 2 == 2, |b| {
                            for beta in [0.0, 1.0, -0.25] {
                                let start = if beta == 0.0 { vec![f32::NAN; m * n] } else { start.clone() };
                                let (mut want, mut got) = (start.clone(), Unaligned::new(&start));
                                let want_view = DenseViewMut::new(&mut want, m, n);
                                gemm_bf16(Isa::Reference, want_view, a, b, beta, &mut scratch);
                                let got_view = DenseViewMut::new(&mut got, m, n);
                                gemm_bf16(isa, got_view, a, b, beta, &mut scratch);
                                let what = format!("{name} {m}×{n}×{k} beta {beta}");
                                assert!(got.iter().all(|x| !x.is_nan()), "{what}");
                                assert_close(&what, &got, &want, 1e-30, k + 4);
                            }
                        });
                    });
                }
            }
        }
    }
}

/// Against unrounded factors: 2⁻⁸ of each product, and far less of their sum.
#[test]
fn products_are_those_of_the_unrounded_factors_but_for_rounding() {
    for (isa, name) in runnable(KERNELS) {
        let (m, n, k) = (33, 40, 800);
        let rng = &mut Rng::new(7);
        let (a, b) = (rng.vec(m * k, -1.0, 1.0), rng.vec(k * n, -1.0, 1.0));
        let (a, b) = (DenseView::new(&a, m, k), DenseView::new(&b, k, n));
        let (mut want, mut got) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
        crate::gemm::gemm(Isa::Reference, DenseViewMut::new(&mut want, m, n), a, b, 0.0);
        let scratch = &mut vec![0; scratch_words(m, n, k)];
        gemm_bf16(isa, DenseViewMut::new(&mut got, m, n), a, b, 0.0, scratch);
        assert_close(name, &got, &want, 0.003 * (k as f64).sqrt(), 0);
    }
}

#[test]
fn relu_affine_agrees_with_the_reference() {
    for (isa, name) in runnable(KERNELS) {
        for (m, n, k) in [(0, 5, 3), (1, 1, 1), (5, 67, 40), (17, 16, 800), (48, 33, 289), (33, 7, 0)] {
            let rng = &mut Rng::new((m + n + k) as u64);
            let (d, w, bias) = (
                rng.vec(m * k, -1.0, 1.0),
                rng.vec(n * k, -1.0, 1.0),
                Unaligned::new(&rng.vec(n, -1.0, 1.0)),
            );
            let (mut left, mut right) = (vec![1; m * words(k)], vec![1; panel_words(k, n)]);
            pack_left(isa, &mut left, DenseView::new(&d, m, k));
            pack_right(isa, &mut right, DenseView::new(&w, n, k).transposed());
            let mut want = vec![f32::NAN; m * n];
            let mut got = Unaligned::new(&want);
            relu_affine(Isa::Reference, DenseViewMut::new(&mut want, m, n), &left, &right, &bias, k);
            relu_affine(isa, DenseViewMut::new(&mut got, m, n), &left, &right, &bias, k);
            assert_close(&format!("{name} {m}×{n}×{k}"), &got, &want, 1e-30, k + 4);
            assert!(got.iter().all(|&y| y >= 0.0), "{name} {m}×{n}×{k}");
        }
    }
}

/// Rows in flight are limited; their strips follow one another.
#[test]
fn many_rows_are_cut_into_strips() {
    for (isa, name) in runnable(KERNELS) {
        let (m, n, k) = (1100, 3, 801);
        let rng = &mut Rng::new(9);
        let (a, b) = (rng.vec(m * k, -1.0, 1.0), rng.vec(k * n, -1.0, 1.0));
        let (a, b) = (DenseView::new(&a, m, k), DenseView::new(&b, k, n));
        let (mut want, mut got) = (vec![f32::NAN; m * n], vec![f32::NAN; m * n]);
        let scratch = &mut vec![0; scratch_words(m, n, k)];
        gemm_bf16(Isa::Reference, DenseViewMut::new(&mut want, m, n), a, b, 0.0, scratch);
        gemm_bf16(isa, DenseViewMut::new(&mut got, m, n), a, b, 0.0, scratch);
        assert_close(name, &got, &want, 1e-30, k);
    }
}

#[test]
fn nan_passes_the_relu_and_stays_in_its_row() {
    for (isa, name) in runnable(KERNELS) {
        let (m, n, k) = (20, 20, 40);
        let mut d = vec![1.0; m * k];
        d[3 * k + 35] = f32::NAN;
        let (mut left, mut right) = (vec![0; m * words(k)], vec![0; panel_words(k, n)]);
        pack_left(isa, &mut left, DenseView::new(&d, m, k));
        pack_right(isa, &mut right, DenseView::new(&vec![-1.0; n * k], n, k).transposed());
        let mut y = vec![f32::INFINITY; m * n];
        relu_affine(isa, DenseViewMut::new(&mut y, m, n), &left, &right, &vec![0.5; n], k);
        for (at, y) in y.into_iter().enumerate() {
            assert!(if at / n == 3 { y.is_nan() } else { y == 0.0 }, "{name}: {y} at {at}");
        }
    }
}

/// Tiles belong to a thread, the permission to the process.
#[test]
fn any_thread_may_multiply() {
    let workers: Vec<_> = (0..4)
        .map(|_| std::thread::Builder::new().spawn(nan_passes_the_relu_and_stays_in_its_row).unwrap())
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
#[should_panic(expected = "scratch is smaller than scratch_words(m, n, k)")]
fn scratch_is_checked() {
    let x = DenseView::new(&[1.0], 1, 1);
    gemm_bf16(Isa::Reference, DenseViewMut::new(&mut [0.0], 1, 1), x, x, 0.0, &mut [0; 31]);
}

#[test]
#[should_panic(expected = "b is not panel_words(k, n)")]
fn panels_are_checked() {
    gemm_packed(Isa::Reference, DenseViewMut::new(&mut [0.0], 1, 1), &[0; 16], &[0; 16], 1, false);
}

#[test]
#[should_panic(expected = "bias is not one value per feature")]
fn the_bias_is_checked() {
    relu_affine(Isa::Reference, DenseViewMut::new(&mut [0.0], 1, 1), &[0; 16], &[0; 256], &[], 1);
}
