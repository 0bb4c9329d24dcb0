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

use crate::atomic::{self, Pending, PendingDirectory, prepare_directory};
use crate::error::{Error, Result};

pub use figure::{Chart, Field, Figure, Point, Report, Section, Series, Table, Tick, Violin};

/// The page's name.
pub const PAGE_FILE: &str = "report.html";
const FIGURES: &str = "figures";
const TABLES: &str = "tables";

/// What is in the directories; other files in them are not ours.
const IN_FIGURES: &[&str] = &["*.svg", "*.csv"];
const IN_TABLES: &[&str] = &["*.csv"];

/// The files of a report under temporary names, gone if they are not published.
#[derive(Debug)]
pub struct Prepared {
    directories: [PendingDirectory; 2],
    page: Pending,
}

impl Prepared {
    /// Gives the files their names, the page last.
    ///
    /// # Errors
    /// When a file cannot be renamed.
    pub fn publish(self) -> Result<()> {
        self.directories.into_iter().try_for_each(PendingDirectory::publish)?;
        self.page.publish()
    }
}

/// Refuses a report that is in the way in `dir`, before any work is done for another.
///
/// # Errors
/// [`Error::Exists`] when a part of one is there and `force` is off; with `force` when there are other files in its
/// directories.
pub fn refuse_existing(dir: &Path, force: bool) -> Result<()> {
    atomic::refuse_existing(&dir.join(PAGE_FILE), force)?;
    atomic::refuse_directory(&dir.join(FIGURES), force, IN_FIGURES)?;
    atomic::refuse_directory(&dir.join(TABLES), force, IN_TABLES)
}

/// Writes the page into a directory, every figure as `figures/<id>.svg` and its data as `figures/<id>.csv`, and every
/// table as `tables/<id>.csv`; the columns are listed in `files.rs`. The same report always gives the same bytes. With
/// `force` an earlier report is replaced, with all of its figures and tables, when the new one is published.
///
/// # Errors
/// When the directory cannot be written, a report is in the way, or the report breaks the promises of its parts (names
/// of files, fields in a row).
pub fn prepare(report: &Report, dir: &Path, force: bool) -> Result<Prepared> {
    check(report)?;
    refuse_existing(dir, force)?;
    let mut drawings = Vec::new();
    let (tables, ()) = prepare_directory(&dir.join(TABLES), force, IN_TABLES, |dir| {
        let mut tables = report.sections.iter().flat_map(|section| &section.tables);
        tables.try_for_each(|table| files::write_table(table, &dir.join(format!("{}.csv", table.id))))
    })?;
    let (figures, ()) = prepare_directory(&dir.join(FIGURES), force, IN_FIGURES, |dir| {
        for figure in report.sections.iter().flat_map(|section| &section.figures) {
            let drawing = chart::draw(&figure.chart);
            files::write_chart(&figure.chart, &dir.join(format!("{}.csv", figure.id)))?;
            write_text(&dir.join(format!("{}.svg", figure.id)), &drawing.file(figure))?;
            drawings.push(drawing);
        }
        Ok(())
    })?;
    let page = page::render(report, &drawings)?;
    let (page, ()) = atomic::prepare(&dir.join(PAGE_FILE), force, |path| write_text(path, &page))?;
    Ok(Prepared { directories: [tables, figures], page })
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
