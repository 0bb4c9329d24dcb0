//! Minibatches: the sampler plans which samples, the loader gathers, transforms and prefetches them.

mod arrange;
mod batch;
mod build;
mod loader;
mod sampler;
mod transform;

pub use batch::{FeatureMajor, Minibatch};
pub use build::{Builder, Holdout, InputDropout, Purpose};
pub use loader::Loader;
pub use sampler::{Schedule, Window, batches_in_order, scored_samples, shuffled_batches, split_samples};
pub use transform::Transform;

/// Streams of the counter-based generator: one for each use, so that no two uses share random bits.
/// Dropout of layer `l` (0 is the input) uses stream `l`.
pub const HOLDOUT_STREAM: u32 = 1 << 16;
