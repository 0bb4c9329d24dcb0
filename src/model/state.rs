//! Everything that training changes, as named arrays: what a checkpoint holds.

use bytemuck::{Pod, cast_slice_mut};

use super::network::{Layer, Network, Snapshot, Tensor};
use super::precision::Precision;

/// The bytes of every array of `network` and of `best`, a snapshot of it, by name: values as they lie in memory.
pub fn arrays<'a, S: Precision>(
    network: &'a mut Network<S>,
    best: &'a mut Snapshot<S>,
) -> Vec<(String, &'a mut [u8])> {
    let mut out = Vec::new();
    let Network { architecture, encoder, hidden, decoder, encoder_is_frozen: _, steps: _ } = network;
    let last = architecture.n_hidden();
    push_layer(0, encoder, &mut out);
    for (number, layer) in (1..).zip(hidden) {
        push_layer(number, layer, &mut out);
    }
    push_layer(last, decoder, &mut out);
    let Snapshot { wide, others } = best;
    for (name, array) in ["encoder", "decoder"].into_iter().zip(wide) {
        out.push((format!("best.{name}.weight"), cast_slice_mut(&mut array[..])));
    }
    for (number, array) in others.iter_mut().enumerate() {
        out.push((format!("best.others.{number}"), cast_slice_mut(&mut array[..])));
    }
    out
}

fn push_layer<'a, S: Precision>(
    number: usize,
    layer: &'a mut Layer<S>,
    out: &mut Vec<(String, &'a mut [u8])>,
) {
    let Layer { weight, bias } = layer;
    push_tensor(format!("layers.{number}.weight"), weight, out);
    push_tensor(format!("layers.{number}.bias"), bias, out);
}

fn push_tensor<'a, W: Pod>(name: String, tensor: &'a mut Tensor<W>, out: &mut Vec<(String, &'a mut [u8])>) {
    let Tensor { value, m, v } = tensor;
    for (part, array) in [("m", m), ("v", v)] {
        out.push((format!("{name}.{part}"), cast_slice_mut(&mut array[..])));
    }
    out.push((name, cast_slice_mut(&mut value[..])));
}
