//! late-fast: single-cell RNA-seq imputation at atlas scale.
