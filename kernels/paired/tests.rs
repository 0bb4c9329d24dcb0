use super::*;
use crate::testing::{Rng, Unaligned, WIDTHS, runnable};

/// Numbers whose rounding is easily wrong.
const AWKWARD: [(u32, u16); 14] = [
    (0x0000_0000, 0x0000),
    (0x8000_0000, 0x8000),
    (0x3f80_8000, 0x3f80), // half way, to even below
    (0x3f81_8000, 0x3f82), // half way, to even above
    (0x3f80_8001, 0x3f81),
    (0x7f7f_ffff, 0x7f80), // the largest number rounds to infinity
    (0xff80_0000, 0xff80),
    (0x0000_0001, 0x0000),
    (0x0000_8001, 0x0001), // denormals are kept
    (0x807f_ffff, 0x8080),
    (0x7f80_0001, 0x7fc0), // a NaN that truncation would make infinite
    (0x7fff_ffff, 0x7fc0), // a NaN that rounding would make -0
    (0xffff_ffff, 0x7fc0),
    (0x7fc0_0000, 0x7fc0),
];

#[test]
fn rounding_is_to_nearest_even_and_keeps_nan() {
    for (bits, want) in AWKWARD {
        assert_eq!(bf16_round(f32::from_bits(bits)), want, "{bits:#x}");
    }
    for bf16 in 0..=u16::MAX {
        let x = to_f32(bf16);
        assert_eq!(bf16_round(x), if x.is_nan() { 0x7fc0 } else { bf16 });
    }
}

#[test]
fn rows_have_the_documented_layout() {
    assert_eq!([0, 1, 32, 33, 400, 800].map(words), [0, 16, 16, 32, 208, 400]);
    for (isa, name) in runnable(PACK_KERNELS) {
        let x: Vec<f32> = (0_u8..35).map(f32::from).collect();
        let mut out = [u32::MAX; 32];
        pack_rows(isa, &mut out, &x, 1, 35);
        for (at, word) in out.into_iter().enumerate() {
            let (group, lane) = (at / 16 * 32, at % 16);
            let half = |col: usize| x.get(col).map_or(0, |&x| u32::from(bf16_round(x)));
            assert_eq!(word, half(group + lane) | half(group + lane + 16) << 16, "{name} word {at}");
        }
    }
}

/// Equal to the last bit, and back.
#[test]
fn kernels_equal_the_reference() {
    for (isa, name) in runnable(PACK_KERNELS) {
        for n_rows in [0, 1, 5] {
            for k in WIDTHS.into_iter().chain([0, 32, 33, 63]) {
                let rng = &mut Rng::new((n_rows * 1000 + k) as u64);
                let mut x = rng.vec(n_rows * k, -2.0, 2.0);
                for (x, (bits, _)) in x.iter_mut().step_by(3).zip(AWKWARD) {
                    *x = f32::from_bits(bits);
                }
                let x = Unaligned::new(&x);
                let mut want = vec![u32::MAX; n_rows * words(k)];
                let mut got = want.clone();
                pack_rows(Isa::Reference, &mut want, &x, n_rows, k);
                pack_rows(isa, &mut got, &x, n_rows, k);
                assert_eq!(got, want, "{name} {n_rows}×{k}");

                let nan = vec![f32::NAN; n_rows * k];
                let (mut back, mut got_back) = (nan.clone(), Unaligned::new(&nan));
                unpack_rows(Isa::Reference, &mut back, &want, n_rows, k);
                unpack_rows(isa, &mut got_back, &want, n_rows, k);
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&got_back), bits(&back), "{name} {n_rows}×{k}");
                let rounded: Vec<f32> = x.iter().map(|&x| to_f32(bf16_round(x))).collect();
                assert_eq!(bits(&back), bits(&rounded), "{name} {n_rows}×{k}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "out is not n_rows × words(k)")]
fn packed_rows_are_padded() {
    pack_rows(Isa::Reference, &mut [0; 3], &[0.0; 3], 1, 3);
}

#[test]
#[should_panic(expected = "x is not n_rows × words(k)")]
fn unpacked_rows_were_padded() {
    unpack_rows(Isa::Reference, &mut [0.0; 3], &[0; 3], 1, 3);
}
