//! What several integration tests share.
#![allow(dead_code, unreachable_pub, reason = "every test crate uses its part")]
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions")]

pub mod files;
