//! Minibatches: the sampler plans which samples, the loader gathers, transforms and prefetches them.

mod build;
mod loader;
mod sampler;
mod transform;

pub use build::{Builder, FeatureMajor, Holdout, InputDropout, Minibatch, Purpose};
pub use loader::stream;
pub use sampler::{batches_in_order, shuffled_batches, split_samples};
pub use transform::Transform;

/// Streams of the counter-based generator: one for each use, so that no two uses share random bits.
/// Dropout of layer `l` (0 is the input) uses stream `l`.
pub const HOLDOUT_STREAM: u32 = 1 << 16;
