//! LZ4: HDF5 filter 32004, and a codec of Blosc's.

/// Expands a chunk of HDF5's LZ4 filter (its size in 8 bytes, that of a block in 4, then every block after its stored
/// size; all big-endian) into exactly `output`; `None` when it is damaged.
pub(in crate::hdf) fn decompress(input: &[u8], output: &mut [u8]) -> Option<()> {
    let (size, input) = input.split_first_chunk::<8>()?;
    let (block, mut input) = input.split_first_chunk::<4>()?;
    let block = usize::try_from(u32::from_be_bytes(*block)).ok()?;
    if u64::from_be_bytes(*size) != output.len() as u64 || (block == 0 && !output.is_empty()) {
        return None;
    }
    for output in output.chunks_mut(block.max(1)) {
        let (stored, rest) = input.split_first_chunk::<4>()?;
        let stored = rest.get(..usize::try_from(u32::from_be_bytes(*stored)).ok()?)?;
        if stored.len() == output.len() {
            output.copy_from_slice(stored);
        } else {
            decompress_block(stored, output)?;
        }
        input = &rest[stored.len()..];
    }
    Some(())
}

/// Expands a bare LZ4 block into exactly `output`; `None` when it is damaged.
pub(super) fn decompress_block(input: &[u8], output: &mut [u8]) -> Option<()> {
    let length = lz4_flex::block::decompress_into(input, output).ok()?;
    (length == output.len()).then_some(())
}
