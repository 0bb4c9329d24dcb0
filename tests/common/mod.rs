//! What several integration tests share.
#![allow(dead_code, unreachable_pub, reason = "every test crate uses its part")]

pub mod binary;
pub mod counts;
pub mod files;
