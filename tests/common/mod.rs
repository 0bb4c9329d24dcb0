//! What several integration tests share.
#![allow(dead_code, unreachable_pub, reason = "every test crate uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod anndata;
pub mod binary;
pub mod content;
pub mod counts;
pub mod evaluation;
pub mod files;
pub mod python;
pub mod report;
