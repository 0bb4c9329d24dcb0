//! What several benches share.
#![allow(dead_code, unreachable_pub, reason = "every bench uses its part")]
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

pub mod counts;
pub mod dense;
pub mod record;

/// Whether this is a run as a test (`cargo test --bench`): everything once, on small shapes.
pub fn is_test() -> bool {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    !has("--bench") || has("--test")
}

/// Whether the slow rows are wanted too.
pub fn all() -> bool {
    std::env::var("LATE_FAST_BENCH").is_ok_and(|value| value == "all")
}
