//! A store of synthetic counts.

use std::path::Path;

use late_fast::io::{InPlace, Source, Tally};
use late_fast::matrix::{Axis, Block, Major, RowBlock};
use late_fast::store::{Prepared, StoreDtype, Storing, prepare, unpack};
use late_fast_kernels::testing::{Rng, Spread, feature_rates};

/// Synthetic counts with the rates of genes, streamed to the store's writer.
pub struct Counts {
    cells: Axis,
    genes: Axis,
    density: f64,
    /// What is added to the very last entry: a fraction makes the writer choose f32.
    last: f64,
}

impl Counts {
    pub fn new((n_cells, n_genes, density): (usize, usize, f64), last: f64) -> Self {
        let names = |n: usize| Axis::from_names((0..n).map(|number| number.to_string()).collect());
        Self { cells: names(n_cells), genes: names(n_genes), density, last }
    }

    pub fn store(&self, dir: &Path) -> Prepared {
        let storing = Storing { dir, wanted: &[Major::Cells, Major::Genes], memory: 1 << 30, cache: None };
        let native = unpack(self, StoreDtype::F32, &storing, &|_, _| ()).unwrap();
        prepare(self, native, &storing, &|_, _| ()).unwrap()
    }
}

impl Source for Counts {
    fn path(&self) -> &Path {
        Path::new("synthetic counts")
    }

    fn layout(&self) -> String {
        "synthetic".to_owned()
    }

    fn major(&self) -> Major {
        Major::Cells
    }

    fn cells(&self) -> &Axis {
        &self.cells
    }

    fn genes(&self) -> &Axis {
        &self.genes
    }

    fn declared_nnz(&self) -> u64 {
        0
    }

    fn notes(&self) -> &[String] {
        &[]
    }

    /// Counts as they are in real data: most are 1 or 2, some hundreds.
    fn for_each_block(
        &self,
        consume: &mut dyn FnMut(Block, &Tally) -> late_fast::error::Result<()>,
    ) -> late_fast::error::Result<Tally> {
        let rng = &mut Rng::new(1);
        let rates = feature_rates(self.genes.len(), self.density, Spread::Skewed, rng);
        let mut tally = Tally::default();
        for cell in 0..self.cells.len() {
            let mut block = RowBlock { indptr: vec![0], ..RowBlock::default() };
            for (gene, &rate) in (0_u32..).zip(&rates) {
                if rng.unit() < rate {
                    block.indices.push(gene);
                    block.values.push((0.3 / (1.0 - rng.unit())).ceil().min(3000.0));
                }
            }
            if let (true, Some(value)) = (cell + 1 == self.cells.len(), block.values.last_mut()) {
                *value += self.last;
            }
            block.indptr.push(block.indices.len());
            let block_nnz = block.nnz() as u64;
            tally.nnz += block_nnz;
            consume(Block::Reals(block), &Tally { nnz: block_nnz, ..Tally::default() })?;
        }
        Ok(tally)
    }

    fn in_place(&self) -> Option<InPlace> {
        None
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
