//! Fused masked-GEMM kernels of late-fast.
