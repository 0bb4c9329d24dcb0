//! The dense output of a trained network, for imputing.

use std::borrow::Cow;
use std::ops::Range;

use late_fast_kernels::gemm_bf16::{PANEL, pack_right, panel_words, relu_affine};
use late_fast_kernels::paired::{pack_rows, words};
use late_fast_kernels::{DenseView, DenseViewMut, Isa};

use super::buffer::Buffer;
use super::dense;
use super::network::Network;
use super::products::Products;
use crate::error::Result;
use crate::parallel::{self, TaskRows};

/// Features whose weights one task copies or packs.
const TASK: usize = 16 * PANEL;

/// The last layer of some features, ready to be multiplied.
#[derive(Debug)]
pub struct OutputLayer<'a> {
    isa: Isa,
    k: usize,
    weights: Weights<'a>,
    bias: Cow<'a, [f32]>,
}

/// The weights of the features that are wanted.
#[derive(Debug)]
enum Weights<'a> {
    /// Consecutive features, where they lie; `n_features x k`.
    InPlace(&'a [f32]),
    /// Put together once; `n_features x k`.
    Gathered(Buffer),
    /// Panels of bf16, for such products.
    Panels(Buffer<u32>),
}

/// Rows of the last hidden activation, ready to be multiplied.
#[derive(Debug)]
pub struct OutputInput<'a> {
    d: &'a [f32],
    /// The rows in bf16, where products are.
    rows: Vec<u32>,
}

impl<'a> OutputLayer<'a> {
    /// Outputs of a range that is multiplied start at a multiple of this.
    pub const ALIGNMENT: usize = PANEL;

    /// Prepares the weights of `features` once for all samples: output j will be that of `features[j]`.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn new(network: &'a Network, features: &[u32], isa: Isa, products: Products) -> Result<Self> {
        let (k, layer) = (network.architecture.wide(), &network.decoder);
        let run = consecutive(features);
        let weights = match (products, &run) {
            (Products::Bf16, _) => Weights::Panels(pack_weights(network, features, isa)?),
            (Products::F32, Some(run)) => Weights::InPlace(&layer.weight.value[run.start * k..run.end * k]),
            (Products::F32, None) => Weights::Gathered(gather(network, features)?),
        };
        let bias = match run {
            Some(run) => Cow::Borrowed(&layer.bias.value[run]),
            None => features.iter().map(|&feature| layer.bias.value[feature as usize]).collect(),
        };
        Ok(Self { isa, k, weights, bias })
    }

    /// Bytes that preparing the weights of `n_features` features of width `k` takes. `in_place`: each follows the one
    /// before.
    pub fn bytes(k: usize, n_features: usize, in_place: bool, products: Products) -> u64 {
        let words = match products {
            Products::F32 if in_place => 0,
            Products::F32 => n_features * k,
            Products::Bf16 => panel_words(k, n_features),
        };
        (words * size_of::<u32>()) as u64
    }

    /// Whether each of the features follows the one before.
    pub fn is_in_place(features: &[u32]) -> bool {
        consecutive(features).is_some()
    }

    /// Prepares rows of the last hidden activation, `n_samples x wide`.
    pub fn input<'d>(&self, d: &'d [f32]) -> OutputInput<'d> {
        let n_samples = d.len() / self.k;
        let mut rows = Vec::new();
        if let Weights::Panels(_) = self.weights {
            rows.resize(n_samples * words(self.k), 0);
            pack_rows(self.isa, &mut rows, d, n_samples, self.k);
        }
        OutputInput { d, rows }
    }

    /// The dense output of some of the features, `n_samples x range`; the first is a multiple of
    /// [`OutputLayer::ALIGNMENT`].
    pub fn output(&self, input: &OutputInput<'_>, range: Range<usize>) -> Vec<f32> {
        let k = self.k;
        let n_samples = input.d.len() / k;
        let mut y = vec![0.0; n_samples * range.len()];
        let bias = &self.bias[range.clone()];
        let w = match &self.weights {
            Weights::InPlace(w) => w,
            Weights::Gathered(w) => &w[..],
            Weights::Panels(panels) => {
                debug_assert!(range.start.is_multiple_of(PANEL));
                let first = panel_words(k, range.start);
                let panels = &panels[first..first + panel_words(k, range.len())];
                let out = DenseViewMut::new(&mut y, n_samples, range.len());
                relu_affine(self.isa, out, &input.rows, panels, bias, k);
                return y;
            }
        };
        dense::relu_affine(self.isa, &mut y, input.d, &w[range.start * k..range.end * k], bias, k);
        y
    }
}

/// The features as a range, if each follows the one before.
fn consecutive(features: &[u32]) -> Option<Range<usize>> {
    let first = features.first().map_or(0, |&first| first as usize);
    let follows = features.iter().zip(first..).all(|(&feature, expected)| feature as usize == expected);
    follows.then(|| first..first + features.len())
}

/// The output weights of some features, in their order.
fn gather(network: &Network, features: &[u32]) -> Result<Buffer> {
    let k = network.architecture.wide();
    let mut rows = Buffer::zeros(features.len() * k)?;
    let w = &network.decoder.weight.value;
    let first = |task: usize| features.len().min(task * TASK);
    let parts = TaskRows::new(&mut rows, k, &first);
    parallel::each(0..features.len().div_ceil(TASK), parts, &|task, part| {
        copy_rows(part.rows, w, &features[first(task)..first(task + 1)], k);
    });
    Ok(rows)
}

/// The output weights of some features as panels of bf16.
fn pack_weights(network: &Network, features: &[u32], isa: Isa) -> Result<Buffer<u32>> {
    let (n, k) = (features.len(), network.architecture.wide());
    let mut panels = Buffer::zeros(panel_words(k, n))?;
    let w = &network.decoder.weight.value;
    let n_panels = n.div_ceil(PANEL);
    let first_panel = |task: usize| n_panels.min(task * (TASK / PANEL));
    let parts = TaskRows::new(&mut panels, panel_words(k, PANEL), &first_panel);
    parallel::each(0..n.div_ceil(TASK), parts, &|task, part| {
        let features = &features[first_panel(task) * PANEL..n.min(first_panel(task + 1) * PANEL)];
        let mut rows = vec![0.0; features.len() * k];
        copy_rows(&mut rows, w, features, k);
        pack_right(isa, part.rows, DenseView::new(&rows, features.len(), k).transposed());
    });
    Ok(panels)
}

/// Copies the rows of `features` out of `w: n x k`.
fn copy_rows(rows: &mut [f32], w: &[f32], features: &[u32], k: usize) {
    for (row, &feature) in rows.chunks_exact_mut(k).zip(features) {
        row.copy_from_slice(&w[feature as usize * k..][..k]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_told_from_selections() {
        assert_eq!(consecutive(&[]), Some(0..0));
        assert_eq!(consecutive(&[5]), Some(5..6));
        assert_eq!(consecutive(&[5, 6, 7]), Some(5..8));
        assert_eq!(consecutive(&[5, 7]), None);
        assert_eq!(consecutive(&[6, 5]), None);
    }
}
