//! The autoencoder of LATE: its shape, its parameters, and one step forward and back.
//!
//! Source: Badsha et al. 2020, Quantitative Biology 8(1):78-94. Layers n -> h1 -> ... -> latent -> ... -> h1 -> n,
//! untied weights; each layer is dropout on its input, affine, ReLU, also the latent and the output layer.

mod align;
mod architecture;
mod buffer;
mod decoder;
mod dense;
mod encoder;
mod features;
mod file;
mod forms;
mod hidden;
mod network;
mod output;
mod precision;
mod products;
mod start;
mod state;
mod step;
mod workspace;

pub use align::{By, LEAST_OVERLAP, Match, is_enough};
pub use architecture::Architecture;
pub use buffer::{Buffer, Placement};
pub use features::{Features, Labels};
pub use file::{ModelFile, ModelInfo, Overlap, Provenance, StoredModel};
pub use forms::{DenseProducts, Operation, is_dense};
pub use network::{Layer, Network, Snapshot, Tensor};
pub use output::{OutputInput, OutputLayer};
pub use precision::{Factor, Precision};
pub use products::Products;
pub use start::Start;
pub use state::arrays;
pub use step::{HiddenDropout, LossKind, Pass, StepOptions, StepResult};
pub use workspace::Workspace;
