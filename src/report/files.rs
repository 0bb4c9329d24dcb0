//! The data of figures and tables as CSV.
//!
//! Numbers have all their digits; what is missing is empty. The columns of a figure's file depend on its chart:
//!
//! | chart | a row for each | columns |
//! |---|---|---|
//! | lines | point | `series`, `x`, `y` |
//! | violins | point of a density | `group`, `kind`, `n`, `value`, `density`, `q1`, `median`, `q3`, `mean` |
//! | histogram | series and bin | `series`, `from`, `to`, `count` |
//! | density | cell of the grid | `x_from`, `x_to`, `y_from`, `y_to`, `count` |
//! | scatter | point | `name`, `category`, `x`, `y` |

use std::path::Path;

use csv::Writer;

use super::figure::{Chart, Field, Table};
use crate::error::{Error, Result};

/// Writes a figure's data.
pub(super) fn write_chart(chart: &Chart, path: &Path) -> Result<()> {
    write(path, chart_header(chart), |row| chart_rows(chart, row))
}

/// Writes a table.
pub(super) fn write_table(table: &Table, path: &Path) -> Result<()> {
    let header: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    write(path, &header, |row| {
        table.rows.iter().try_for_each(|fields| row(&fields.iter().map(field).collect::<Vec<_>>()))
    })
}

type Row<'a> = &'a mut dyn FnMut(&[String]) -> csv::Result<()>;

fn write(path: &Path, header: &[&str], rows: impl FnOnce(Row<'_>) -> csv::Result<()>) -> Result<()> {
    let file = std::fs::File::create(path).map_err(|e| Error::io(path, "write", e))?;
    let mut writer = Writer::from_writer(std::io::BufWriter::new(file));
    let written = writer.write_record(header).and_then(|()| rows(&mut |fields| writer.write_record(fields)));
    written
        .map_err(std::io::Error::from)
        .and_then(|()| writer.flush())
        .map_err(|e| Error::io(path, "write", e))
}

fn chart_header(chart: &Chart) -> &'static [&'static str] {
    match chart {
        Chart::Lines { .. } => &["series", "x", "y"],
        Chart::Violins { .. } => &["group", "kind", "n", "value", "density", "q1", "median", "q3", "mean"],
        Chart::Histogram { .. } => &["series", "from", "to", "count"],
        Chart::Density { .. } => &["x_from", "x_to", "y_from", "y_to", "count"],
        Chart::Scatter { .. } => &["name", "category", "x", "y"],
    }
}

fn chart_rows(chart: &Chart, row: Row<'_>) -> csv::Result<()> {
    match chart {
        Chart::Lines { series, .. } => {
            for series in series {
                for &(x, y) in &series.points {
                    row(&[series.name.clone(), number(x), number(y)])?;
                }
            }
        }
        Chart::Violins { groups, kinds, .. } => {
            for group in groups {
                let [q1, median, q3] = group.quartiles.map(number);
                let kind = name(kinds, group.kind);
                // A group without values has a row all the same.
                let empty = [(f64::NAN, f64::NAN)];
                for &(value, density) in if group.density.is_empty() { &empty } else { &group.density[..] } {
                    row(&[
                        group.name.clone(),
                        kind.clone(),
                        group.n.to_string(),
                        number(value),
                        number(density),
                        q1.clone(),
                        median.clone(),
                        q3.clone(),
                        number(group.mean),
                    ])?;
                }
            }
        }
        Chart::Histogram { edges, series, .. } => {
            for (name, counts) in series {
                for (bin, &count) in edges.windows(2).zip(counts) {
                    row(&[name.clone(), number(bin[0]), number(bin[1]), number(count)])?;
                }
            }
        }
        Chart::Density { x_edges, y_edges, counts, .. } => {
            let cells = y_edges.windows(2).flat_map(|y| x_edges.windows(2).map(move |x| (x, y)));
            for ((x, y), &count) in cells.zip(counts) {
                row(&[number(x[0]), number(x[1]), number(y[0]), number(y[1]), number(count)])?;
            }
        }
        Chart::Scatter { points, categories, .. } => {
            for point in points {
                row(&[
                    point.name.clone(),
                    name(categories, point.category),
                    number(point.x),
                    number(point.y),
                ])?;
            }
        }
    }
    Ok(())
}

fn name(names: &[String], i: usize) -> String {
    names.get(i).cloned().unwrap_or_default()
}

fn field(field: &Field) -> String {
    match field {
        Field::Text(text) => text.clone(),
        Field::Count(count) => count.to_string(),
        Field::Number(value) => number(*value),
    }
}

/// The shortest digits that give the same number when they are read.
fn number(value: f64) -> String {
    if value.is_nan() {
        String::new()
    } else if value == 0.0 || (1e-5..1e16).contains(&value.abs()) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_and_number_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let awkward = ["a,b", "\"quoted\"", "two\nlines", "<script>", "漢字 é", ""];
        let numbers = [0.1 + 0.2, -1e-300, 1e300, 5e-324, 123_456_789.0, 0.0];
        let rows = awkward.iter().zip(numbers).map(|(text, value)| {
            vec![
                Field::Text((*text).into()),
                Field::Number(value),
                Field::Count(u64::MAX),
                Field::Number(f64::NAN),
            ]
        });
        let columns = ["na,me", "value", "n", "missing"].map(String::from).to_vec();
        let table =
            Table { id: "t".into(), title: String::new(), columns: columns.clone(), rows: rows.collect() };
        write_table(&table, &path).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), columns);
        let read: Vec<_> = reader.records().map(|record| record.unwrap()).collect();
        assert_eq!(read.len(), awkward.len());
        for ((record, text), value) in read.iter().zip(awkward).zip(numbers) {
            assert_eq!(&record[0], text);
            assert_eq!(record[1].parse::<f64>().unwrap().to_bits(), value.to_bits());
            assert_eq!((&record[2], &record[3]), ("18446744073709551615", ""));
        }
    }
}
