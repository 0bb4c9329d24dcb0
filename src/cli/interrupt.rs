//! Signals that ask a run to stop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::error::{Error, Result};

/// What a shell reports for a process that SIGINT ended.
const INTERRUPTED: i32 = 128 + SIGINT;

/// While it lives, SIGTERM, SIGINT and SIGUSR1 raise a flag instead of ending the process; a second SIGINT ends it at once.
/// (A second SIGTERM does not: batch systems send one after SIGUSR1, and the checkpoint has to be finished.)
#[derive(Debug)]
pub(super) struct Interrupt {
    flag: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

impl Interrupt {
    pub(super) fn new() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let mut interrupt = Self { flag: Arc::clone(&flag), handlers: Vec::new() };
        let failed = |e: std::io::Error| Error::Resources {
            problem: format!("cannot handle signals: {e}"),
            remedy: "report this as a bug".into(),
        };
        let second = signal_hook::flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&flag));
        interrupt.handlers.push(second.map_err(failed)?);
        for signal in [SIGTERM, SIGINT, SIGUSR1] {
            let handler = signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(failed)?;
            interrupt.handlers.push(handler);
        }
        Ok(interrupt)
    }

    /// Becomes true with the first signal.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}
