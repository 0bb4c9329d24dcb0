//! The last layer: the last hidden activation to n features, compared with the targets.

use std::ops::Range;

use late_fast_kernels::decoder::{Batch, EntryLoss, decoder_step};
use late_fast_kernels::sddmm::sddmm;
use late_fast_kernels::{CsrView, Isa, WideLayerMut};

use super::dense;
use super::encoder::TaskWeights;
use super::forms::Operation;
use super::network::Layer;
use super::precision::Precision;
use super::step::Pass;
use super::workspace::Workspace;
use crate::minibatch::Minibatch;
use crate::parallel::{self, Divide, TaskRows, tiles};

/// The biases and their moments of consecutive tasks.
struct TaskBiases<'a> {
    values: [&'a mut [f32]; 3],
    batch: &'a Minibatch,
    first: usize,
}

impl Divide for TaskBiases<'_> {
    fn divide(self, task: usize) -> (Self, Self) {
        let first = self.batch.task_features(task).start;
        let at = first - self.first;
        let [(b, b_rest), (m, m_rest), (v, v_rest)] = self.values.map(|values| values.split_at_mut(at));
        let batch = self.batch;
        (
            Self { values: [b, m, v], batch, first: self.first },
            Self { values: [b_rest, m_rest, v_rest], batch, first },
        )
    }
}

/// Runs `work(task, layer, dd, scratch)` for every task; `dd`, the task's gradient of `d`, is not initialised.
fn step_tasks<S: Precision>(
    layer: &mut Layer<S>,
    [partials, scratch]: [&mut [f32]; 2],
    batch: &Minibatch,
    k: usize,
    work: &(impl Fn(usize, WideLayerMut<'_, S>, &mut [f32], &mut [f32]) -> f64 + Sync),
) -> f64 {
    let n_tasks = batch.n_tasks();
    let Layer { weight, bias } = layer;
    let biases = TaskBiases { values: [&mut bias.value, &mut bias.m, &mut bias.v], batch, first: 0 };
    let dds = TaskRows::equal(&mut partials[..n_tasks * batch.n_samples() * k], n_tasks);
    let scratch = TaskRows::equal(scratch, n_tasks);
    let parts = ((TaskWeights::<S>::new(weight, batch, k), biases), (dds, scratch));
    parallel::sum(0..n_tasks, parts, &|task, ((weights, biases), (dd, scratch))| {
        let [bias, bias_m, bias_v] = biases.values;
        work(task, WideLayerMut { weights: weights.weights, bias, bias_m, bias_v }, dd.rows, scratch.rows)
    })
}

/// Masked loss of the targets, its gradient with respect to `d` (the last hidden activation, one partial sum a
/// task), and Adam's step on the layer. Returns the sum of the entries' losses; gradients carry the scale.
pub(super) fn masked_step<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    layer: &mut Layer<S>,
    batch: &Minibatch,
) -> f64 {
    let Pass { isa, k, scale, .. } = *pass;
    let Workspace { activations, rows, panels, partials, scratch, .. } = workspace;
    let d = &activations[activations.len() - 1][..batch.n_samples() * k];
    if pass.is_dense::<S>(Operation::DecoderStep, batch) {
        let d = S::prepare_factor(isa, d, batch.n_samples(), panels);
        return step_tasks(layer, [partials, scratch], batch, k, &|task, layer, dd, scratch| {
            let targets = batch.targets_of(batch.task_features(task));
            S::decoder_step_dense(pass, dd, layer, targets, &d, scratch)
        });
    }
    let d_rows = S::as_rows(isa, d, k, rows);
    step_tasks(layer, [partials, scratch], batch, k, &|task, layer, dd, scratch| {
        let (mut sum, mut rest) = (0.0, layer);
        for (block, (features, by_sample)) in batch.task_inputs(task).enumerate() {
            let (layer, others) = rest.split_at(features.len(), k);
            rest = others;
            let read = Batch { targets: batch.targets_of(features), by_sample, d, d_rows };
            let loss = EntryLoss::MaskedSquare;
            sum += decoder_step(isa, dd, layer, read, scratch, k, scale, &pass.adam, loss, block > 0);
        }
        sum
    })
}

/// The sum of squared errors at the entries of `entries_of(features)` (features x samples).
pub(super) fn masked_error<'b, S: Precision>(
    isa: Isa,
    layer: &Layer<S>,
    batch: &'b Minibatch,
    d: &[f32],
    k: usize,
    entries_of: impl Fn(&'b Minibatch, Range<usize>) -> CsrView<'b> + Sync + Send,
) -> f64 {
    masked_errors(isa, layer, batch, d, k, entries_of, |errors| errors.sum::<f64>()).into_iter().sum()
}

/// What `collect` makes of the squared errors at the entries of `entries_of(features)` (features x samples), for runs
/// of features that cover all of them, in order.
pub(super) fn masked_errors<'b, S: Precision, T: Send>(
    isa: Isa,
    layer: &Layer<S>,
    batch: &'b Minibatch,
    d: &[f32],
    k: usize,
    entries_of: impl Fn(&'b Minibatch, Range<usize>) -> CsrView<'b> + Sync + Send,
    collect: impl Fn(&mut dyn Iterator<Item = f64>) -> T + Sync + Send,
) -> Vec<T> {
    let tasks = (0..batch.n_tasks()).map(|task| batch.task_features(task)).collect();
    let row_words = S::row_words(k);
    parallel::map(tasks, |features: Range<usize>| {
        let entries = entries_of(batch, features.clone());
        let mut y = vec![0.0; entries.nnz()];
        let w = &layer.weight.value[features.start * row_words..features.end * row_words];
        sddmm::<S>(isa, &mut y, entries, d, w, &layer.bias.value[features], k);
        collect(&mut y.iter().zip(entries.data()).map(|(&y, &x)| f64::from(y - x).powi(2)))
    })
}

/// As [`masked_step`], with the loss on every entry, zeros included, but for the held-out ones: the
/// plain autoencoder.
pub(super) fn unmasked_step<S: Precision>(
    pass: &Pass,
    workspace: &mut Workspace<S>,
    layer: &mut Layer<S>,
    batch: &Minibatch,
) -> f64 {
    let last = workspace.activations.len() - 1;
    let d = &workspace.activations[last][..batch.n_samples() * pass.k];
    let buffers: [&mut [f32]; 2] = [&mut workspace.partials, &mut workspace.scratch];
    step_tasks(layer, buffers, batch, pass.k, &|task, layer, dd, scratch| {
        let features = batch.task_features(task);
        let entries = [batch.targets_of(features.clone()), batch.held_out_of(features)];
        dense::unmasked_decoder_step(pass, dd, layer, entries, d, scratch)
    })
}

/// The sum of squared errors over every entry, zeros included, but for the held-out ones.
pub(super) fn unmasked_error<S: Precision>(
    isa: Isa,
    layer: &Layer<S>,
    batch: &Minibatch,
    d: &[f32],
    k: usize,
) -> f64 {
    let row_words = S::row_words(k);
    let sums = parallel::map(tiles(batch.n_features(), dense::BLOCK), |features| {
        let mut w = vec![0.0; features.len() * k];
        let rows = &layer.weight.value[features.start * row_words..features.end * row_words];
        let w = S::as_f32(isa, rows, k, &mut w);
        let entries = [batch.targets_of(features.clone()), batch.held_out_of(features.clone())];
        dense::unmasked_error(isa, (w, &layer.bias.value[features]), entries, d, k)
    });
    sums.into_iter().sum()
}
