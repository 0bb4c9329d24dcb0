//! The dense output of a trained network, for imputing.

use std::ops::Range;

use late_fast_kernels::gemm_bf16::{PANEL, pack_right, panel_words, relu_affine};
use late_fast_kernels::paired::{pack_rows, words};
use late_fast_kernels::{DenseView, DenseViewMut, Isa};

use super::architecture::Architecture;
use super::buffer::Buffer;
use super::dense;
use super::network::Network;
use super::products::Products;
use crate::error::Result;
use crate::parallel::{self, TaskRows};

/// The last layer, ready to be multiplied.
#[derive(Debug)]
pub struct OutputLayer<'a> {
    network: &'a Network,
    isa: Isa,
    /// The weights as panels, where products are in bf16.
    panels: Option<Buffer<u32>>,
}

/// Rows of the last hidden activation, ready to be multiplied.
#[derive(Debug)]
pub struct OutputInput<'a> {
    d: &'a [f32],
    /// The rows in bf16, where products are.
    rows: Vec<u32>,
}

impl<'a> OutputLayer<'a> {
    /// Features of a range that is multiplied start at a multiple of this.
    pub const ALIGNMENT: usize = PANEL;

    /// Prepares the weights once for all samples.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn new(network: &'a Network, isa: Isa, products: Products) -> Result<Self> {
        let panels = match products {
            Products::F32 => None,
            Products::Bf16 => Some(pack_weights(network, isa)?),
        };
        Ok(Self { network, isa, panels })
    }

    /// Bytes that preparing the weights takes.
    pub fn bytes(architecture: &Architecture, products: Products) -> u64 {
        match products {
            Products::F32 => 0,
            Products::Bf16 => {
                (panel_words(architecture.wide(), architecture.n_features) * size_of::<u32>()) as u64
            }
        }
    }

    /// Prepares rows of the last hidden activation, `n_samples x wide`.
    pub fn input<'d>(&self, d: &'d [f32]) -> OutputInput<'d> {
        let k = self.network.architecture.wide();
        let n_samples = d.len() / k;
        let mut rows = Vec::new();
        if self.panels.is_some() {
            rows.resize(n_samples * words(k), 0);
            pack_rows(self.isa, &mut rows, d, n_samples, k);
        }
        OutputInput { d, rows }
    }

    /// The dense output of some features, `n_samples x features`; the first is a multiple of
    /// [`OutputLayer::ALIGNMENT`].
    pub fn output(&self, input: &OutputInput<'_>, features: Range<usize>) -> Vec<f32> {
        let (k, layer) = (self.network.architecture.wide(), &self.network.decoder);
        let n_samples = input.d.len() / k;
        let mut y = vec![0.0; n_samples * features.len()];
        let bias = &layer.bias.value[features.clone()];
        if let Some(panels) = &self.panels {
            debug_assert!(features.start.is_multiple_of(PANEL));
            let first = panel_words(k, features.start);
            let panels = &panels[first..first + panel_words(k, features.len())];
            let out = DenseViewMut::new(&mut y, n_samples, features.len());
            relu_affine(self.isa, out, &input.rows, panels, bias, k);
        } else {
            let w = &layer.weight.value[features.start * k..features.end * k];
            dense::relu_affine(self.isa, &mut y, input.d, w, bias, k);
        }
        y
    }
}

/// The output weights as panels of bf16.
fn pack_weights(network: &Network, isa: Isa) -> Result<Buffer<u32>> {
    /// Panels of one task.
    const TASK: usize = 16;
    let (n, k) = (network.architecture.n_features, network.architecture.wide());
    let mut panels = Buffer::zeros(panel_words(k, n))?;
    let w = &network.decoder.weight.value;
    let width = panel_words(k, PANEL);
    let n_panels = n.div_ceil(PANEL);
    let first_panel = |task: usize| n_panels.min(task * TASK);
    let parts = TaskRows::new(&mut panels, width, &first_panel);
    parallel::each(0..n_panels.div_ceil(TASK), parts, &|task, part| {
        let features = first_panel(task) * PANEL..n.min(first_panel(task + 1) * PANEL);
        let w = DenseView::new(&w[features.start * k..features.end * k], features.len(), k);
        pack_right(isa, part.rows, w.transposed());
    });
    Ok(panels)
}
