//! What happens between the products: bias, relu and dropout, forward and backward, and sums over a minibatch.

mod bias_relu_dropout;
mod column_sums;
mod relu_dropout_backward;

pub use bias_relu_dropout::{
    KERNELS as BIAS_RELU_DROPOUT_KERNELS, Run as BiasReluDropout, bias_relu_dropout,
};
pub use column_sums::{KERNELS as COLUMN_SUMS_KERNELS, Run as ColumnSums, column_sums};
pub use relu_dropout_backward::{
    KERNELS as RELU_DROPOUT_BACKWARD_KERNELS, Run as ReluDropoutBackward, relu_dropout_backward,
};
#[cfg(test)]
mod tests;
