//! Synthetic 10x matrices of any size: counts from a low-rank Poisson model with cell types, streamed to disk.

mod alias;
mod names;
mod output;
mod population;

use std::path::PathBuf;

pub use output::{SimulateReport, simulate};

use crate::atomic::{self, parent, refuse_existing, try_directory};
use crate::budget::{self, human_bytes};
use crate::error::{Error, Result};
use population::Population;

/// Entries of a block are made while those of the block before are written: 12 MB.
const BLOCK_ENTRIES: u64 = 1 << 20;
/// A block never has more cells than this, however few entries they have.
const MOST_BLOCK_CELLS: usize = 1 << 16;
/// A block's cells are dealt to the threads in about so many parts.
const TASKS: usize = 16;
/// Expected counts are written for matrices up to this size.
const MOST_TRUTH_BYTES: u64 = 2 << 30;
const MOST_CELL_TYPES: usize = 1000;
/// Bytes of a cell in memory (its end in `indptr`, in a vector that grows), and in the output (barcode and label).
const BYTES_PER_CELL: u64 = 24;
const NAME_BYTES: u64 = 64;

/// The layout of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SimulateLayout {
    /// Cell Ranger 1 and 2: one group, named after the genome
    V2,
    /// Cell Ranger 3 and later
    #[default]
    V3,
}

/// What to make, and where.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// The 10x file.
    pub out: PathBuf,
    /// The cells' types, as CSV.
    pub labels: PathBuf,
    /// The expected counts as h5ad, if wanted.
    pub truth: Option<PathBuf>,
    /// Number of cells.
    pub n_cells: usize,
    /// Number of genes.
    pub n_genes: usize,
    /// Expected share of entries that are not 0.
    pub density: f64,
    /// Layout of the 10x file.
    pub layout: SimulateLayout,
    /// Name of the genome.
    pub genome: String,
    /// Number of cell types.
    pub n_cell_types: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Replace existing outputs.
    pub force: bool,
}

impl SimulateOptions {
    /// Refuses what cannot be made, before anything is done for it. `allowed` bytes of memory may be used.
    ///
    /// # Errors
    /// Names the option that is wrong, the output that is in the way, or what there is too little of.
    pub fn check(&self, allowed: u64) -> Result<()> {
        let refuse = |problem: String, remedy: &str| Err(Error::Usage { problem, remedy: remedy.into() });
        // A 10x file states its shape in 32 bits, signed.
        let most = usize::try_from(i32::MAX).unwrap_or(usize::MAX);
        if self.n_cells > most {
            return refuse(
                format!("--cells {} is more than 10x files can hold", self.n_cells),
                "ask for fewer",
            );
        }
        if self.n_genes == 0 || self.n_genes > most {
            return refuse(
                format!("--genes {} cannot be used", self.n_genes),
                "give a number from 1 to 2^31 - 1",
            );
        }
        if !(self.density > 0.0 && self.density < 1.0) {
            return refuse(
                format!("--density {} cannot be used", self.density),
                "give a share between 0 and 1, such as 0.072",
            );
        }
        if !(1..=MOST_CELL_TYPES).contains(&self.n_cell_types) {
            return refuse(
                format!("--cell-types {} cannot be used", self.n_cell_types),
                &format!("give a number from 1 to {MOST_CELL_TYPES}"),
            );
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
        let reserved = ["", ".", "..", "matrix"].contains(&self.genome.as_str());
        if reserved || !self.genome.chars().all(is_name) {
            return refuse(
                format!("--genome {:?} cannot be used", self.genome),
                "give a name of letters, digits, _, -, + and dots, such as mm10",
            );
        }
        self.check_outputs()?;
        budget::check(self.memory_bytes(), allowed, || {
            "allow more with --memory, or ask for fewer --genes or --cells".into()
        })
    }

    fn check_outputs(&self) -> Result<()> {
        let outputs: Vec<&PathBuf> = [&self.out, &self.labels].into_iter().chain(&self.truth).collect();
        for (place, output) in outputs.iter().enumerate() {
            if outputs[..place].iter().any(|other| atomic::is_same_name(other, output)) {
                return Err(Error::Usage {
                    problem: format!("{} would be written twice", output.display()),
                    remedy: "give OUT, --labels and --truth names of their own".into(),
                });
            }
            refuse_existing(output, self.force)?;
            try_directory(parent(output))?;
        }
        if let Some(truth) = &self.truth {
            let bytes = self.truth_bytes();
            if bytes > MOST_TRUTH_BYTES {
                return Err(Error::Usage {
                    problem: format!(
                        "--truth of {} cells x {} genes would take {}, and {} is the most",
                        self.n_cells,
                        self.n_genes,
                        human_bytes(bytes),
                        human_bytes(MOST_TRUTH_BYTES)
                    ),
                    remedy: "leave it out, or ask for fewer cells or genes".into(),
                });
            }
            let remedy = "free space, or leave out --truth";
            atomic::check_free_space(parent(truth), bytes, || "the truth".into(), remedy)?;
        }
        atomic::check_free_space(
            parent(&self.out),
            self.output_bytes(),
            || format!("a matrix of about {} entries", self.expected_nnz()),
            "free space, write elsewhere, or ask for fewer cells, genes or a lower --density",
        )
    }

    fn truth_bytes(&self) -> u64 {
        (self.n_cells as u64).saturating_mul(self.n_genes as u64).saturating_mul(size_of::<f32>() as u64)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn expected_nnz(&self) -> u64 {
        (self.n_cells as f64 * self.n_genes as f64 * self.density) as u64
    }

    /// What the outputs are expected to take, at most; the truth not counted.
    fn output_bytes(&self) -> u64 {
        // Deflated indices take no more than their low bytes; counts and indices compress further than that.
        let index_bytes = u64::from(usize::BITS - self.n_genes.leading_zeros()).div_ceil(8);
        let names = (self.n_cells as u64 + self.n_genes as u64) * NAME_BYTES;
        self.expected_nnz().saturating_mul(index_bytes).saturating_add(names)
    }

    /// Expected entries of a cell.
    fn cell_entries(&self) -> f64 {
        self.n_genes as f64 * self.density
    }

    /// Cells of a block and of a task.
    fn cut(&self) -> (usize, usize) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let cells = (BLOCK_ENTRIES as f64 / self.cell_entries()) as usize;
        let cells = cells.clamp(1, MOST_BLOCK_CELLS);
        (cells, cells.div_ceil(TASKS))
    }

    fn memory_bytes(&self) -> u64 {
        // One block that is written and one that is made, in vectors that grew, and what waits for a chunk.
        const BYTES_PER_ENTRY: u64 = 5 * 12;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let block = BLOCK_ENTRIES.max(self.cell_entries() as u64);
        let counters = crate::parallel::n_threads() as u64 * self.n_genes as u64 * 8;
        [
            budget::fixed_bytes(self.n_genes),
            self.n_cells as u64 * BYTES_PER_CELL,
            block.saturating_mul(BYTES_PER_ENTRY),
            Population::bytes(self.n_genes),
            counters,
        ]
        .into_iter()
        .fold(0, u64::saturating_add)
    }
}
