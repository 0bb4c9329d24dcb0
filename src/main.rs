//! The `late-fast` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    late_fast::cli::main()
}
