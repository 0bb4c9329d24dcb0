//! Training: the epoch loop, its split, its results and the memory it takes.

mod plan;
mod results;
mod run;
mod split;

pub use plan::{Plan, entries_of_largest_batch};
pub use results::{Finished, MODEL_FILE, Results};
pub use run::{EpochRecord, Observer, Trained, train};
pub use split::{Split, SplitCounts};
