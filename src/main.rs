//! The `late-fast` command.
fn main() {}
