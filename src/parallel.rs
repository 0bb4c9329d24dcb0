//! Ranges of cells, genes or features are dealt to rayon's pool here, for everything that is computed.
//! (The readers, whose results do not depend on the order of work, use rayon's iterators themselves.)
//!
//! Work is cut by the data, never by the number of threads, and results come back in order: that is
//! what makes a run's bits independent of `--threads`.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// More threads than any machine has cores only take time to start.
const MAX_THREADS: usize = 1024;

/// Runs `work` in a pool of `threads` threads (0: one for each core), every one of which treats
/// denormal numbers as zero. BLAS itself stays on the calling thread: its callers are already parallel.
///
/// # Errors
/// When there are too many threads, or they cannot be started.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    if threads > MAX_THREADS {
        return Err(Error::Usage {
            problem: format!("--threads {threads} cannot be used"),
            remedy: format!("give a number up to {MAX_THREADS}"),
        });
    }
    late_fast_kernels::gemm::blas_single_thread();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("late-fast-{index}"))
        .start_handler(|_| late_fast_kernels::flush_denormals())
        .build()
        .map_err(|e| Error::Resources {
            problem: format!("cannot start {threads} threads: {e}"),
            remedy: "choose fewer with --threads".into(),
        })?;
    Ok(pool.install(work))
}

/// The threads of the pool this is called in.
pub fn n_threads() -> usize {
    rayon::current_num_threads()
}

/// Applies `work` to every task and returns the results in the order of the tasks.
pub fn map<T: Send, R: Send>(tasks: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    tasks.into_par_iter().map(work).collect()
}

/// Cuts `0..len` into tiles of `tile` (the last may be smaller).
pub fn tiles(len: usize, tile: usize) -> Vec<Range<usize>> {
    (0..len).step_by(tile).map(|start| start..(start + tile).min(len)).collect()
}

/// Cuts a row-major matrix of `width` columns into the given consecutive ranges of rows, which start at 0.
pub fn split_rows<'a, T>(mut matrix: &'a mut [T], ranges: &[Range<usize>], width: usize) -> Vec<&'a mut [T]> {
    ranges
        .iter()
        .map(|rows| {
            let (head, tail) = std::mem::take(&mut matrix).split_at_mut(rows.len() * width);
            matrix = tail;
            head
        })
        .collect()
}
