use super::{Batch, EntryLoss, MAX_FEATURES, tile_of};
use crate::adam::AdamLanes;
use crate::blocks::over_row;
use crate::gradient::{Carry, Gradient};
use crate::lanes::Lanes;
use crate::sddmm::dots;
use crate::spmm::generic::Row;
use crate::storage::{F32, Rounding, Rows};
use crate::{Adam, CsrView, WideLayerMut};

/// Entries of a sample whose rows of `w` stay in L1 between the outputs and `dd`.
const VISIT: usize = 8;

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
    /// Whether `dd` is added to or overwritten.
    add: bool,
}

impl<S: Rows> Sample<'_, S> {
    /// Losses and gradients of up to [`VISIT`] entries: their rows of `w` come into L1 with the outputs and serve
    /// again for `dd`, which is kept in registers meanwhile. (Adding to `dd` in memory for four entries at a time took
    /// 1 to 3% more of the whole step of the layer.)
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the pointers are valid as stated, `features` are below `n_features`.
    #[inline(always)]
    unsafe fn visit<V: Lanes, const N: usize>(
        &self,
        features: &[u32],
        targets: &[f32; VISIT],
        slopes: &mut [f32; VISIT],
        add: bool,
    ) -> f64 {
        let (mut loss, mut at) = (0.0, 0);
        // SAFETY: passed on.
        unsafe {
            while let Some(four) = features[at..].first_chunk::<4>() {
                loss += self.outputs::<V, 4>(four, &targets[at..], &mut slopes[at..]);
                at += 4;
            }
            loss += match features[at..] {
                [a, b, c] => self.outputs::<V, 3>(&[a, b, c], &targets[at..], &mut slopes[at..]),
                [a, b] => self.outputs::<V, 2>(&[a, b], &targets[at..], &mut slopes[at..]),
                [a] => self.outputs::<V, 1>(&[a], &targets[at..], &mut slopes[at..]),
                _ => 0.0,
            };
            let (w, row_words) = (self.w, self.row_words);
            let mut row = Row::<S> { out: self.dd, cols: features, values: &slopes[..], w, row_words, add };
            over_row::<V, N>(self.k, &mut row);
        }
        loss
    }

    /// Outputs of `G` entries, which share the loads of `d`: writes their gradients, returns the sum of losses.
    ///
    /// # Safety
    /// As for [`Sample::visit`].
    #[inline(always)]
    unsafe fn outputs<V: Lanes, const G: usize>(
        &self,
        features: &[u32; G],
        targets: &[f32],
        slopes: &mut [f32],
    ) -> f64 {
        let w = features.map(|feature| self.w.wrapping_add(feature as usize * self.row_words));
        // SAFETY: passed on.
        let dots = unsafe { dots::<F32, S, V, G>(self.d, w, self.k) };
        let mut loss = 0.0;
        for (e, slope) in slopes[..G].iter_mut().enumerate() {
            let z = self.bias[features[e] as usize] + dots[e];
            let (l, g) = self.loss.at(if z < 0.0 { 0.0 } else { z }, targets[e]);
            *slope = if z > 0.0 { g * self.grad_scale } else { 0.0 };
            loss += l;
        }
        loss
    }
}

/// The entries by feature, and how far those of each feature are used.
struct Cursors<'a> {
    samples: &'a [u32],
    targets: &'a [f32],
    next: [usize; MAX_FEATURES],
}

impl<'a> Cursors<'a> {
    fn new(targets: CsrView<'a>) -> Self {
        let mut next = [0; MAX_FEATURES];
        for (next, start) in next.iter_mut().zip(targets.indptr()) {
            *next = start - targets.indptr()[0];
        }
        Self { samples: targets.indices(), targets: targets.data(), next }
    }

    /// The next entry of a feature, which must be one of `sample`: its place among all entries. That it is not
    /// one of the next feature already is left to [`Cursors::check_end`].
    #[inline(always)]
    fn take(&mut self, feature: u32, sample: usize) -> usize {
        let at = self.next[feature as usize];
        if self.samples.get(at).is_none_or(|&found| found as usize != sample) {
            not_the_same_entries(feature as usize);
        }
        self.next[feature as usize] = at + 1;
        at
    }

    /// Whether exactly the entries of each feature were used.
    fn check_end(&self, targets: CsrView<'_>) {
        for (feature, (next, end)) in self.next.iter().zip(&targets.indptr()[1..]).enumerate() {
            if *next != end - targets.indptr()[0] {
                not_the_same_entries(feature);
            }
        }
    }

    /// All entries of a sample. Returns the sum of losses.
    ///
    /// # Safety
    /// As for [`Sample::visit`].
    #[inline(always)]
    unsafe fn sample<S: Rows, V: Lanes, const N: usize>(
        &mut self,
        this: &Sample<'_, S>,
        sample: usize,
        features: &[u32],
        all_slopes: &mut [f32],
    ) -> f64 {
        let (mut places, mut targets, mut slopes) = ([0; VISIT], [0.0; VISIT], [0.0; VISIT]);
        let (mut loss, mut add) = (0.0, this.add);
        if features.is_empty() && !add {
            // SAFETY: `dd` is a row of `k` values.
            unsafe { this.dd.write_bytes(0, this.k) };
        }
        for features in features.chunks(VISIT) {
            for ((place, target), &feature) in places.iter_mut().zip(&mut targets).zip(features) {
                *place = self.take(feature, sample);
                *target = self.targets[*place];
            }
            // SAFETY: passed on.
            loss += unsafe { this.visit::<V, N>(features, &targets, &mut slopes, add) };
            add = true;
            for (&place, &slope) in places.iter().zip(&slopes).take(features.len()) {
                all_slopes[place] = slope;
            }
        }
        loss
    }
}

#[cold]
fn not_the_same_entries(feature: usize) -> ! {
    panic!("by_sample and targets have other entries, or in another order, at feature {feature}")
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
    add: bool,
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
                let this = Sample::<S> { d, dd, w, row_words, k, bias, grad_scale, loss, add };
                total += cursors.sample::<S, V, N>(&this, sample, by_sample.row(sample).0, slopes);
            }
            for (feature, (&from, &to)) in done.iter().zip(&cursors.next).enumerate().take(n_features) {
                let entries = from..to;
                let carry = Carry {
                    row: carried.as_mut_ptr().wrapping_add(feature * k),
                    is_first: start == 0,
                    is_last: end == n_samples,
                };
                let mut this = Gradient::<S, V> {
                    rows: rows.map(|row| row.add(feature * row_words)),
                    samples: &targets.indices()[entries.clone()],
                    values: &slopes[entries],
                    x: d_rows,
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
    cursors.check_end(targets);
    let all = targets.indptr();
    for feature in 0..n_features {
        let slopes = &slopes[all[feature] - all[0]..all[feature + 1] - all[0]];
        #[allow(clippy::cast_possible_truncation, reason = "the state is f32")]
        let db = slopes.iter().map(|&slope| f64::from(slope)).sum::<f64>() as f32;
        adam.update(&mut bias[feature], &mut bias_m[feature], &mut bias_v[feature], db);
    }
    total
}
