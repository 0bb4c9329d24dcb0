//! The learning curve, as CSV.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// What is known after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean training loss over the epoch's steps, with dropout, as it was when each step was taken.
    pub train_loss: f64,
    /// Mean validation error after the epoch, without dropout.
    pub validation_loss: f64,
    /// Whether this is the best epoch so far.
    pub best: bool,
    /// Wall time of the epoch.
    pub seconds: f64,
    /// Training samples a second.
    pub samples_per_second: f64,
}

/// Writes the records to `path` (a temporary name: the caller renames).
pub fn write_history(path: &Path, records: &[EpochRecord]) -> Result<()> {
    let mut text = String::from("epoch,train_loss,validation_loss,best,seconds,samples_per_second\n");
    for r in records {
        text += &format!(
            "{},{:.9},{:.9},{},{:.4},{:.1}\n",
            r.epoch,
            r.train_loss,
            r.validation_loss,
            u8::from(r.best),
            r.seconds,
            r.samples_per_second
        );
    }
    std::fs::File::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|e| Error::io(path, "write the history", e))
}
