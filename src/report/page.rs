//! The page: one file that needs nothing else.

use askama::Template;
use serde_json::json;

use super::chart::Drawing;
use super::figure::{Field, Figure, Report, Section, Table};
use super::palette::variables;
use super::text::{count, number};
use crate::error::{Error, Result};

/// So many rows of a table are on the page: more would make it slow, and nobody reads them there.
const MOST_ROWS: usize = 200;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    facts: &'a [(String, String)],
    caution: &'a str,
    sections: Vec<SectionView<'a>>,
    light: String,
    dark: String,
    style: &'static str,
    script: &'static str,
}

struct SectionView<'a> {
    title: &'a str,
    text: &'a [String],
    tables: Vec<TableView<'a>>,
    figures: Vec<FigureView<'a>>,
}

struct TableView<'a> {
    number: usize,
    id: &'a str,
    title: &'a str,
    columns: &'a [String],
    /// Whether a column has numbers only.
    numeric: Vec<bool>,
    rows: Vec<Vec<Cell<'a>>>,
    /// What to know when rows are left out.
    note: String,
}

/// A field: what is shown, and what it is sorted by, empty for a missing number.
enum Cell<'a> {
    Text(&'a str),
    Number { shown: String, value: String },
}

struct FigureView<'a> {
    number: usize,
    id: &'a str,
    title: &'a str,
    caption: &'a str,
    /// What could not be drawn.
    note: String,
    svg: String,
    marks: String,
}

/// Renders the page from the report and its drawings, which are in the order of its figures.
pub(super) fn render(report: &Report, drawings: &[Drawing]) -> Result<String> {
    let mut drawings = drawings.iter();
    let (mut n_tables, mut n_figures) = (0, 0);
    let mut sections = Vec::new();
    for section in &report.sections {
        sections.push(section_view(section, &mut drawings, &mut n_tables, &mut n_figures)?);
    }
    let page = Page {
        title: &report.title,
        facts: &report.facts,
        caution: &report.caution,
        sections,
        light: variables(false),
        dark: variables(true),
        style: include_str!("page.css"),
        script: include_str!("page.js"),
    };
    let html = page.render().map_err(|e| Error::Usage {
        problem: format!("cannot write the report's page: {e}"),
        remedy: "report this as a bug".into(),
    })?;
    // Names may have them; in HTML they are errors.
    Ok(html.replace(|c: char| c.is_control() && c != '\n', " "))
}

fn section_view<'a>(
    section: &'a Section,
    drawings: &mut std::slice::Iter<'_, Drawing>,
    n_tables: &mut usize,
    n_figures: &mut usize,
) -> Result<SectionView<'a>> {
    let tables = section.tables.iter().map(|table| {
        *n_tables += 1;
        table_view(table, *n_tables)
    });
    let tables = tables.collect();
    let figures = section.figures.iter().zip(drawings).map(|(figure, drawing)| {
        *n_figures += 1;
        figure_view(figure, drawing, *n_figures)
    });
    Ok(SectionView {
        title: &section.title,
        text: &section.text,
        tables,
        figures: figures.collect::<Result<_>>()?,
    })
}

fn table_view(table: &Table, number: usize) -> TableView<'_> {
    let numeric = |column: usize| {
        !table.rows.is_empty() && table.rows.iter().all(|row| !matches!(row[column], Field::Text(_)))
    };
    let n_rows = table.rows.len();
    TableView {
        number,
        id: &table.id,
        title: &table.title,
        columns: &table.columns,
        numeric: (0..table.columns.len()).map(numeric).collect(),
        rows: table.rows.iter().take(MOST_ROWS).map(|row| row.iter().map(cell).collect()).collect(),
        note: if n_rows > MOST_ROWS {
            format!(
                "The first {MOST_ROWS} of {} rows, sorted among themselves; the CSV file has all.",
                count(n_rows as u64)
            )
        } else {
            String::new()
        },
    }
}

fn cell(field: &Field) -> Cell<'_> {
    match field {
        Field::Text(text) => Cell::Text(text),
        Field::Count(value) => Cell::Number { shown: count(*value), value: value.to_string() },
        Field::Number(value) => Cell::Number {
            shown: number(*value),
            value: if value.is_nan() {
                String::new()
            } else {
                format!("{value:e}").replace("inf", "Infinity")
            },
        },
    }
}

fn figure_view<'a>(figure: &'a Figure, drawing: &Drawing, number: usize) -> Result<FigureView<'a>> {
    let marks = serde_json::to_string(&json!(drawing.marks)).map_err(|e| Error::Usage {
        problem: format!("cannot write what figure {} shows: {e}", figure.id),
        remedy: "report this as a bug".into(),
    })?;
    Ok(FigureView {
        number,
        id: &figure.id,
        title: &figure.title,
        caption: &figure.caption,
        note: match drawing.n_left_out {
            0 => String::new(),
            1 => "One value cannot be drawn here and is left out.".into(),
            n => format!("{} values cannot be drawn here and are left out.", count(n)),
        },
        svg: drawing.element(figure),
        marks: inert(&marks),
    })
}

/// JSON that cannot end the element it stands in, whatever names are in it.
fn inert(json: &str) -> String {
    json.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}
