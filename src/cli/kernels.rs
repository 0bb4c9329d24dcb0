//! `late-fast kernels`

use std::io::Write;

use late_fast_kernels::{ISA_VARIABLE, Isa};

use crate::error::{Error, Result};

/// The instruction set this process uses.
pub(super) fn chosen_isa() -> Result<Isa> {
    Isa::chosen().map_err(|e| Error::Usage {
        problem: e.to_string(),
        remedy: format!("unset {ISA_VARIABLE} to use the best this CPU has"),
    })
}

pub(super) fn run() -> anyhow::Result<()> {
    let chosen = chosen_isa()?;
    let mut stdout = std::io::stdout().lock();
    let available: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    writeln!(stdout, "available: {}", available.join(", "))?;
    writeln!(stdout, "chosen: {chosen} ({ISA_VARIABLE} forces another)")?;
    Ok(())
}
