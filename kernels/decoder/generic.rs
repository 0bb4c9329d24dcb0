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
    let mut scratch = MaybeUninit::<[f32; MAX_K]>::uninit();
    let dw = scratch.as_mut_ptr().cast::<f32>();
    let mut total = 0.0;
    // SAFETY: `feature < n_features`, `k <= MAX_K`, and the view proved that every index is below `n_samples`.
    unsafe {
        let lanes = AdamLanes::<V>::new(adam);
        for feature in 0..xt.n_rows() {
            let (mut samples, mut targets) = xt.row(feature);
            let row = feature * k;
            let (w, m, v) = (w.add(row), m.add(row), v.add(row));
            dw.write_bytes(0, k);
            let this = Feature { d, dd, w, dw, k, bias: layer.bias[feature], grad_scale, loss };
            let mut db = 0.0;
            while let (Some((s, more_samples)), Some((t, more_targets))) =
                (samples.split_first_chunk::<4>(), targets.split_first_chunk::<4>())
            {
                let (l, g) = this.group::<V, 4, 2>(s, t);
                (total, db) = (total + l, db + g);
                (samples, targets) = (more_samples, more_targets);
            }
            for (&sample, &target) in samples.iter().zip(targets) {
                let (l, g) = this.group::<V, 1, 4>(&[sample], &[target]);
                (total, db) = (total + l, db + g);
            }

            let mut at = 0;
            while k - at >= V::WIDTH {
                lanes.update(w.add(at), m.add(at), v.add(at), V::load(dw.add(at)));
                at += V::WIDTH;
            }
            if at < k {
                lanes.update_head(w.add(at), m.add(at), v.add(at), V::load_head(dw.add(at), k - at), k - at);
            }
            #[allow(clippy::cast_possible_truncation, reason = "the state is f32")]
            let db = db as f32;
            adam.update(&mut layer.bias[feature], &mut layer.bias_m[feature], &mut layer.bias_v[feature], db);
        }
    }
    total
}
