//! The command line: arguments as typed become validated settings; results go to stdout, all else to stderr.

mod args;
mod combine;
mod convert;
mod evaluate;
mod impute;
mod input;
mod inspect;
mod interrupt;
mod kernels;
mod memory;
mod merge;
mod outputs;
mod perturb;
mod report;
mod simulate;
mod train;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::error::Error;
use args::{Cli, Command};

/// A signal stopped the command after a checkpoint: start it again (EX_TEMPFAIL of sysexits.h).
const STOPPED: u8 = 75;
/// The command ran into an error.
const FAILED: u8 = 1;
/// The command line cannot be used (clap's own code for it).
const USAGE: u8 = 2;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    /// A signal stopped it; it can go on.
    Stopped,
}

/// Runs the command line and returns the process's exit code: 0 done, 1 failed, 2 usage, 75 stopped by a signal.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Train(args) => train::run(args, &cli.common),
        Command::Impute(args) => impute::run(args, &cli.common).map(|()| Ending::Done),
        Command::Merge(args) => merge::run(args, &cli.common).map(|()| Ending::Done),
        Command::Combine(args) => combine::run(args, &cli.common).map(|()| Ending::Done),
        Command::Evaluate(args) => evaluate::run(args, &cli.common).map(|()| Ending::Done),
        Command::Inspect(args) => inspect::run(args, &cli.common).map(|()| Ending::Done),
        Command::Convert(args) => convert::run_convert(args, &cli.common).map(|()| Ending::Done),
        Command::Simulate(args) => simulate::run(args, &cli.common).map(|()| Ending::Done),
        Command::Mask(args) => perturb::mask(args, &cli.common).map(|()| Ending::Done),
        Command::Downsample(args) => perturb::downsample(args, &cli.common).map(|()| Ending::Done),
        Command::Split(args) => perturb::split(args, &cli.common).map(|()| Ending::Done),
        Command::Kernels(args) => kernels::run(args, &cli.common).map(|()| Ending::Done),
    };
    match result {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Stopped) => ExitCode::from(STOPPED),
        // Whoever reads our results has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to when stderr is closed.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            let usage = matches!(error.downcast_ref::<Error>(), Some(Error::Usage { .. }));
            ExitCode::from(if usage { USAGE } else { FAILED })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
