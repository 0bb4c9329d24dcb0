//! Training: the epoch loop, its split, its history and the memory it takes.

mod history;
mod plan;
mod run;
mod split;

pub use history::{EpochRecord, write_history};
pub use plan::Plan;
pub use run::{Observer, Trained, train};
pub use split::Split;
