//! Labels of cells, such as their types.

use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::path::Path;

use super::join::ABSENT;
use crate::error::{Error, Result};
use crate::matrix::{Axis, Column};
use crate::text::open_text;

/// The column of a table that is taken when none is named.
const DEFAULT_COLUMN: &str = "label";
const SHAPE_REMEDY: &str =
    "give a csv or tsv file whose first line names its columns, barcodes in the first one";
const COLUMN_REMEDY: &str = "name a column of cell types with --labels-column, or give a table with --labels";
/// More are no kinds of cells but names of something else; and clusters would be looked for as many.
const MOST_LABELS: usize = 200;

/// A label for some cells.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// The distinct labels, sorted.
    pub names: Vec<String>,
    /// For every joint cell its label, or [`ABSENT`].
    pub of: Vec<u32>,
    /// Labels that no cell has, for they are of other barcodes.
    pub unused: u64,
    /// Where they come from, for people.
    pub from: String,
}

impl Labels {
    /// Reads a table, with tabs, semicolons or commas, compressed or not: barcodes in its first column, labels in the one
    /// named `column`, else in `label`, else in the second of two. Empty labels are none.
    ///
    /// # Errors
    /// When the file is no such table, a barcode has two labels, no cell has one, or they have more than 200 different
    /// ones.
    pub fn read(path: &Path, column: Option<&str>, cells: &[String]) -> Result<Self> {
        let table = read_table(path, column)?;
        let found: Vec<Option<&str>> =
            cells.iter().map(|cell| table.labels.get(cell).map(|(label, _)| label.as_str())).collect();
        if found.iter().all(Option::is_none) {
            let first = table.first.map_or("none".to_owned(), |barcode| format!("{barcode:?}"));
            return Err(Error::input(
                path,
                "barcodes",
                format!("those of the cells, of which the first is {:?}", cells.first().map_or("", |c| c)),
                format!("none of them; the first is {first}"),
                "give the labels of these cells",
            ));
        }
        let used: std::collections::HashSet<&String> =
            cells.iter().filter(|cell| table.labels.contains_key(*cell)).collect();
        let unused = (table.labels.len() - used.len()) as u64;
        let from = format!("{}, column {}", path.display(), table.column);
        Ok(Self { unused, from, ..Self::new(path, &format!("column {}", table.column), &found)? })
    }

    /// Takes the column `name` of an axis, of which the joint cells are at `positions`.
    ///
    /// # Errors
    /// When there is no such column, or it holds real numbers, nothing, or more than 200 different labels.
    pub fn of_column(path: &Path, axis: &Axis, name: &str, positions: &[u32]) -> Result<Self> {
        let problem = |found: String| {
            Error::input(path, format!("obs/{name}"), "a column of labels", found, COLUMN_REMEDY)
        };
        let texts: Vec<Option<String>> = match axis.column(name) {
            None => {
                let names: Vec<&str> = axis.columns.iter().map(|(name, _)| name.as_str()).collect();
                return Err(problem(format!(
                    "only {}",
                    if names.is_empty() { "names".into() } else { names.join(", ") }
                )));
            }
            Some(Column::Floats(_)) => return Err(problem("real numbers".into())),
            Some(Column::Strings(texts)) => texts.iter().cloned().map(Some).collect(),
            Some(Column::Categorical { codes, categories, .. }) => {
                codes.iter().map(|&code| categories.get(usize::try_from(code).ok()?).cloned()).collect()
            }
            Some(Column::Integers(values)) => values.iter().map(|value| Some(value.to_string())).collect(),
            Some(Column::Booleans(values)) => values.iter().map(|value| Some(value.to_string())).collect(),
            Some(Column::NullableIntegers { values, missing }) => values
                .iter()
                .zip(missing)
                .map(|(value, missing)| (!missing).then(|| value.to_string()))
                .collect(),
            Some(Column::NullableBooleans { values, missing }) => values
                .iter()
                .zip(missing)
                .map(|(value, missing)| (!missing).then(|| value.to_string()))
                .collect(),
        };
        let found: Vec<Option<&str>> =
            positions.iter().map(|&p| texts[p as usize].as_deref().filter(|text| !text.is_empty())).collect();
        if found.iter().all(Option::is_none) {
            return Err(problem("no label at all".into()));
        }
        let from = format!("{}, obs/{name}", path.display());
        Ok(Self { from, ..Self::new(path, &format!("obs/{name}"), &found)? })
    }

    fn new(path: &Path, object: &str, found: &[Option<&str>]) -> Result<Self> {
        let mut names: Vec<&str> = found.iter().copied().flatten().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > MOST_LABELS {
            return Err(Error::input(
                path,
                object,
                format!("at most {MOST_LABELS} different labels of cells, such as their types"),
                format!("{}, such as {:?} and {:?}", names.len(), names[0], names[1]),
                COLUMN_REMEDY,
            ));
        }
        let numbers: HashMap<&str, u32> = names.iter().copied().zip(0..).collect();
        let of = found.iter().map(|label| label.map_or(ABSENT, |label| numbers[label])).collect();
        Ok(Self { names: names.into_iter().map(str::to_owned).collect(), of, ..Self::default() })
    }

    /// Cells without a label.
    pub fn unlabelled(&self) -> u64 {
        self.of.iter().filter(|&&label| label == ABSENT).count() as u64
    }
}

struct Table {
    column: String,
    /// For every barcode its label and the line it stands in.
    labels: HashMap<String, (String, u64)>,
    first: Option<String>,
}

fn read_table(path: &Path, column: Option<&str>) -> Result<Table> {
    let mut file = open_text(path)?;
    let mut first_line = Vec::new();
    file.read_until(b'\n', &mut first_line).map_err(|e| Error::io(path, "read", e))?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(&first_line))
        .trim(csv::Trim::All)
        .from_reader(first_line.chain(file));
    let headers = reader.headers().map_err(|e| unreadable(path, &e))?.clone();
    let chosen = match column {
        Some(name) => headers.iter().skip(1).position(|header| header == name),
        None => match headers.iter().skip(1).position(|header| header.eq_ignore_ascii_case(DEFAULT_COLUMN)) {
            None if headers.len() == 2 => Some(0),
            found => found,
        },
    };
    let Some(chosen) = chosen.map(|place| place + 1) else {
        let expected = format!("a column {:?} after that of the barcodes", column.unwrap_or(DEFAULT_COLUMN));
        let found = headers.iter().collect::<Vec<_>>().join(",");
        return Err(Error::input(
            path,
            "line 1",
            expected,
            found,
            "name one of the columns with --labels-column",
        ));
    };
    let mut table = Table { column: headers[chosen].to_owned(), labels: HashMap::new(), first: None };
    for record in reader.records() {
        let record = record.map_err(|e| unreadable(path, &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let (barcode, label) = (&record[0], &record[chosen]);
        table.first.get_or_insert_with(|| barcode.to_owned());
        if label.is_empty() {
            continue;
        }
        let (known, known_line) =
            table.labels.entry(barcode.to_owned()).or_insert_with(|| (label.to_owned(), line));
        if known != label {
            return Err(Error::input(
                path,
                format!("line {line}, barcode {barcode:?}"),
                format!("one label, {known:?} as in line {known_line}"),
                format!("{label:?}"),
                "leave one of the lines",
            ));
        }
    }
    Ok(table)
}

/// What stands between the fields of a table with this first line. Names of columns may have commas in them, but no tabs.
fn delimiter(line: &[u8]) -> u8 {
    let count = |byte: u8| memchr::memchr_iter(byte, line).count();
    match (count(b'\t'), count(b';'), count(b',')) {
        (1.., ..) => b'\t',
        (0, semicolons, commas) if semicolons > commas => b';',
        _ => b',',
    }
}

fn unreadable(path: &Path, error: &csv::Error) -> Error {
    if let csv::ErrorKind::Io(source) = error.kind() {
        return Error::io(path, "read", std::io::Error::new(source.kind(), source.to_string()));
    }
    let line = error.position().map_or("table".to_owned(), |position| format!("line {}", position.line()));
    Error::input(path, line, "a row of the table", error.to_string(), SHAPE_REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    fn table(text: &str, column: Option<&str>) -> Result<Labels> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Labels::read(file.path(), column, &cells())
    }

    #[test]
    fn labels_are_found_by_barcode() {
        let labels =
            table("barcode,label\r\nc,T\r\n\"a\",\"B, naive\"\r\nx,T\r\nb,\r\nc,T\r\n", None).unwrap();
        assert_eq!(labels.names, ["B, naive", "T"]);
        assert_eq!(labels.of, [0, ABSENT, 1]);
        assert_eq!((labels.unused, labels.unlabelled()), (1, 1));
        assert_eq!(table("Barcode,celltype\na,T\n", None).unwrap().names, ["T"]);
        assert_eq!(table("barcode,donor,label\na,1,T\n", None).unwrap().names, ["T"]);
        assert_eq!(table("barcode,donor,label\na,1,T\n", Some("donor")).unwrap().names, ["1"]);
    }

    #[test]
    fn tables_with_tabs_and_compressed_ones_are_read_alike() {
        let read = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            Labels::read(file.path(), None, &cells()).unwrap()
        };
        for text in [
            "barcode\tdonor, sex\tlabel\na\tx\tB, naive\nc\ty\tT\n",
            "\u{feff}barcode;donor;label\r\na;x;B, naive\r\nc;y;T\r\n",
        ] {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
            for labels in [read(text.as_bytes()), read(&gzip.finish().unwrap())] {
                assert_eq!(
                    (labels.names, labels.of),
                    (vec!["B, naive".into(), "T".into()], vec![0, ABSENT, 1])
                );
            }
        }
    }

    #[test]
    fn more_labels_than_there_are_kinds_of_cells_are_refused() {
        let cells: Vec<String> = (0..201).map(|cell| format!("cell{cell}")).collect();
        let axis = |n: i64| Axis {
            names: cells.clone(),
            columns: vec![("donor".into(), Column::Integers((0..201).map(|cell| cell % n).collect()))],
        };
        let positions: Vec<u32> = (0..201).collect();
        let read = |n| Labels::of_column(Path::new("file"), &axis(n), "donor", &positions);
        assert_eq!(read(200).unwrap().names.len(), 200);
        let message = read(201).unwrap_err().to_string();
        assert!(message.contains("at most 200") && message.contains("found 201"), "{message}");
        let text: String = cells.iter().map(|cell| format!("{cell},{cell}\n")).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("barcode,donor\n{text}")).unwrap();
        let message = Labels::read(file.path(), None, &cells).unwrap_err().to_string();
        assert!(message.contains("column donor: expected at most 200"), "{message}");
    }

    #[test]
    fn other_tables_are_refused_by_line() {
        for (text, part) in [
            ("barcode,label\na,T\na,B\n", "line 3, barcode \"a\""),
            ("barcode,label\nx,T\n", "the first is \"x\""),
            ("barcode,donor,type\na,1,T\n", "--labels-column"),
            ("barcode,label\na\n", "line 2"),
            ("", "line 1"),
        ] {
            let message = table(text, None).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
