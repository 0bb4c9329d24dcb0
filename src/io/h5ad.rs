//! AnnData `.h5ad` files of every generation as a [`Source`].

use super::dense::Dense;
use super::stream::{Compressed, Names, plan_blocks, stream};
use super::{Head, InPlace, ReadOptions, Source, Tally, Values};
use crate::error::{Error, Result};
use crate::h5ad::read_axis;
use crate::hdf::{HdfFile, Kind};
use crate::matrix::{Axis, Block, Major};

/// A matrix of an AnnData file: `X`, a layer, or the raw `X`.
pub(super) struct H5ad {
    head: Head,
    matrix: Matrix,
    /// What to do when the values are no counts.
    remedy: String,
    values: Values,
    details: Vec<(String, String)>,
}

enum Matrix {
    Compressed(Major, Box<Compressed>),
    Dense(Dense),
}

impl H5ad {
    pub(super) fn open(file: &HdfFile, options: &ReadOptions) -> Result<Self> {
        let offers = Offers::of(file)?;
        let (element, var) = offers.choose(file, options)?;
        let axis = |group: &str| {
            let mut notes = Vec::new();
            read_axis(file, group, &mut notes).map(|axis| (axis, notes))
        };
        let (cells, genes) = rayon::join(|| axis("obs"), || axis(&var));
        let ((cells, mut notes), (genes, more_notes)) = (cells?, genes?);
        notes.extend(more_notes);
        let remedy = match options.values {
            Values::Expression => offers.remedy(&element),
            Values::Finite => "mend the value, or leave out the cell or the gene".to_owned(),
        };
        let matrix = Matrix::open(file, &element, &cells, &genes, &remedy)?;
        let (major, storage) = match &matrix {
            Matrix::Compressed(Major::Cells, _) => (Major::Cells, "CSR"),
            Matrix::Compressed(Major::Genes, _) => (Major::Genes, "CSC"),
            Matrix::Dense(_) => (Major::Cells, "dense"),
        };
        let layout = format!("AnnData h5ad ({storage} {element})");
        Ok(Self {
            head: Head::new(file.path(), layout, major, [cells, genes], notes),
            matrix,
            remedy,
            values: options.values,
            details: offers.describe(),
        })
    }

    fn names(&self, major: Major) -> Names<'_> {
        Names::of(&self.head, major, &self.remedy, self.values)
    }
}

fn names<'a>(major: Major, cells: &'a Axis, genes: &'a Axis, remedy: &'a str) -> Names<'a> {
    let (rows, columns) = match major {
        Major::Cells => (cells, genes),
        Major::Genes => (genes, cells),
    };
    Names { major, rows: &rows.names, columns: &columns.names, remedy, values: Values::Expression }
}

impl Matrix {
    fn open(file: &HdfFile, element: &str, cells: &Axis, genes: &Axis, remedy: &str) -> Result<Self> {
        if file.has_dataset(element)? {
            if let Some(other) =
                file.string_attribute(element, "encoding-type")?.filter(|encoding| encoding != "array")
            {
                let (object, found) = (format!("{element}@encoding-type"), format!("{other:?}"));
                let remedy = "choose another matrix, or write the file again with anndata";
                return Err(Error::input(
                    file.path(),
                    object,
                    "array, csr_matrix or csc_matrix",
                    found,
                    remedy,
                ));
            }
            return Ok(Self::Dense(Dense::open(file, element, cells.len(), genes.len())?));
        }
        let problem = |object: String, expected: String, found: String| {
            let remedy = "write the file again with anndata";
            Error::input(file.path(), object, expected, found, remedy)
        };
        let encoding = match file.string_attribute(element, "encoding-type")? {
            Some(encoding) => encoding,
            // Before AnnData 0.7.
            None => file.string_attribute(element, "h5sparse_format")?.unwrap_or_default(),
        };
        let major = match encoding.as_str() {
            "csr_matrix" | "csr" => Major::Cells,
            "csc_matrix" | "csc" => Major::Genes,
            other => {
                let object = format!("{element}@encoding-type");
                let expected = "array, csr_matrix or csc_matrix".to_owned();
                let found = if other.is_empty() { "nothing".to_owned() } else { format!("{other:?}") };
                return Err(problem(object, expected, found));
            }
        };
        let shape = match file.integers_attribute(element, "shape")? {
            None => file.integers_attribute(element, "h5sparse_shape")?,
            shape => shape,
        };
        let lengths = [cells.len(), genes.len()].map(|length| i64::try_from(length).unwrap_or(i64::MAX));
        match shape {
            Some(shape) if shape == lengths => {}
            shape => {
                let found = shape.map_or("nothing".to_owned(), |shape| format!("{shape:?}"));
                let expected = format!("{lengths:?}, the numbers of cells and genes");
                return Err(problem(format!("{element}@shape"), expected, found));
            }
        }
        let names = names(major, cells, genes, remedy);
        let matrix = Compressed::open(file, element, names.rows.len(), names.columns.len(), &names)?;
        Ok(Self::Compressed(major, Box::new(matrix)))
    }
}

impl Source for H5ad {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        match &self.matrix {
            Matrix::Compressed(_, matrix) => matrix.nnz(),
            Matrix::Dense(matrix) => matrix.elements(),
        }
    }

    fn sample(&self) -> Option<Vec<f64>> {
        match &self.matrix {
            Matrix::Compressed(_, matrix) => Some(matrix.sample()),
            Matrix::Dense(_) => None,
        }
    }

    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally> {
        match &self.matrix {
            Matrix::Compressed(major, matrix) => {
                let names = self.names(*major);
                let blocks = plan_blocks(matrix.n_rows(), |row| matrix.row_len(row));
                stream(&blocks, |rows| matrix.read_rows(rows, None, &names), consume)
            }
            Matrix::Dense(matrix) => matrix.for_each_block(&self.names(Major::Cells), consume),
        }
    }

    fn in_place(&self) -> Option<InPlace> {
        match &self.matrix {
            Matrix::Compressed(_, matrix) => matrix.in_place(),
            Matrix::Dense(_) => None,
        }
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut lines = self.details.clone();
        lines.extend(match &self.matrix {
            Matrix::Compressed(_, matrix) => matrix.describe(),
            Matrix::Dense(matrix) => matrix.describe(),
        });
        lines
    }
}

/// The matrices a file has to offer.
struct Offers {
    has_x: bool,
    layers: Vec<String>,
    /// (X, var) of the raw matrix: `raw/X`, or `raw.X` before AnnData 0.7.
    raw: Option<(String, String)>,
}

impl Offers {
    fn of(file: &HdfFile) -> Result<Self> {
        let has_x = matrix_kind(file, "X")?;
        let layers = if file.has_group("layers")? { file.members("layers")? } else { Vec::new() };
        let mut raw = None;
        for (x, var) in [("raw/X", "raw/var"), ("raw.X", "raw.var")] {
            if raw.is_none() && matrix_kind(file, x)? {
                raw = Some((x.to_owned(), var.to_owned()));
            }
        }
        Ok(Self { has_x, layers, raw })
    }

    /// The matrix asked for and its genes.
    fn choose(&self, file: &HdfFile, options: &ReadOptions) -> Result<(String, String)> {
        let missing = |object: &str, expected: &str, remedy: &str| {
            Error::input(file.path(), object, expected, format!("only {}", self.list()), remedy)
        };
        match &options.layer {
            Some(_) if options.use_raw => Err(Error::Usage {
                problem: "--layer and --use-raw name two different matrices".to_owned(),
                remedy: "give one of them".to_owned(),
            }),
            Some(layer) if layer == "X" && self.has_x => Ok(("X".to_owned(), "var".to_owned())),
            Some(layer) if self.layers.contains(layer) => Ok((format!("layers/{layer}"), "var".to_owned())),
            Some(layer) => {
                let object = format!("layers/{layer}");
                Err(missing(&object, "the layer of --layer", "give one of the layers to --layer"))
            }
            None if options.use_raw => {
                self.raw.clone().ok_or_else(|| missing("raw/X", "a raw matrix", "leave out --use-raw"))
            }
            None if self.has_x => Ok(("X".to_owned(), "var".to_owned())),
            None => Err(missing("X", "a matrix", "choose another with --layer NAME or --use-raw")),
        }
    }

    fn list(&self) -> String {
        let mut names = Vec::new();
        if self.has_x {
            names.push("X".to_owned());
        }
        names.extend(self.layers.iter().map(|layer| format!("layers/{layer}")));
        names.extend(self.raw.iter().map(|(x, _)| x.clone()));
        if names.is_empty() { "obs and var, no matrix".to_owned() } else { names.join(", ") }
    }

    fn remedy(&self, element: &str) -> String {
        let mut others: Vec<_> = self
            .layers
            .iter()
            .filter(|layer| element != format!("layers/{layer}"))
            .map(|layer| format!("--layer {layer}"))
            .collect();
        others.extend(self.raw.iter().filter(|(x, _)| x != element).map(|_| "--use-raw".to_owned()));
        if others.is_empty() {
            return "use a file with counts, not scaled or centred values".to_owned();
        }
        format!("scaled or centred values cannot be imputed; try {}", others.join(" or "))
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("matrices".to_owned(), self.list())]
    }
}

/// Whether something readable as a matrix stands at `name`; a `null` element does not.
fn matrix_kind(file: &HdfFile, name: &str) -> Result<bool> {
    Ok(match file.kind(name)? {
        None => false,
        Some(Kind::Group) => true,
        Some(Kind::Dataset) => file.string_attribute(name, "encoding-type")?.as_deref() != Some("null"),
    })
}
