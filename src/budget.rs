//! What a run needs in memory beside its network, and the refusal of what does not fit.

use std::path::Path;

use crate::error::{Error, Result};

/// Code, BLAS buffers (which dense products of large minibatches fill), HDF5's and the allocator's own.
const BASE_BYTES: u64 = 128 << 20;
/// A name with its counts and the maps that find it again, measured generously.
const BYTES_PER_NAME: u64 = 160;
/// Reading and transposing hold about this much for each entry of a block, and at most that.
const BYTES_PER_BLOCK_ENTRY: u64 = 40;
/// Letters of a name that are in that.
const FREE_LETTERS: u64 = 32;
/// Names may always take as much: what is wrong with a smaller budget is told when the whole need is known.
const FEWEST_NAME_BYTES: u64 = 16 << 20;
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

/// What names may take, counted while they are read: a small file can hold very many of them.
#[derive(Clone, Debug)]
pub struct NameRoom {
    allowed: u64,
    names: u64,
    letters: u64,
}

impl NameRoom {
    /// Room within `allowed` bytes for the whole program; without bound if not given.
    pub fn new(allowed: Option<u64>) -> Self {
        let allowed =
            allowed.map_or(u64::MAX, |bytes| bytes.saturating_sub(BASE_BYTES).max(FEWEST_NAME_BYTES));
        Self { allowed, names: 0, letters: 0 }
    }

    /// Takes room for `n` more names of `letters` bytes in all, up to `place` in the file at `path`.
    ///
    /// # Errors
    /// When there is too little, naming the place.
    pub fn take(&mut self, path: &Path, place: impl FnOnce() -> String, n: u64, letters: u64) -> Result<()> {
        self.names = self.names.saturating_add(n);
        self.letters = self.letters.saturating_add(letters);
        let long = self.letters.saturating_sub(self.names.saturating_mul(FREE_LETTERS));
        let taken = self.names.saturating_mul(BYTES_PER_NAME).saturating_add(long);
        if taken <= self.allowed {
            return Ok(());
        }
        let expected = format!("names that take at most {}", human_bytes(self.allowed));
        let remedy = "allow more with --memory, or check that this is the right file";
        Err(Error::input(path, place(), expected, format!("{} of them", human_bytes(taken)), remedy))
    }
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
