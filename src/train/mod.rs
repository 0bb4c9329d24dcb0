//! Training: the epoch loop, its split, its results and the memory it takes.

mod checkpoint;
mod plan;
mod reference;
mod results;
mod run;
mod split;

pub use checkpoint::{Identity, Keeper, list as list_checkpoints, remove_all as remove_checkpoints};
pub use plan::{Kept, Plan, entries_of_largest_batch};
pub use reference::{Aligned, Reference, ReferencePlan, model_path};
pub use results::{Finished, Results};
pub use run::{EpochRecord, Observer, Outcome, Position, Task, Trained, train};
pub use split::{Split, SplitCounts};
