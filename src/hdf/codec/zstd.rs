//! Zstandard: HDF5 filter 32015, and a codec of Blosc's.

use ruzstd::decoding::FrameDecoder;

/// Expands `input` into exactly `output`; `None` when the stream is damaged.
pub(in crate::hdf) fn decompress(input: &[u8], output: &mut [u8], decoder: &mut FrameDecoder) -> Option<()> {
    let length = decoder.decode_all(input, output).ok()?;
    (length == output.len()).then_some(())
}
