use crate::Isa;
use crate::table::select;

kernels! {
    drop_units_f32__reference drop_units_f32__portable drop_units_f32__avx2 drop_units_f32__avx512 =
    drop_units(x: &mut [f32], units: &[u32], keep: f32, key: u64)
}

/// Inverted dropout of one sample's stored entries: `x[i] /= keep` if [`kept`](super::kept)`(key, units[i], keep)`,
/// else `x[i] = 0`; the quotient is the product with `1 / keep`.
///
/// `x`: the values, in place; `units`: as many unit numbers, in any order. Ones in place of values make a mask.
///
/// # Panics
/// If the lengths differ, `keep` is not in `0..=1`, or this CPU lacks `isa`.
pub fn drop_units(isa: Isa, x: &mut [f32], units: &[u32], keep: f32, key: u64) {
    assert_eq!(x.len(), units.len(), "x has not one value per unit");
    assert!((0.0..=1.0).contains(&keep), "keep is {keep}");
    let kernel = select(KERNELS, isa);
    // SAFETY: `select` checked the CPU, the assert above the lengths.
    unsafe { kernel(x, units, keep, key) }
}

mod reference {
    use crate::dropout::kept;

    pub(super) fn drop_units_f32__reference(x: &mut [f32], units: &[u32], keep: f32, key: u64) {
        for (x, &unit) in x.iter_mut().zip(units) {
            *x = if kept(key, unit, keep) { *x * (1.0 / keep) } else { 0.0 };
        }
    }
}

mod generic {
    use crate::dropout::{limit, where_units_kept};
    use crate::lanes::Lanes;

    /// # Safety
    /// The CPU has the instruction set of `V`; there are as many units as values.
    #[inline(always)]
    pub(super) unsafe fn drop_units<V: Lanes, const N: usize>(
        x: &mut [f32],
        units: &[u32],
        keep: f32,
        key: u64,
    ) {
        let whole = x.len() - x.len() % V::WIDTH;
        let lanes = x.len() - whole;
        let limit = limit(keep);
        let (x, units) = (x.as_mut_ptr(), units.as_ptr());
        // SAFETY: `at + WIDTH <= whole <= len`, and `lanes` values are left for the tail.
        unsafe {
            let scale = V::splat(1.0 / keep);
            for at in (0..whole).step_by(V::WIDTH) {
                let scaled = V::load(x.add(at)).mul(scale);
                where_units_kept(scaled, key, V::word_load(units.add(at)), limit).store(x.add(at));
            }
            if lanes > 0 {
                let scaled = V::load_head(x.add(whole), lanes).mul(scale);
                let units = V::word_load_head(units.add(whole), lanes);
                where_units_kept(scaled, key, units, limit).store_head(x.add(whole), lanes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dropout::{kept, row_key};
    use crate::testing::{Rng, Unaligned, WIDTHS, runnable};

    /// Equal to the last bit: the decisions are those of [`kept`], the one product is rounded alike.
    #[test]
    fn drop_units_decides_as_kept_does() {
        for (isa, name) in runnable(KERNELS) {
            for len in WIDTHS.into_iter().chain([0, 1009]) {
                let rng = &mut Rng::new(len as u64);
                let x = rng.vec(len, -1.0, 1.0);
                #[allow(clippy::cast_possible_truncation, reason = "random bits")]
                let units: Vec<u32> = (0..len).map(|_| rng.bits() as u32).collect();
                for keep in [0.0, 0.1, 0.5, 0.8, 1.0] {
                    let key = row_key(1, 0, 3, len as u64);
                    let decide = |(&x, &unit): (&f32, &u32)| {
                        if kept(key, unit, keep) { x * keep.recip() } else { 0.0 }
                    };
                    let want: Vec<u32> = x.iter().zip(&units).map(decide).map(f32::to_bits).collect();
                    let mut got = Unaligned::new(&x);
                    drop_units(isa, &mut got, &units, keep, key);
                    let got: Vec<u32> = got.iter().map(|x| x.to_bits()).collect();
                    assert_eq!(got, want, "{name} {len} keep {keep}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "x has not one value per unit")]
    fn lengths_are_checked() {
        drop_units(Isa::Reference, &mut [0.0; 2], &[1], 0.5, 1);
    }
}
