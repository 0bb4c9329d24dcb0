//! Ranges of cells, genes or features are dealt to rayon's pool here, for everything that is computed.
//! (The readers, whose results do not depend on the order of work, use rayon's iterators themselves.)
//!
//! Work is cut by the data, never by the number of threads, and results are put together in a fixed order: that is
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

/// As [`map`], for work that uses rayon itself in ways that make its result depend on the number of threads: every task
/// has one thread of its own, and as many run at a time as the pool has threads.
///
/// # Errors
/// When a thread cannot be started.
pub fn map_alone<T: Send, R: Send>(tasks: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Result<Vec<R>> {
    let alone = |task| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .start_handler(|_| late_fast_kernels::flush_denormals())
            .build()
            .map_err(|e| Error::Resources {
                problem: format!("cannot start a thread: {e}"),
                remedy: "choose fewer with --threads".into(),
            })?;
        Ok(pool.install(|| work(task)))
    };
    let mut results = Vec::with_capacity(tasks.len());
    let mut tasks = tasks.into_iter();
    loop {
        // A thread that waits for another pool takes up the next task: no more are handed out than may run.
        let batch: Vec<T> = tasks.by_ref().take(n_threads()).collect();
        if batch.is_empty() {
            return Ok(results);
        }
        for result in map(batch, alone) {
            results.push(result?);
        }
    }
}

/// Hands what is made of every task to `consume`, in the order of the tasks, while the pool makes the next.
///
/// # Errors
/// The first of `consume`, which stops the work.
pub fn ahead<T: Send, R: Send>(
    tasks: impl IntoIterator<Item = T>,
    make: impl Fn(T) -> R + Sync,
    mut consume: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let mut tasks = tasks.into_iter();
    let mut next = tasks.next().map(&make);
    while let Some(current) = next.take() {
        let task = tasks.next();
        rayon::in_place_scope(|scope| {
            let (make, next) = (&make, &mut next);
            if let Some(task) = task {
                scope.spawn(move |_| *next = Some(make(task)));
            }
            consume(current)
        })?;
    }
    Ok(())
}

/// What some consecutive tasks need, exclusively or not, and how it is cut.
pub trait Divide: Sized + Send {
    /// What belongs to the tasks before `task`, and the rest. Tasks keep their numbers.
    fn divide(self, task: usize) -> (Self, Self);
}

/// Runs `work(task, its part)` for every task and adds up the results, always in the same order: that of a
/// balanced tree over the tasks. Takes no memory, so it may be used in every step of training.
pub fn sum<T: Divide, W>(tasks: Range<usize>, parts: T, work: &W) -> f64
where
    W: Fn(usize, T) -> f64 + Sync,
{
    match tasks.len() {
        0 => 0.0,
        1 => work(tasks.start, parts),
        n => {
            let middle = tasks.start + n / 2;
            let (left, right) = parts.divide(middle);
            let (left, right) =
                rayon::join(|| sum(tasks.start..middle, left, work), || sum(middle..tasks.end, right, work));
            left + right
        }
    }
}

/// [`sum`] of nothing.
pub fn each<T: Divide>(tasks: Range<usize>, parts: T, work: &(impl Fn(usize, T) + Sync)) {
    sum(tasks, parts, &|task, part| {
        work(task, part);
        0.0
    });
}

/// Does both, at the same time if there is a thread to spare.
pub fn both(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    rayon::join(a, b);
}

/// The rows of a row-major matrix that belong to some consecutive tasks.
pub struct TaskRows<'a, T> {
    /// The rows of the tasks in hand.
    pub rows: &'a mut [T],
    width: usize,
    first_row: &'a (dyn Fn(usize) -> usize + Sync),
    /// The first row in hand.
    start: usize,
}

impl<'a, T> TaskRows<'a, T> {
    /// All rows of a matrix of `width` columns, of which those of task t start at `first_row(t)`.
    pub fn new(rows: &'a mut [T], width: usize, first_row: &'a (dyn Fn(usize) -> usize + Sync)) -> Self {
        Self { rows, width, first_row, start: 0 }
    }

    /// Equal parts for `n_tasks` tasks; what is left over is not dealt.
    pub fn equal(rows: &'a mut [T], n_tasks: usize) -> Self {
        let width = rows.len() / n_tasks.max(1);
        Self::new(&mut rows[..n_tasks * width], width, &|task| task)
    }
}

impl<T: Send> Divide for TaskRows<'_, T> {
    fn divide(self, task: usize) -> (Self, Self) {
        let start = (self.first_row)(task);
        let (rows, rest) = self.rows.split_at_mut((start - self.start) * self.width);
        (Self { rows, ..self }, Self { rows: rest, start, ..self })
    }
}

impl<A: Divide, B: Divide> Divide for (A, B) {
    fn divide(self, task: usize) -> (Self, Self) {
        let ((a, a_rest), (b, b_rest)) = (self.0.divide(task), self.1.divide(task));
        ((a, b), (a_rest, b_rest))
    }
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
