//! TRANSLATE: starting from another network's parameters.

use bytemuck::Zeroable;
use late_fast_kernels::Isa;

use super::architecture::Architecture;
use super::buffer::Placement;
use super::file::StoredModel;
use super::network::{Network, for_rows};
use super::precision::Precision;
use crate::error::Result;

/// What a network starts from.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The model.
    pub model: &'a StoredModel,
    /// For every feature of the network the model's feature that it is, if the model has it.
    pub features: &'a [Option<u32>],
    /// Whether everything up to the latent layer stays as it is. Features that the model lacks then have weights of 0:
    /// a code that was learned without them is not disturbed by what nobody trained.
    pub freeze_encoder: bool,
}

impl<S: Precision> Network<S> {
    /// The network with the hidden layers of `start.model`, its rows of both wide layers and its output biases where
    /// the features are the same, and everything else as in [`Network::initialised_in`].
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it, or the model's file was changed.
    pub fn starting_at(start: &Start<'_>, seed: u64, place: Placement<'_>) -> Result<Self> {
        let Start { model, features, freeze_encoder } = *start;
        let architecture =
            Architecture { n_features: features.len(), hidden: model.info.architecture.hidden.clone() };
        let mut network = Self::initialised_with(architecture, seed, place, freeze_encoder)?;
        let k = network.architecture.wide();
        let stored = model.values()?;
        let arrays = stored.iter().map(|array| array.values).collect::<Vec<_>>();
        let [encoder, encoder_bias, narrow @ .., decoder, decoder_bias] = &arrays[..] else {
            unreachable!("a network has two wide layers")
        };
        copy_rows::<S>(&mut network.encoder.weight.value, k, encoder, features, freeze_encoder);
        copy(&mut network.encoder.bias.value, encoder_bias);
        for (layer, stored) in network.hidden.iter_mut().zip(narrow.chunks_exact(2)) {
            copy(&mut layer.weight.value, stored[0]);
            copy(&mut layer.bias.value, stored[1]);
        }
        copy_rows::<S>(&mut network.decoder.weight.value, k, decoder, features, false);
        for (bias, feature) in network.decoder.bias.value.iter_mut().zip(features) {
            if let Some(feature) = feature {
                *bias = f32::from_le_bytes(decoder_bias[*feature as usize]);
            }
        }
        model.release();
        Ok(network)
    }
}

/// Copies the rows, `k` values each, of the features that `from` has; the others become 0 if `clear`, or stay.
fn copy_rows<S: Precision>(
    to: &mut [S::Word],
    k: usize,
    from: &[[u8; 4]],
    features: &[Option<u32>],
    clear: bool,
) {
    let words = S::row_words(k);
    for_rows(to, words, k, |rows, out| {
        let mut values = vec![0.0; k];
        for (row, feature) in out.chunks_exact_mut(words).zip(&features[rows]) {
            match feature {
                Some(feature) => {
                    copy(&mut values, &from[*feature as usize * k..][..k]);
                    S::write_rows(Isa::detect(), row, &values, k);
                }
                None if clear => row.fill(S::Word::zeroed()),
                None => {}
            }
        }
    });
}

fn copy(to: &mut [f32], from: &[[u8; 4]]) {
    for (value, raw) in to.iter_mut().zip(from) {
        *value = f32::from_le_bytes(*raw);
    }
}
