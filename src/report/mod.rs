//! What people look at: figures and tables as plain data, drawn into one self-contained page and written beside it as
//! SVG and CSV. Knows nothing of cells and genes.
//!
//! A [`Report`] is plain data. Each of its figures is drawn once (`chart`, on a `frame` of two `axis` and a `legend`):
//! on white it is the file for papers; in the page, the colours of `palette` are replaced by variables, which are
//! others where it is dark. `page` fills `page.html`, which holds `page.css` and `page.js`: no other file and no network
//! is needed to look at it. `files` writes the data.
//!
//! Names come from the users' files: they are escaped for HTML, XML, JSON and CSV where they are written, never before.
//! Values that have no place (missing, infinite, not positive on a logarithmic axis) are left out and counted under the
//! figure. Text is laid out by the widths of a wide font, so that it stays inside with any other.

mod axis;
mod canvas;
mod chart;
mod figure;
mod files;
mod frame;
mod legend;
mod page;
mod palette;
mod text;

use std::collections::HashSet;
use std::path::Path;

use crate::atomic::{Pending, prepare};
use crate::error::{Error, Result};

pub use figure::{Chart, Field, Figure, Point, Report, Section, Series, Table, Tick, Violin};

/// The page's name.
pub const PAGE_FILE: &str = "report.html";
const FIGURES: &str = "figures";
const TABLES: &str = "tables";

/// Writes the page into a directory, every figure as `figures/<id>.svg` and its data as `figures/<id>.csv`, and every
/// table as `tables/<id>.csv`; the columns are listed in `files.rs`. Files of the same names are replaced, the page
/// last, when all are written. The same report always gives the same bytes.
///
/// # Errors
/// When the directory cannot be written, or the report breaks the promises of its parts (names of files, fields in a
/// row).
pub fn write(report: &Report, dir: &Path) -> Result<()> {
    check(report)?;
    let mut pending = Vec::new();
    let mut file = |path: &str, write: &dyn Fn(&Path) -> Result<()>| -> Result<()> {
        pending.push(prepare(&dir.join(path), true, write)?.0);
        Ok(())
    };
    let mut drawings = Vec::new();
    let (tables, figures) = (|| report.sections.iter().flat_map(|s| &s.tables), || figures_of(report));
    for (name, is_needed) in [(TABLES, tables().next().is_some()), (FIGURES, figures().next().is_some())] {
        let path = dir.join(name);
        if is_needed {
            std::fs::create_dir_all(&path).map_err(|e| Error::io(&path, "create the directory", e))?;
        }
    }
    for table in tables() {
        file(&format!("{TABLES}/{}.csv", table.id), &|path| files::write_table(table, path))?;
    }
    for figure in figures() {
        let drawing = chart::draw(&figure.chart);
        file(&format!("{FIGURES}/{}.csv", figure.id), &|path| files::write_chart(&figure.chart, path))?;
        file(&format!("{FIGURES}/{}.svg", figure.id), &|path| write_text(path, &drawing.file(figure)))?;
        drawings.push(drawing);
    }
    let page = page::render(report, &drawings)?;
    file(PAGE_FILE, &|path| write_text(path, &page))?;
    pending.into_iter().try_for_each(Pending::publish)
}

fn figures_of(report: &Report) -> impl Iterator<Item = &Figure> {
    report.sections.iter().flat_map(|section| &section.figures)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::io(path, "write", e))
}

/// Ids become names of files and of elements; a row has a field for every column.
fn check(report: &Report) -> Result<()> {
    let broken = |problem: String| Error::Usage { problem, remedy: "report this as a bug".into() };
    let is_id = |id: &str| {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !id.is_empty() && id.chars().all(is_allowed)
    };
    let (mut tables, mut figures) = (HashSet::new(), HashSet::new());
    for section in &report.sections {
        for table in &section.tables {
            if !is_id(&table.id) || !tables.insert(&table.id) {
                return Err(broken(format!("a table of the report cannot be named {:?}", table.id)));
            }
            if let Some(row) = table.rows.iter().position(|row| row.len() != table.columns.len()) {
                return Err(broken(format!("row {row} of table {:?} has not one field a column", table.id)));
            }
        }
        for figure in &section.figures {
            if !is_id(&figure.id) || !figures.insert(&figure.id) {
                return Err(broken(format!("a figure of the report cannot be named {:?}", figure.id)));
            }
        }
    }
    Ok(())
}
