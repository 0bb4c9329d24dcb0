use std::mem::MaybeUninit;

use super::{EntryLoss, MAX_K, WideLayerMut};
use crate::adam::AdamLanes;
use crate::lanes::Lanes;
use crate::sddmm::dots;
use crate::{Adam, CsrView};

/// What the entries of one feature share. `d` and `dd` are `n_samples × k`; `w` and `dw` have `k` values.
struct Feature {
    d: *const f32,
    dd: *mut f32,
    w: *const f32,
    dw: *mut f32,
    k: usize,
    bias: f32,
    grad_scale: f32,
    loss: EntryLoss,
}

impl Feature {
    /// `G` entries at once: their rows of `d` come into L1 with the dot products and serve again for `dw`, and
    /// the loads of `w` and `dw` are shared. Returns the sums of losses and gradients.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the pointers are valid as stated, `samples < n_samples`.
    #[inline(always)]
    unsafe fn group<V: Lanes, const G: usize, const U: usize>(
        &self,
        samples: &[u32; G],
        targets: &[f32; G],
    ) -> (f64, f64) {
        let k = self.k;
        // SAFETY: every row is valid for `k` values, and `at + WIDTH <= k` or `at + (k - at) <= k`. The rows of
        // `dd` may coincide (repeated samples): each is loaded after the previous one was stored.
        unsafe {
            let d = samples.map(|sample| self.d.add(sample as usize * k));
            let dd = samples.map(|sample| self.dd.add(sample as usize * k));
            let dots = dots::<V, G, U>(d, self.w, k);
            let (mut loss, mut db) = (0.0, 0.0);
            let mut g = [V::splat(0.0); G];
            for e in 0..G {
                let z = self.bias + dots[e];
                let (l, slope) = self.loss.at(if z < 0.0 { 0.0 } else { z }, targets[e]);
                let slope = if z > 0.0 { slope * self.grad_scale } else { 0.0 };
                g[e] = V::splat(slope);
                loss += l;
                db += f64::from(slope);
            }
            let mut at = 0;
            while k - at >= V::WIDTH {
                let w = V::load(self.w.add(at));
                let mut dw = V::load(self.dw.add(at));
                for e in 0..G {
                    dw = V::load(d[e].add(at)).mul_add(g[e], dw);
                    w.mul_add(g[e], V::load(dd[e].add(at))).store(dd[e].add(at));
                }
                dw.store(self.dw.add(at));
                at += V::WIDTH;
            }
            if at < k {
                let lanes = k - at;
                let w = V::load_head(self.w.add(at), lanes);
                let mut dw = V::load_head(self.dw.add(at), lanes);
                for e in 0..G {
                    dw = V::load_head(d[e].add(at), lanes).mul_add(g[e], dw);
                    w.mul_add(g[e], V::load_head(dd[e].add(at), lanes)).store_head(dd[e].add(at), lanes);
                }
                dw.store_head(self.dw.add(at), lanes);
            }
            (loss, db)
        }
    }

    /// Some entries, four at a time. Returns the sums of losses and gradients.
    ///
    /// # Safety
    /// As for [`Feature::group`].
    #[inline(always)]
    unsafe fn entries<V: Lanes>(&self, mut samples: &[u32], mut targets: &[f32]) -> (f64, f64) {
        let (mut loss, mut db) = (0.0, 0.0);
        // SAFETY: passed on.
        unsafe {
            while let (Some((s, more_samples)), Some((t, more_targets))) =
                (samples.split_first_chunk::<4>(), targets.split_first_chunk::<4>())
            {
                let (l, g) = self.group::<V, 4, 2>(s, t);
                (loss, db) = (loss + l, db + g);
                (samples, targets) = (more_samples, more_targets);
            }
            for (&sample, &target) in samples.iter().zip(targets) {
                let (l, g) = self.group::<V, 1, 4>(&[sample], &[target]);
                (loss, db) = (loss + l, db + g);
            }
        }
        (loss, db)
    }
}

/// Values of `dw` kept on the stack, at least one feature's.
const SCRATCH: usize = 65_536;
/// Most features in a block.
const BLOCK: usize = 128;
/// Values of `d` above which samples are taken in tiles of `TILE` values, so that `d` and `dd` of a tile stay in
/// L2 while a block of features passes; below, the tiles' extra loads of `w` and `dw` cost more than they save.
const UNTILED: usize = 400 * 800;
const TILE: usize = 128 * 800;
const _: () = assert!(MAX_K <= SCRATCH);

/// Features per block, samples per tile. A matter of `n_samples` and `k` only: what is summed in which order does
/// not depend on how the caller splits the features.
fn blocking(n_samples: usize, k: usize) -> (usize, usize) {
    if n_samples.saturating_mul(k) <= UNTILED {
        return (1, n_samples);
    }
    ((SCRATCH / k).clamp(1, BLOCK), (TILE / k).max(1))
}

/// # Safety
/// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
#[inline(always)]
pub(super) unsafe fn decoder_step<V: Lanes, const N: usize>(
    dd: &mut [f32],
    layer: WideLayerMut<'_>,
    xt: CsrView<'_>,
    d: &[f32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    let (d, dd) = (d.as_ptr(), dd.as_mut_ptr());
    let (w, m, v) = (layer.w.as_mut_ptr(), layer.m.as_mut_ptr(), layer.v.as_mut_ptr());
    let mut scratch = MaybeUninit::<[f32; SCRATCH]>::uninit();
    let scratch = scratch.as_mut_ptr().cast::<f32>();
    let (n_features, n_samples) = (xt.n_rows(), xt.n_cols());
    let (block, tile) = blocking(n_samples, k);
    let mut total = 0.0;
    let (mut done, mut losses, mut db) = ([0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
    // SAFETY: `feature < n_features`, `block * k <= SCRATCH`, and the view proved that every index is below
    // `n_samples`.
    unsafe {
        let lanes = AdamLanes::<V>::new(adam);
        for start in (0..n_features).step_by(block) {
            let features = start..n_features.min(start + block);
            scratch.write_bytes(0, features.len() * k);
            done[..features.len()].fill(0);
            losses[..features.len()].fill(0.0);
            db[..features.len()].fill(0.0);
            let mut end = 0;
            while end < n_samples {
                end = end.saturating_add(tile).min(n_samples);
                for (at, feature) in features.clone().enumerate() {
                    let (samples, targets) = xt.row(feature);
                    let (samples, targets) = (&samples[done[at]..], &targets[done[at]..]);
                    // Unsorted entries may come in a later tile than their own, but all come.
                    let in_tile = if end == n_samples {
                        samples.len()
                    } else {
                        samples.iter().take_while(|&&sample| (sample as usize) < end).count()
                    };
                    done[at] += in_tile;
                    let (w, dw) = (w.add(feature * k), scratch.add(at * k));
                    let this = Feature { d, dd, w, dw, k, bias: layer.bias[feature], grad_scale, loss };
                    let (l, g) = this.entries::<V>(&samples[..in_tile], &targets[..in_tile]);
                    losses[at] += l;
                    db[at] += g;
                }
            }
            for (at, feature) in features.enumerate() {
                let row = feature * k;
                update_row(&lanes, [w.add(row), m.add(row), v.add(row)], scratch.add(at * k), k);
                #[allow(clippy::cast_possible_truncation, reason = "the state is f32")]
                let db = db[at] as f32;
                adam.update(
                    &mut layer.bias[feature],
                    &mut layer.bias_m[feature],
                    &mut layer.bias_v[feature],
                    db,
                );
                total += losses[at];
            }
        }
    }
    total
}

/// # Safety
/// The CPU has the instruction set of `V`; all pointers are valid for `k` values.
#[inline(always)]
unsafe fn update_row<V: Lanes>(adam: &AdamLanes<V>, [w, m, v]: [*mut f32; 3], dw: *const f32, k: usize) {
    // SAFETY: `at + WIDTH <= k` or `at + (k - at) <= k`.
    unsafe {
        let mut at = 0;
        while k - at >= V::WIDTH {
            adam.update(w.add(at), m.add(at), v.add(at), V::load(dw.add(at)));
            at += V::WIDTH;
        }
        if at < k {
            adam.update_head(w.add(at), m.add(at), v.add(at), V::load_head(dw.add(at), k - at), k - at);
        }
    }
}
