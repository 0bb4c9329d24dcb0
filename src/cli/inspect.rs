//! `late-fast inspect`

use serde::Serialize;

use super::args::{Common, InspectArgs};
use super::input::Input;
use super::memory;
use super::report::Reporter;
use crate::io::Tally;
use crate::matrix::Major;
use crate::parallel;
use crate::store::StoreDtype;

/// What is known of a matrix after reading all of it.
#[derive(Serialize)]
struct Inspection {
    description: Vec<(String, String)>,
    n_cells: usize,
    n_genes: usize,
    tally: Tally,
    density: f64,
    whole_numbers: bool,
    max: f64,
    empty_cells: usize,
    empty_genes: usize,
    median_genes_per_cell: u64,
    median_total_per_cell: f64,
}

pub(super) fn run(args: &InspectArgs, common: &Common) -> anyhow::Result<()> {
    let reporter = Reporter::new(common);
    parallel::with_threads(common.threads, || {
        let budget = common.memory.unwrap_or_else(memory::available);
        let input =
            Input::open(&args.path, &args.matrix, StoreDtype::default(), None, false, budget, &reporter)?;
        let inspection = Inspection::new(&input);
        reporter.result("inspected", &inspection, &inspection.text())
    })?
}

impl Inspection {
    fn new(input: &Input<'_>) -> Self {
        let by_cell = input.summary_by(Major::Cells);
        let (n_cells, n_genes) = (by_cell.row_nnz.len(), by_cell.col_nnz.len());
        let empty = |nnz: &[u64]| nnz.iter().filter(|&&n| n == 0).count();
        Self {
            description: input.source.describe(),
            n_cells,
            n_genes,
            density: by_cell.tally.nnz as f64 / (n_cells as f64 * n_genes as f64),
            whole_numbers: by_cell.integer,
            max: by_cell.max,
            empty_cells: empty(&by_cell.row_nnz),
            empty_genes: empty(&by_cell.col_nnz),
            median_genes_per_cell: median(by_cell.row_nnz, u64::cmp),
            median_total_per_cell: median(by_cell.cell_sums, f64::total_cmp),
            tally: by_cell.tally,
        }
    }

    fn text(&self) -> String {
        let mut lines = self.description.clone();
        let mut line = |label: &str, value: String| lines.push((label.into(), value));
        line("observed entries", format!("{} ({:.3}%)", self.tally.nnz, 100.0 * self.density));
        line("values", {
            let kind = if self.whole_numbers { "whole numbers (counts)" } else { "real numbers" };
            format!("{kind}, at most {}", self.max)
        });
        line("median cell", {
            format!("{} genes, total {}", self.median_genes_per_cell, self.median_total_per_cell)
        });
        line("without any entry", format!("{} cells, {} genes", self.empty_cells, self.empty_genes));
        let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let lines: Vec<String> =
            lines.iter().map(|(label, value)| format!("{label:width$}  {value}")).collect();
        lines.join("\n")
    }
}

fn median<T: Copy + Default>(mut values: Vec<T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    let middle = values.len() / 2;
    if values.is_empty() {
        return T::default();
    }
    *values.select_nth_unstable_by(middle, order).1
}
