//! The matrix as it travels between files, store and network: axes and compressed rows.

mod axis;
mod block;

pub use axis::{Axis, Column, hash_texts};
pub use block::{Block, Number, PartMut, RowBlock};

/// Which axis a compressed row of a matrix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Major {
    /// A row is a cell (observation, barcode); its entries are genes. AnnData's CSR.
    Cells,
    /// A row is a gene (variable, feature); its entries are cells. AnnData's CSC.
    Genes,
}

impl Major {
    /// The other axis.
    pub fn other(self) -> Self {
        match self {
            Self::Cells => Self::Genes,
            Self::Genes => Self::Cells,
        }
    }

    /// "cell" or "gene": what one compressed row is called in messages.
    pub fn row_noun(self) -> &'static str {
        match self {
            Self::Cells => "cell",
            Self::Genes => "gene",
        }
    }

    /// One compressed row, for messages: `cell "AAAC-1" (index 3)`.
    pub fn describe_row(self, names: &[String], position: usize) -> String {
        let noun = self.row_noun();
        match names.get(position) {
            Some(name) => format!("{noun} {name:?} (index {position})"),
            None => format!("{noun} at index {position}"),
        }
    }
}
