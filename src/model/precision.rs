//! How the wide layers are stored: single precision, or bf16 in half the memory.

use late_fast_kernels::decoder::EntryLoss;
use late_fast_kernels::dense_step::{self, DenseBatch, Hidden};
use late_fast_kernels::paired::{pack_rows, unpack_rows};
use late_fast_kernels::{
    Bf16, CsrView, F32, Isa, Storage, WideLayerMut, WideWeightsMut, adam, decoder, encoder, sddmm, spmm,
};

use super::dense;
use super::forms::DenseProducts;
use super::products::Products;
use super::step::Pass;

/// Features of a call of the forms on tiles, which compute this many outputs before any weight changes.
const TILES_BLOCK: usize = 256;

/// A storage of the wide layers with all that a network needs of it. Matrices have rows of `k` values.
pub trait Precision:
    Storage<Word: bytemuck::Pod>
    + spmm::Kernels
    + sddmm::Kernels
    + decoder::Kernels
    + encoder::Kernels
    + adam::RowKernels
{
    /// How the hidden layers are multiplied.
    fn products(isa: Isa) -> Products;

    /// Stores rows of f32, rounding them to nearest.
    fn write_rows(isa: Isa, out: &mut [Self::Word], x: &[f32], k: usize);

    /// The values of stored rows.
    fn read_rows(isa: Isa, out: &mut [f32], rows: &[Self::Word], k: usize);

    /// Some rows of f32 as this storage: themselves, or rounded into `scratch`.
    fn as_rows<'a>(isa: Isa, x: &'a [f32], k: usize, scratch: &'a mut [Self::Word]) -> &'a [Self::Word];

    /// Some stored rows as f32: themselves, or converted into `scratch`.
    fn as_f32<'a>(isa: Isa, rows: &'a [Self::Word], k: usize, scratch: &'a mut [f32]) -> &'a [f32];

    /// What the dense forms below run on.
    fn dense_products(isa: Isa) -> DenseProducts;

    /// Words of scratch memory for [`Precision::prepare_factor`], and values of it for each task of a dense form.
    fn dense_scratch(isa: Isa, n_samples: usize, k: usize) -> [usize; 2];

    /// The activation or gradient beside a wide layer, `n_samples x k`, as the dense forms take it.
    fn prepare_factor<'a>(isa: Isa, x: &'a [f32], n_samples: usize, scratch: &'a mut [u32]) -> Factor<'a>;

    /// The decoder's step on the features of `targets` (features x samples), overwriting `dd`.
    fn decoder_step_dense(
        pass: &Pass,
        dd: &mut [f32],
        layer: WideLayerMut<'_, Self>,
        targets: CsrView<'_>,
        d: &Factor<'_>,
        scratch: &mut [f32],
    ) -> f64 {
        dense::decoder_step(pass, dd, layer, targets, d.values, scratch)
    }

    /// The encoder's forward product of a block of features.
    fn encoder_forward_dense(
        isa: Isa,
        out: &mut [f32],
        x: CsrView<'_>,
        w: &[Self::Word],
        k: usize,
        scratch: &mut [f32],
        add: bool,
    ) {
        dense::encoder_forward::<Self>(isa, out, x, w, k, scratch, add);
    }

    /// The encoder's step on the features of `xt` (features x samples).
    fn encoder_step_dense(
        pass: &Pass,
        layer: WideWeightsMut<'_, Self>,
        xt: CsrView<'_>,
        dh: &Factor<'_>,
        scratch: &mut [f32],
    ) {
        dense::encoder_step::<Self>(pass.isa, layer, xt, dh.values, pass.k, &pass.adam, scratch);
    }
}

/// An activation or gradient beside a wide layer, as the dense forms take it.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'a> {
    /// `n_samples x k`
    values: &'a [f32],
    /// The same in bf16, where the forms run on tiles.
    panels: Option<Hidden<'a>>,
}

impl Precision for F32 {
    fn products(_: Isa) -> Products {
        Products::F32
    }

    fn write_rows(_: Isa, out: &mut [f32], x: &[f32], _: usize) {
        out.copy_from_slice(x);
    }

    fn read_rows(_: Isa, out: &mut [f32], rows: &[f32], _: usize) {
        out.copy_from_slice(rows);
    }

    fn as_rows<'a>(_: Isa, x: &'a [f32], _: usize, _: &'a mut [f32]) -> &'a [f32] {
        x
    }

    fn as_f32<'a>(_: Isa, rows: &'a [f32], _: usize, _: &'a mut [f32]) -> &'a [f32] {
        rows
    }

    fn dense_products(_: Isa) -> DenseProducts {
        DenseProducts::Blas
    }

    fn dense_scratch(_: Isa, n_samples: usize, k: usize) -> [usize; 2] {
        [0, dense::scratch_len(n_samples, k)]
    }

    fn prepare_factor<'a>(_: Isa, values: &'a [f32], _: usize, _: &'a mut [u32]) -> Factor<'a> {
        Factor { values, panels: None }
    }
}

impl Precision for Bf16 {
    /// Half precision saves nothing here but where the CPU multiplies it faster.
    fn products(isa: Isa) -> Products {
        if isa == Isa::Amx { Products::Bf16 } else { Products::F32 }
    }

    fn write_rows(isa: Isa, out: &mut [u32], x: &[f32], k: usize) {
        pack_rows(isa, out, x, x.len() / k, k);
    }

    fn read_rows(isa: Isa, out: &mut [f32], rows: &[u32], k: usize) {
        unpack_rows(isa, out, rows, rows.len() / Self::row_words(k), k);
    }

    fn as_rows<'a>(isa: Isa, x: &'a [f32], k: usize, scratch: &'a mut [u32]) -> &'a [u32] {
        let out = &mut scratch[..x.len() / k * Self::row_words(k)];
        Self::write_rows(isa, out, x, k);
        out
    }

    fn as_f32<'a>(isa: Isa, rows: &'a [u32], k: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let out = &mut scratch[..rows.len() / Self::row_words(k) * k];
        Self::read_rows(isa, out, rows, k);
        out
    }

    fn dense_products(isa: Isa) -> DenseProducts {
        if isa == Isa::Amx { DenseProducts::Tiles } else { DenseProducts::Blas }
    }

    fn dense_scratch(isa: Isa, n_samples: usize, k: usize) -> [usize; 2] {
        match Self::dense_products(isa) {
            DenseProducts::Blas => [0, dense::scratch_len(n_samples, k)],
            DenseProducts::Tiles => {
                let panels = dense_step::hidden_words(n_samples, k).iter().sum();
                // The plain autoencoder's loss goes through BLAS all the same.
                let blas = dense::scratch_len(n_samples, k);
                [panels, dense_step::scratch_words(n_samples, TILES_BLOCK).max(blas)]
            }
        }
    }

    fn prepare_factor<'a>(
        isa: Isa,
        values: &'a [f32],
        n_samples: usize,
        scratch: &'a mut [u32],
    ) -> Factor<'a> {
        if Self::dense_products(isa) == DenseProducts::Blas {
            return Factor { values, panels: None };
        }
        let k = values.len() / n_samples.max(1);
        let [for_outputs, for_weights] = dense_step::hidden_words(n_samples, k);
        let (outputs, weights) = scratch[..for_outputs + for_weights].split_at_mut(for_outputs);
        dense_step::pack_hidden(isa, outputs, weights, values, n_samples, k);
        Factor { values, panels: Some(Hidden { for_outputs: outputs, for_weights: weights }) }
    }

    fn decoder_step_dense(
        pass: &Pass,
        dd: &mut [f32],
        layer: WideLayerMut<'_, Self>,
        targets: CsrView<'_>,
        d: &Factor<'_>,
        scratch: &mut [f32],
    ) -> f64 {
        let Some(panels) = d.panels else {
            return dense::decoder_step(pass, dd, layer, targets, d.values, scratch);
        };
        let Pass { isa, k, scale, adam, .. } = pass;
        let scratch = bytemuck::cast_slice_mut(scratch);
        dd.fill(0.0);
        dense::for_each_block(layer, TILES_BLOCK, *k, |features, layer| {
            let batch = DenseBatch { targets: targets.rows(features), d: panels };
            let loss = EntryLoss::MaskedSquare;
            dense_step::decoder_step_dense(*isa, dd, layer, batch, scratch, *k, *scale, adam, loss)
        })
    }

    fn encoder_forward_dense(
        isa: Isa,
        out: &mut [f32],
        x: CsrView<'_>,
        w: &[u32],
        k: usize,
        scratch: &mut [f32],
        add: bool,
    ) {
        if Self::dense_products(isa) == DenseProducts::Blas {
            return dense::encoder_forward::<Self>(isa, out, x, w, k, scratch, add);
        }
        if !add {
            out.fill(0.0);
        }
        dense_step::encoder_forward_dense(isa, out, x, w, bytemuck::cast_slice_mut(scratch), k);
    }

    fn encoder_step_dense(
        pass: &Pass,
        layer: WideWeightsMut<'_, Self>,
        xt: CsrView<'_>,
        dh: &Factor<'_>,
        scratch: &mut [f32],
    ) {
        let Pass { isa, k, adam, .. } = pass;
        match dh.panels {
            None => dense::encoder_step::<Self>(*isa, layer, xt, dh.values, *k, adam, scratch),
            Some(panels) => {
                let (scratch, dh) = (bytemuck::cast_slice_mut(scratch), panels.for_weights);
                dense::for_each_weights_block(layer, xt.n_rows(), TILES_BLOCK, *k, |features, layer| {
                    dense_step::encoder_step_dense(*isa, layer, xt.rows(features), dh, scratch, *k, adam);
                });
            }
        }
    }
}
