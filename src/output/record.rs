//! How a file was made.

use crate::error::Result;
use crate::h5ad;

/// The command that makes a file: in `uns/late_fast` of an h5ad file, in the description of a 10x file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The command's name.
    pub command: &'static str,
    /// The file that was read.
    pub input: String,
    /// Options and their values, without dashes.
    pub options: Vec<(&'static str, String)>,
    /// The seed of everything random.
    pub seed: Option<u64>,
}

impl Record {
    /// The record as one line.
    pub fn line(&self) -> String {
        let mut line = format!("late-fast {} {} of {}", env!("CARGO_PKG_VERSION"), self.command, self.input);
        for (name, value) in &self.options {
            line += &format!(", {name} {value}");
        }
        if let Some(seed) = self.seed {
            line += &format!(", seed {seed}");
        }
        line
    }

    /// Writes `uns/late_fast`.
    pub(super) fn write(&self, file: &hdf5::File) -> Result<()> {
        let record = h5ad::create_dict(&h5ad::create_dict(file, "uns")?, "late_fast")?;
        h5ad::write_string_scalar(&record, "version", env!("CARGO_PKG_VERSION"))?;
        h5ad::write_string_scalar(&record, "command", self.command)?;
        h5ad::write_string_scalar(&record, "input", &self.input)?;
        for (name, value) in &self.options {
            h5ad::write_string_scalar(&record, name, value)?;
        }
        self.seed.map_or(Ok(()), |seed| h5ad::write_number_scalar(&record, "seed", seed))
    }
}
