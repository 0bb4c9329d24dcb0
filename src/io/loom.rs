//! Loom files, versions 1 to 3: a dense matrix in which a row is a gene, and attributes of rows and columns.

use hdf5::types::TypeDescriptor;

use super::dense::{Dense, Missing, Part, fits_band};
use super::stream::Names;
use super::tenx::decode_references;
use super::{Head, ReadOptions, Source, Tally, Values};
use crate::error::{Error, Result};
use crate::h5ad::read_column;
use crate::hdf::{HdfFile, NumericArray};
use crate::matrix::{Axis, Block, Column, Major};

/// Names of genes, by loompy and velocyto, and by anndata.
const GENE_NAMES: [&str; 2] = ["Gene", "var_names"];
/// Names of cells, by the same.
const CELL_NAMES: [&str; 2] = ["CellID", "obs_names"];
const REWRITE: &str = "the file is damaged or incomplete; write it again with the tool that made it";

/// A matrix of a loom file: the main one or a layer.
pub(super) struct Loom {
    head: Head,
    matrix: Dense,
    remedy: String,
    values: Values,
    details: Vec<(String, String)>,
}

impl Loom {
    pub(super) fn open(file: &HdfFile, options: &ReadOptions) -> Result<Self> {
        let layers = if file.has_group("layers")? { file.members("layers")? } else { Vec::new() };
        let element = match &options.layer {
            None => "matrix".to_owned(),
            Some(layer) if layers.contains(layer) => format!("layers/{layer}"),
            Some(layer) => {
                let object = format!("layers/{layer}");
                let found = format!("only {}", list(&layers));
                let remedy = "give one of the layers to --layer, or leave it out";
                return Err(Error::input(file.path(), object, "the layer of --layer", found, remedy));
            }
        };
        let array = NumericArray::open(file, &element)?;
        let &[n_genes, n_cells] = array.dims() else {
            let found = format!("shape {:?}", array.dims());
            return Err(array.problem("a matrix of genes by cells", found, REWRITE));
        };
        let mut notes = Vec::new();
        let axis =
            |group, len, default: &[&str], chosen: &Option<String>, option, notes: &mut Vec<String>| {
                Attributes { file, group, len }.read(default, chosen.as_deref(), option, notes)
            };
        let genes = axis("row_attrs", n_genes, &GENE_NAMES, &options.gene_attr, "--gene-attr", &mut notes)?;
        let cells = axis("col_attrs", n_cells, &CELL_NAMES, &options.cell_attr, "--cell-attr", &mut notes)?;
        // Whole chunks are read, in bands of cells if those are not too large: training takes cells.
        let by_cells = array.chunk_columns().is_some_and(|columns| fits_band(columns, n_genes));
        let (major, shape) =
            if by_cells { (Major::Cells, [n_cells, n_genes]) } else { (Major::Genes, [n_genes, n_cells]) };
        let part = Part { array, across: by_cells, targets: None };
        let version = version(file, &mut notes)?.map_or_else(String::new, |version| format!(" {version}"));
        let layout = format!("loom{version} ({element})");
        Ok(Self {
            head: Head::new(file.path(), layout, major, [cells, genes], notes),
            matrix: Dense::of(vec![part], shape, Missing::Refused)?,
            remedy: remedy(&element, &layers, options.values),
            values: options.values,
            details: vec![("matrices".to_owned(), list(&layers))],
        })
    }
}

/// The version of the format, a text or, by some writers, a number.
fn version(file: &HdfFile, notes: &mut Vec<String>) -> Result<Option<String>> {
    const NAME: &str = "LOOM_SPEC_VERSION";
    let dataset = format!("attrs/{NAME}");
    if !file.has_dataset(&dataset)? {
        let number = || {
            let numbers = file.integers_attribute("/", NAME)?;
            Ok(numbers.and_then(|numbers| numbers.first().map(i64::to_string)))
        };
        return file.string_attribute("/", NAME)?.map_or_else(number, |text| Ok(Some(text)));
    }
    if file.is_strings(&dataset)? {
        return Ok(file.strings(&dataset, notes)?.into_iter().next());
    }
    // It is for people only: what is neither is not looked at. A scalar is never compressed, and libhdf5 may read it.
    let number = file.dataset(&dataset)?;
    Ok(if number.is_scalar() {
        number.read_scalar::<f64>().ok().map(|number| number.to_string())
    } else {
        None
    })
}

/// The matrices of a file.
fn list(layers: &[String]) -> String {
    let layers = layers.iter().map(|layer| format!("layers/{layer}"));
    std::iter::once("matrix".to_owned()).chain(layers).collect::<Vec<_>>().join(", ")
}

/// What to do about values that are no counts.
fn remedy(element: &str, layers: &[String], values: Values) -> String {
    if values == Values::Finite {
        return "mend the value, or leave out the cell or the gene".to_owned();
    }
    let others = layers.iter().filter(|layer| element != format!("layers/{layer}"));
    let others: Vec<_> = others.map(|layer| format!("--layer {layer}")).collect();
    if others.is_empty() {
        return "use a file with counts, not scaled or centred values".to_owned();
    }
    format!("scaled or centred values cannot be imputed; try {}", others.join(" or "))
}

/// The attributes of rows or of columns.
struct Attributes<'a> {
    file: &'a HdfFile,
    group: &'a str,
    /// Rows or columns of the matrix.
    len: usize,
}

impl Attributes<'_> {
    /// Reads the axis. Its names are the attribute `chosen` with `option`, or else the first that there is of `default`.
    fn read(
        &self,
        default: &[&str],
        chosen: Option<&str>,
        option: &str,
        notes: &mut Vec<String>,
    ) -> Result<Axis> {
        let members = self.file.members(self.group)?;
        let has = |name: &str| members.iter().any(|member| member == name);
        let key = match chosen {
            Some(name) => has(name).then_some(name),
            None => default.iter().copied().find(|name| has(name)),
        };
        let Some(key) = key else {
            let object =
                chosen.map_or_else(|| self.group.to_owned(), |name| format!("{}/{name}", self.group));
            let expected =
                chosen.map_or_else(|| default.join(" or "), |_| format!("the attribute of {option}"));
            let found = if members.is_empty() { "nothing".to_owned() } else { members.join(", ") };
            let remedy = format!("name the attribute that holds the names with {option} NAME");
            return Err(Error::input(self.file.path(), object, expected, found, remedy));
        };
        let names = match self.column(key, notes)? {
            Ok(Column::Strings(names)) => names,
            Ok(Column::Integers(numbers)) => numbers.iter().map(i64::to_string).collect(),
            other => {
                let found = other.err().unwrap_or_else(|| "other values".to_owned());
                let object = format!("{}/{key}", self.group);
                let remedy = format!("name another attribute with {option} NAME");
                return Err(Error::input(
                    self.file.path(),
                    object,
                    "names as strings or integers",
                    found,
                    remedy,
                ));
            }
        };
        let mut axis = Axis::from_names(names);
        for name in members.iter().filter(|name| *name != key) {
            match self.column(name, notes)? {
                Ok(column) => axis.columns.push((name.clone(), column)),
                Err(reason) => notes.push(format!("{}/{name}: skipped, {reason}", self.group)),
            }
        }
        Ok(axis)
    }

    /// Reads an attribute, or says why it cannot be kept.
    fn column(&self, name: &str, notes: &mut Vec<String>) -> Result<Result<Column, String>> {
        let path = format!("{}/{name}", self.group);
        let mut column = match read_column(self.file, &path, self.len, notes)? {
            Ok(column) => column,
            Err(reason) => return Ok(Err(reason)),
        };
        // Before version 3, letters outside ASCII are XML's references.
        if let Column::Strings(values) = &mut column
            && matches!(self.file.descriptor(&path)?, TypeDescriptor::FixedAscii(_))
        {
            for value in values {
                if let std::borrow::Cow::Owned(decoded) = decode_references(value) {
                    *value = decoded;
                }
            }
        }
        Ok(Ok(column))
    }
}

impl Source for Loom {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        self.matrix.elements()
    }

    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally> {
        let names = Names::of(&self.head, self.head.major, &self.remedy, self.values);
        self.matrix.for_each_block(&names, consume)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut lines = self.details.clone();
        lines.extend(self.matrix.describe());
        lines
    }
}
