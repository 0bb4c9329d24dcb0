//! Frames of pandas in HDF5, in its "fixed" format: the files (`.hd5`) of the original LATE.
//!
//! A frame is stored as blocks, one or more for each type of its columns, with the labels of their columns. Whatever
//! is not numbers and plain labels lies in the file as pickled Python objects, which can run code when they are read: they
//! never are.

use std::collections::HashMap;

use hdf5::types::TypeDescriptor;

use super::dense::{Dense, Missing, Part};
use super::stream::Names;
use super::{Dtype, Head, ReadOptions, Source, Tally, Values};
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, NumericArray, decode_latin, decode_text};
use crate::matrix::{Axis, Block, Major};

const REWRITE: &str = "the file is damaged or incomplete; write it again with pandas";
const RESAVE: &str = "re-save it with pandas, as numbers with plain labels: frame.to_hdf(NEW, key=\"matrix\", format=\"fixed\")";
const NAN_OPTION: &str = "--nan-as-zero";

/// A frame.
pub(super) struct Frame {
    head: Head,
    matrix: Dense,
    values: Values,
    details: Vec<(String, String)>,
}

impl Frame {
    /// Opens the one frame among `groups`, all those that pandas wrote.
    pub(super) fn open(file: &HdfFile, groups: &[String], options: &ReadOptions) -> Result<Self> {
        let mut notes = Vec::new();
        let key = choose(file, groups, &mut notes)?;
        let major = options.orientation.unwrap_or(Major::Cells);
        let missing = if options.nan_as_zero { Missing::Zero } else { Missing::RefusedUnless(NAN_OPTION) };
        let group = Group { file, key };
        let columns = group.labels("axis0", &mut notes)?;
        let rows = group.labels("axis1", &mut notes)?;
        let parts = group.blocks(rows.len(), &columns, &mut notes)?;
        let details =
            vec![("key".to_owned(), key.to_owned()), ("blocks".to_owned(), parts.len().to_string())];
        let matrix = Dense::of(parts, [rows.len(), columns.len()], missing)?;
        let axes = [rows, columns].map(Axis::from_names);
        let head = Head::of_table(file.path(), "pandas HDFStore", "row", major, axes, notes);
        Ok(Self { head, matrix, values: options.values, details })
    }
}

/// The group of the only frame.
fn choose<'a>(file: &HdfFile, groups: &'a [String], notes: &mut Vec<String>) -> Result<&'a str> {
    let mut frames = Vec::new();
    let mut others = Vec::new();
    for group in groups {
        let kind = file.string_attribute(group, "pandas_type")?.unwrap_or_default();
        if kind == "frame" {
            frames.push(group.as_str());
        } else {
            others.push((group.as_str(), kind));
        }
    }
    let refuse = |object: &str, found: String, remedy: String| {
        Err(Error::input(file.path(), object, "one frame in pandas' fixed format", found, remedy))
    };
    match (&frames[..], &others[..]) {
        ([frame], _) => {
            notes.extend(others.iter().map(|(group, kind)| format!("left out {group}, a pandas {kind:?}")));
            Ok(frame)
        }
        ([], [(group, kind), ..]) if kind.ends_with("_table") => {
            let found = format!("{kind:?}, the table format");
            let remedy = format!(
                "re-save it with format='fixed': \
                 pandas.read_hdf(FILE, {group:?}).to_hdf(NEW, key=\"matrix\", format=\"fixed\")"
            );
            refuse(&format!("{group}@pandas_type"), found, remedy)
        }
        ([], [(group, kind), ..]) => {
            refuse(&format!("{group}@pandas_type"), format!("{kind:?}"), RESAVE.to_owned())
        }
        _ => {
            let remedy = "write the one to read into a file of its own: \
                          pandas.read_hdf(FILE, KEY).to_hdf(NEW, key=\"matrix\", format=\"fixed\")";
            refuse("/", format!("{}: {}", frames.len(), frames.join(", ")), remedy.to_owned())
        }
    }
}

/// The group of a frame.
struct Group<'a> {
    file: &'a HdfFile,
    key: &'a str,
}

impl Group<'_> {
    fn problem(
        &self,
        object: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: &str,
    ) -> Error {
        Error::input(self.file.path(), format!("{}/{object}", self.key), expected, found, remedy)
    }

    /// Refuses what is stored as Python objects.
    fn refuse_pickles(&self, member: &str, kind: Option<&str>, expected: &str) -> Result<()> {
        let path = format!("{}/{member}", self.key);
        let class = self.file.string_attribute(&path, "CLASS")?;
        if class.as_deref() != Some("VLARRAY") && kind != Some("object") {
            return Ok(());
        }
        let found = match kind {
            Some(_) => "pickled Python objects (labels of other kinds, or none at all), which are never read",
            None => "pickled Python objects (a column of texts or mixed values), which are never read",
        };
        Err(self.problem(member, expected, found, RESAVE))
    }

    /// Whether the member stands for an array of no elements: pandas then writes one and the true shape beside it.
    fn is_empty(&self, member: &str) -> Result<bool> {
        let path = format!("{}/{member}", self.key);
        Ok(self.file.strings_attribute(&path, "shape")?.is_some()
            || self.file.integers_attribute(&path, "shape")?.is_some())
    }

    /// Reads labels of rows or columns.
    fn labels(&self, member: &str, notes: &mut Vec<String>) -> Result<Vec<String>> {
        let path = format!("{}/{member}", self.key);
        let variety = format!("{member}_variety");
        let multi = "labels of several levels (MultiIndex)";
        match self.file.string_attribute(self.key, &variety)?.as_deref() {
            Some("regular") => {}
            Some("multi") => return Err(self.problem(member, "labels of one level", multi, RESAVE)),
            other => {
                let found = other.map_or("nothing".to_owned(), |other| format!("{other:?}"));
                let object = format!("{}@{variety}", self.key);
                return Err(Error::input(self.file.path(), object, "\"regular\"", found, REWRITE));
            }
        }
        let dataset = self.file.dataset(&path)?;
        let kind = self.file.string_attribute(&path, "kind")?;
        self.refuse_pickles(member, kind.as_deref(), "labels as strings or numbers")?;
        if dataset.ndim() != 1 {
            return Err(self.problem(
                member,
                "a list of labels",
                format!("shape {:?}", dataset.shape()),
                REWRITE,
            ));
        }
        if dataset.size() == 1 && self.is_empty(member)? {
            return Ok(Vec::new());
        }
        // Periods are numbers, too, with this attribute beside them.
        let class = self.file.string_attribute(&path, "index_class")?;
        match (kind.as_deref(), class) {
            (_, Some(class)) => Err(self.problem(
                member,
                "labels as strings or numbers",
                format!("{class:?}, a kind of dates"),
                RESAVE,
            )),
            (Some("string"), None) => {
                let encoding = self.file.string_attribute(self.key, "encoding")?;
                let is_utf8 = encoding.is_some_and(|name| name.eq_ignore_ascii_case("utf-8"));
                self.file.strings_as(&path, if is_utf8 { decode_text } else { decode_latin }, notes)
            }
            (Some("integer" | "float"), None) => read_numbers(self.file, &path),
            (None, None) => {
                let object = format!("{member}@kind");
                Err(self.problem(&object, "\"string\", \"integer\" or \"float\"", "nothing", REWRITE))
            }
            (Some(kind), None) => Err(self.problem(
                member,
                "labels as strings or numbers",
                format!("labels of the kind {kind:?}"),
                RESAVE,
            )),
        }
    }

    /// Opens the blocks and finds the place of their columns.
    fn blocks(&self, n_rows: usize, columns: &[String], notes: &mut Vec<String>) -> Result<Vec<Part>> {
        let n_blocks = match self.file.integers_attribute(self.key, "nblocks")?.as_deref() {
            Some(&[n]) if n >= 0 => n,
            other => {
                let object = format!("{}@nblocks", self.key);
                let found = other.map_or("nothing".to_owned(), |other| format!("{other:?}"));
                return Err(Error::input(self.file.path(), object, "the number of blocks", found, REWRITE));
            }
        };
        let mut places = Places::of(columns);
        let mut parts = Vec::new();
        for block in 0..n_blocks {
            let member = format!("block{block}_items");
            let items = self.labels(&member, notes)?;
            let mut targets = Vec::with_capacity(items.len());
            for (position, label) in items.iter().enumerate() {
                match places.take(label) {
                    Ok(place) => targets.push(place),
                    Err(found) => {
                        let object = format!("{member}[{position}]");
                        return Err(self.problem(&object, "a label of axis0", found, REWRITE));
                    }
                }
            }
            if !targets.is_empty() && n_rows > 0 {
                parts.push(self.block(block, n_rows, targets)?);
            }
        }
        if let Some(label) = places.left() {
            let expected = format!("a block for each of {} columns", columns.len());
            return Err(self.problem("axis0", expected, format!("none for {label:?}"), REWRITE));
        }
        if let [part] = &mut parts[..]
            && part.targets.as_ref().is_some_and(|targets| targets.is_sorted())
        {
            part.targets = None;
        }
        Ok(parts)
    }

    /// Opens the values of a block.
    fn block(&self, block: i64, n_rows: usize, targets: Vec<usize>) -> Result<Part> {
        let member = format!("block{block}_values");
        let path = format!("{}/{member}", self.key);
        let expected = "columns of numbers";
        self.file.dataset(&path)?;
        self.refuse_pickles(&member, None, expected)?;
        if let Some(kind) = self.file.string_attribute(&path, "value_type")?
            && (kind.starts_with("datetime64") || kind.starts_with("timedelta64"))
        {
            return Err(self.problem(&member, expected, format!("times ({kind})"), RESAVE));
        }
        // PyTables writes truth values as a type that the binding of libhdf5 does not know.
        if matches!(self.file.descriptor(&path), Err(_) | Ok(TypeDescriptor::Boolean)) {
            let found = "truth values (bool), or another type that holds no numbers";
            return Err(self.problem(&member, expected, found, RESAVE));
        }
        let array = NumericArray::open(self.file, &path)?;
        let across = !self.file.boolean_attribute(&path, "transposed")?.unwrap_or(false);
        let shape = if across { [targets.len(), n_rows] } else { [n_rows, targets.len()] };
        if array.dims() != shape {
            let order = if across { "columns and rows (@transposed is not set)" } else { "rows and columns" };
            let expected = format!("shape {shape:?}, the numbers of {order}");
            return Err(array.problem(expected, format!("{:?}", array.dims()), REWRITE));
        }
        Ok(Part { array, across, targets: Some(targets) })
    }
}

/// Numbers as Python writes them.
fn read_numbers(file: &HdfFile, path: &str) -> Result<Vec<String>> {
    let array = NumericArray::open(file, path)?;
    Ok(match array.dtype() {
        dtype if dtype.is_real() => array.read_all::<f64>()?.into_iter().map(real_label).collect(),
        Dtype::U64 => array.read_all::<u64>()?.iter().map(u64::to_string).collect(),
        _ => array.read_all::<i64>()?.iter().map(i64::to_string).collect(),
    })
}

fn real_label(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, power)) => match power.strip_prefix('-') {
            Some(power) => format!("{digits}e-{power:0>2}"),
            None => format!("{digits}e+{power:0>2}"),
        },
        None => text,
    }
}

/// Where the columns of the blocks belong. Of repeated labels, the first that comes is the first.
struct Places<'a> {
    columns: &'a [String],
    is_taken: Vec<bool>,
    /// For every label its last place that is free.
    free: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Places<'a> {
    fn of(columns: &'a [String]) -> Self {
        let mut free: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, label) in columns.iter().enumerate().rev() {
            free.entry(label).or_default().push(place);
        }
        Self { columns, is_taken: vec![false; columns.len()], free }
    }

    /// The next place of a label, or what is wrong with it.
    fn take(&mut self, label: &str) -> Result<usize, String> {
        let Some(places) = self.free.get_mut(label) else { return Err(format!("{label:?}")) };
        let place = places.pop().ok_or_else(|| format!("{label:?} once more than in it"))?;
        self.is_taken[place] = true;
        Ok(place)
    }

    /// A label that no block has.
    fn left(&self) -> Option<&str> {
        self.is_taken.iter().position(|taken| !taken).map(|place| self.columns[place].as_str())
    }
}

impl Source for Frame {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        self.matrix.elements()
    }

    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally> {
        let remedy = "use a file with counts, not scaled or centred values";
        let names = Names::of(&self.head, self.head.major, remedy, self.values);
        self.matrix.for_each_block(&names, consume)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut lines = self.details.clone();
        lines.extend(self.matrix.describe());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_in_python() {
        for (value, text) in
            [(0.0, "0.0"), (-1.5, "-1.5"), (1e16, "1e+16"), (1e-5, "1e-05"), (1e100, "1e+100")]
        {
            assert_eq!(real_label(value), text);
        }
    }

    #[test]
    fn repeated_labels_go_by_order() {
        let columns = ["a", "b", "a"].map(str::to_owned);
        let mut places = Places::of(&columns);
        assert_eq!(places.take("a"), Ok(0));
        assert_eq!(places.take("a"), Ok(2));
        assert_eq!(places.left(), Some("b"));
        assert!(places.take("a").unwrap_err().contains("once more"));
        assert!(places.take("c").is_err());
    }
}
