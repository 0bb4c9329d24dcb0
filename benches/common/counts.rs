//! A store of synthetic counts.

use std::path::Path;

use late_fast::io::{Head, Source, Tally};
use late_fast::matrix::{Axis, Block, Major, RowBlock};
use late_fast::store::{Prepared, StoreDtype, Storing, prepare, unpack};
use late_fast_kernels::testing::{Rng, Spread, feature_rates};

/// Synthetic counts with the rates of genes, streamed to the store's writer.
pub struct Counts {
    head: Head,
    density: f64,
    /// What is added to the very last entry: a fraction makes the writer choose f32.
    last: f64,
}

impl Counts {
    pub fn new((n_cells, n_genes, density): (usize, usize, f64), last: f64) -> Self {
        let names = |n: usize| Axis::from_names((0..n).map(|number| number.to_string()).collect());
        let axes = [names(n_cells), names(n_genes)];
        let head = Head::new(Path::new("synthetic counts"), "synthetic", Major::Cells, axes, Vec::new());
        Self { head, density, last }
    }

    pub fn store(&self, dir: &Path) -> Prepared {
        let storing = Storing { dir, wanted: &[Major::Cells, Major::Genes], memory: 1 << 30, cache: None };
        let native = unpack(self, StoreDtype::F32, &storing, &|_, _| ()).unwrap();
        prepare(self, native, &storing, &|_, _| ()).unwrap()
    }
}

impl Source for Counts {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        0
    }

    /// Counts as they are in real data: most are 1 or 2, some hundreds.
    fn for_each_block(
        &self,
        consume: &mut dyn FnMut(Block, &Tally) -> late_fast::error::Result<()>,
    ) -> late_fast::error::Result<Tally> {
        let rng = &mut Rng::new(1);
        let rates = feature_rates(self.head.genes.len(), self.density, Spread::Skewed, rng);
        let mut tally = Tally::default();
        for cell in 0..self.head.cells.len() {
            let mut block = RowBlock { indptr: vec![0], ..RowBlock::default() };
            for (gene, &rate) in (0_u32..).zip(&rates) {
                if rng.unit() < rate {
                    block.indices.push(gene);
                    block.values.push((0.3 / (1.0 - rng.unit())).ceil().min(3000.0));
                }
            }
            if let (true, Some(value)) = (cell + 1 == self.head.cells.len(), block.values.last_mut()) {
                *value += self.last;
            }
            block.indptr.push(block.indices.len());
            let block_nnz = block.nnz() as u64;
            tally.nnz += block_nnz;
            consume(Block::Reals(block), &Tally { nnz: block_nnz, ..Tally::default() })?;
        }
        Ok(tally)
    }
}
