//! What a run needs in memory beside its network, and the refusal of what does not fit.

use crate::error::{Error, Result};

/// Code, BLAS buffers (which dense products of large minibatches fill), HDF5's and the allocator's own.
const BASE_BYTES: u64 = 128 << 20;
/// A name with its counts and the maps that find it again, measured generously.
const BYTES_PER_NAME: u64 = 160;
/// Reading and transposing hold about this much for each entry of a block, and at most that.
const BYTES_PER_BLOCK_ENTRY: u64 = 40;
/// The most that blocks of the input take.
pub const MOST_BLOCK_BYTES: u64 = 384 << 20;

/// Bytes of the program itself and of the names and counts of `n_names` cells and genes.
pub fn fixed_bytes(n_names: usize) -> u64 {
    BASE_BYTES + n_names as u64 * BYTES_PER_NAME
}

/// Bytes of the blocks that reading and transposing a matrix of `nnz` entries hold at a time.
pub fn block_bytes(nnz: u64) -> u64 {
    nnz.saturating_mul(BYTES_PER_BLOCK_ENTRY).min(MOST_BLOCK_BYTES)
}

/// Refuses what needs more than `allowed`.
///
/// # Errors
/// Names both and the `remedy`.
pub fn check(needed: u64, allowed: u64, remedy: impl FnOnce() -> String) -> Result<()> {
    if needed <= allowed {
        return Ok(());
    }
    Err(Error::Memory { needed: human_bytes(needed), allowed: human_bytes(allowed), remedy: remedy() })
}

/// "1.5 GiB"
pub fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
