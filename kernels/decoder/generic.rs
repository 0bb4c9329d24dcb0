use super::{Batch, EntryLoss, MAX_FEATURES, tile_of};
use crate::adam::AdamLanes;
use crate::blocks::{RowBlock, over_row};
use crate::lanes::Lanes;
use crate::paired::GROUP;
use crate::sddmm::dots;
use crate::spmm::generic::accumulate;
use crate::storage::{F32, Rounding, Rows, store, store_head, zeros};
use crate::{Adam, CsrView, WideLayerMut};

/// One sample: its rows of `d` and `dd`, and what it shares with the others.
struct Sample<'a, S: Rows> {
    d: *const f32,
    dd: *mut f32,
    w: *const S::Word,
    row_words: usize,
    k: usize,
    bias: &'a [f32],
    grad_scale: f32,
    loss: EntryLoss,
}

impl<S: Rows> Sample<'_, S> {
    /// `G` entries at once: their rows of `w` come into L1 with the dot products and serve again for `dd`, and
    /// the loads of `d` and `dd` are shared. Writes the gradients; returns the sum of losses.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the pointers are valid as stated, `features` are below `n_features`.
    #[inline(always)]
    unsafe fn group<V: Lanes, const G: usize>(
        &self,
        features: &[u32; G],
        targets: [f32; G],
        slopes: &mut [f32; G],
    ) -> f64 {
        let (groups, left) = (self.k / GROUP, self.k % GROUP);
        // SAFETY: `groups` groups and `left` values lie within every row.
        unsafe {
            let w = features.map(|feature| self.w.add(feature as usize * self.row_words));
            let dots = dots::<F32, S, V, G>(self.d, w, self.k);
            let mut loss = 0.0;
            let mut g = [V::splat(0.0); G];
            for e in 0..G {
                let z = self.bias[features[e] as usize] + dots[e];
                let (l, slope) = self.loss.at(if z < 0.0 { 0.0 } else { z }, targets[e]);
                slopes[e] = if z > 0.0 { slope * self.grad_scale } else { 0.0 };
                g[e] = V::splat(slopes[e]);
                loss += l;
            }
            for group in 0..groups {
                let mut dd = F32::load::<V>(self.dd, group);
                for e in 0..G {
                    accumulate(&mut dd, S::load(w[e], group), g[e]);
                }
                store(self.dd, group, dd);
            }
            if left > 0 {
                let mut dd = F32::load_head::<V>(self.dd, groups, left);
                for e in 0..G {
                    accumulate(&mut dd, S::load_head(w[e], groups, left), g[e]);
                }
                store_head(self.dd, groups, dd, left);
            }
            loss
        }
    }
}

/// How far each feature's entries are used.
struct Cursors<'a> {
    targets: CsrView<'a>,
    /// Places among all entries in view.
    next: [usize; MAX_FEATURES],
}

impl<'a> Cursors<'a> {
    fn new(targets: CsrView<'a>) -> Self {
        let mut next = [0; MAX_FEATURES];
        for (next, start) in next.iter_mut().zip(targets.indptr()) {
            *next = start - targets.indptr()[0];
        }
        Self { targets, next }
    }

    /// The next entry of a feature, which must be one of `sample`: its place among all entries and its target.
    #[inline(always)]
    fn take(&mut self, feature: u32, sample: usize) -> (usize, f32) {
        let feature = feature as usize;
        let (at, indptr) = (self.next[feature], self.targets.indptr());
        let is_entry = at < indptr[feature + 1] - indptr[0] && self.targets.indices()[at] as usize == sample;
        assert!(is_entry, "by_sample and targets differ at sample {sample}, feature {feature}, or are not sorted");
        self.next[feature] = at + 1;
        (at, self.targets.data()[at])
    }

    /// All entries of a sample, four at a time. Returns the sum of losses.
    ///
    /// # Safety
    /// As for [`Sample::group`].
    #[inline(always)]
    unsafe fn sample<S: Rows, V: Lanes>(
        &mut self,
        this: &Sample<'_, S>,
        sample: usize,
        mut features: &[u32],
        slopes: &mut [f32],
    ) -> f64 {
        let mut loss = 0.0;
        // SAFETY: passed on.
        unsafe {
            while let Some((four, more)) = features.split_first_chunk() {
                loss += self.step::<S, V, 4>(this, sample, four, slopes);
                features = more;
            }
            loss += match *features {
                [a, b, c] => self.step::<S, V, 3>(this, sample, &[a, b, c], slopes),
                [a, b] => self.step::<S, V, 2>(this, sample, &[a, b], slopes),
                [a] => self.step::<S, V, 1>(this, sample, &[a], slopes),
                _ => 0.0,
            };
        }
        loss
    }

    /// The next `G` entries of `sample`, in the order of its features; gradients go to `slopes`.
    ///
    /// # Safety
    /// As for [`Sample::group`].
    #[inline(always)]
    unsafe fn step<S: Rows, V: Lanes, const G: usize>(
        &mut self,
        entries: &Sample<'_, S>,
        sample: usize,
        features: &[u32; G],
        slopes: &mut [f32],
    ) -> f64 {
        let taken = features.map(|feature| self.take(feature, sample));
        let mut found = [0.0; G];
        // SAFETY: passed on.
        let loss = unsafe { entries.group::<V, G>(features, taken.map(|(_, target)| target), &mut found) };
        for ((at, _), slope) in taken.into_iter().zip(found) {
            slopes[at] = slope;
        }
        loss
    }
}

/// One feature's gradient over the samples of a tile, added to that of earlier tiles, then either carried on or
/// used by Adam.
struct Feature<'a, S: Rows, V> {
    rows: [*mut S::Word; 3],
    samples: &'a [u32],
    slopes: &'a [f32],
    d: *const S::Word,
    row_words: usize,
    carry: Carry,
    adam: AdamLanes<V>,
    rounding: Rounding,
}

/// A feature's gradient between tiles, a row of `k` values.
#[derive(Clone, Copy)]
struct Carry {
    row: *mut f32,
    is_first: bool,
    is_last: bool,
}

impl<S: Rows, V: Lanes> RowBlock<V> for Feature<'_, S, V> {
    #[inline(always)]
    unsafe fn block<const M: usize>(&mut self, group: usize) {
        let mut dw = [zeros::<V>(); M];
        // SAFETY: `M` groups lie within every row.
        unsafe {
            if !self.carry.is_first {
                for (i, dw) in dw.iter_mut().enumerate() {
                    *dw = F32::load(self.carry.row, group + i);
                }
            }
            for (&sample, &slope) in self.samples.iter().zip(self.slopes) {
                let d = self.d.add(sample as usize * self.row_words);
                let slope = V::splat(slope);
                for (i, dw) in dw.iter_mut().enumerate() {
                    accumulate(dw, S::load(d, group + i), slope);
                }
            }
            for (i, &dw) in dw.iter().enumerate() {
                if self.carry.is_last {
                    S::update(&self.adam, self.rows, group + i, dw, self.rounding);
                } else {
                    store(self.carry.row, group + i, dw);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tail(&mut self, group: usize, left: usize) {
        let mut dw = zeros::<V>();
        // SAFETY: `left` values of the group lie within every row.
        unsafe {
            if !self.carry.is_first {
                dw = F32::load_head(self.carry.row, group, left);
            }
            for (&sample, &slope) in self.samples.iter().zip(self.slopes) {
                let d = self.d.add(sample as usize * self.row_words);
                accumulate(&mut dw, S::load_head(d, group, left), V::splat(slope));
            }
            if self.carry.is_last {
                S::update_head(&self.adam, self.rows, group, dw, left, self.rounding);
            } else {
                store_head(self.carry.row, group, dw, left);
            }
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; the lengths are those of the safe entry.
#[inline(always)]
pub(super) unsafe fn decoder_step<S: Rows, V: Lanes, const N: usize>(
    dd: &mut [f32],
    layer: WideLayerMut<'_, S>,
    batch: Batch<'_, S>,
    scratch: &mut [f32],
    k: usize,
    grad_scale: f32,
    adam: &Adam,
    loss: EntryLoss,
) -> f64 {
    let Batch { targets, by_sample, d, d_rows } = batch;
    let WideLayerMut { weights, bias, bias_m, bias_v } = layer;
    let rows = [weights.w.as_mut_ptr(), weights.m.as_mut_ptr(), weights.v.as_mut_ptr()];
    let (d, dd, d_rows, row_words) = (d.as_ptr(), dd.as_mut_ptr(), d_rows.as_ptr(), S::row_words(k));
    let (slopes, carried) = scratch.split_at_mut(targets.nnz());
    let (n_features, n_samples) = (targets.n_rows(), targets.n_cols());
    let mut cursors = Cursors::new(targets);
    let tile = tile_of(n_samples, k);
    let (mut total, mut start) = (0.0, 0_usize);
    // SAFETY: `sample < n_samples`, `feature < n_features`, and the views proved that every index is below those;
    // `carried` has `n_features` rows unless the first tile is the last.
    unsafe {
        let lanes = AdamLanes::<V>::new(adam);
        loop {
            let end = start.saturating_add(tile).min(n_samples);
            let done = cursors.next;
            for sample in start..end {
                let (d, dd, w) = (d.add(sample * k), dd.add(sample * k), rows[0].cast_const());
                let this = Sample::<S> { d, dd, w, row_words, k, bias, grad_scale, loss };
                total += cursors.sample::<S, V>(&this, sample, by_sample.row(sample).0, slopes);
            }
            for feature in 0..n_features {
                let entries = done[feature]..cursors.next[feature];
                let carry = Carry {
                    row: carried.as_mut_ptr().wrapping_add(feature * k),
                    is_first: start == 0,
                    is_last: end == n_samples,
                };
                let mut this = Feature::<S, V> {
                    rows: rows.map(|row| row.add(feature * row_words)),
                    samples: &targets.indices()[entries.clone()],
                    slopes: &slopes[entries],
                    d: d_rows,
                    row_words,
                    carry,
                    adam: lanes,
                    rounding: Rounding::of_row(adam, weights.first + feature),
                };
                over_row::<V, N>(k, &mut this);
            }
            if end == n_samples {
                break;
            }
            start = end;
        }
    }
    let all = targets.indptr();
    for feature in 0..n_features {
        let slopes = &slopes[all[feature] - all[0]..all[feature + 1] - all[0]];
        #[allow(clippy::cast_possible_truncation, reason = "the state is f32")]
        let db = slopes.iter().map(|&slope| f64::from(slope)).sum::<f64>() as f32;
        adam.update(&mut bias[feature], &mut bias_m[feature], &mut bias_v[feature], db);
    }
    total
}
