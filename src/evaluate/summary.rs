//! The numbers in tables: for the page, and for one screen of text.

use super::metrics::{Agreement, ClusterScores, Metrics};
use crate::report::{Field, Table};

/// Digits of a number on the screen.
const DIGITS: usize = 4;

fn text(text: &str) -> Field {
    Field::Text(text.to_owned())
}

fn number(value: Option<f64>) -> Field {
    Field::Number(value.unwrap_or(f64::NAN))
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Errors by kind of entry.
fn entries(metrics: &Metrics, id: &str, title: &str, agreement: fn(&super::Kind) -> Agreement) -> Table {
    let kinds = &metrics.entries;
    let rows = [
        ("imputed (0 in the input, not in the truth)", &kinds.imputed),
        ("observed (not 0 in the input)", &kinds.observed),
        ("not 0 in the truth", &kinds.nonzero),
    ];
    // Without truth, only what was observed is compared.
    let n_rows = if metrics.zeros.truth_zeros.is_some() { 0..3 } else { 1..2 };
    let rows = rows[n_rows].iter().filter(|(_, kind)| kind.n > 0).map(|&(name, kind)| {
        let Agreement { mse, rmse, mae, bias, pearson } = agreement(kind);
        let numbers = [mse, rmse, mae, bias, pearson, kind.spearman];
        [text(name), Field::Count(kind.n)].into_iter().chain(numbers.map(number)).collect()
    });
    Table {
        id: id.to_owned(),
        title: title.to_owned(),
        columns: columns(&["entries", "n", "MSE", "RMSE", "MAE", "bias", "Pearson", "Spearman"]),
        rows: rows.collect(),
    }
}

/// A measure of input, imputed, latent code and truth.
type Line = (&'static str, [Option<f64>; 4]);

fn lines(metrics: &Metrics) -> Vec<Line> {
    let mut lines = Vec::new();
    for (of, element) in [(0, &metrics.per_gene), (1, &metrics.per_cell)] {
        let Some(element) = element else { continue };
        let names = [
            [
                "correlation with the truth, median gene",
                "SD ratio to the truth, median gene",
                "RMSE, median gene",
            ],
            [
                "correlation with the truth, median cell",
                "SD ratio to the truth, median cell",
                "RMSE, median cell",
            ],
        ][of];
        lines.extend([
            (names[0], [element.pearson_input.median, element.pearson.median, None, None]),
            (names[1], [element.sd_ratio_input.median, element.sd_ratio.median, None, None]),
            (names[2], [element.rmse_input.median, element.rmse.median, None, None]),
        ]);
    }
    if let Some(found) = &metrics.gene_correlations {
        lines.push(("error of gene-gene correlations", [found.rmse_input, found.rmse_imputed, None, None]));
    }
    let zeros = &metrics.zeros;
    lines.push((
        "zeros (imputed: below half a count)",
        [zeros.rate_input, zeros.rate_imputed, None, zeros.rate_truth],
    ));
    if let Some(found) = &metrics.clustering {
        let scores = [Some(found.input), Some(found.imputed), found.latent, found.truth];
        let of = |score: fn(ClusterScores) -> Option<f64>| scores.map(|scores| scores.and_then(score));
        lines.extend([
            ("adjusted Rand index of k-means with the labels", of(|s| s.ari)),
            ("normalised mutual information", of(|s| s.nmi)),
            ("silhouette of the labels", of(|s| s.silhouette)),
            ("label purity of the nearest neighbours", of(|s| s.knn_purity)),
        ]);
    }
    lines
}

fn matrices(metrics: &Metrics) -> Table {
    let row = |(name, values): Line| [text(name)].into_iter().chain(values.map(number)).collect();
    Table {
        id: "summary-matrices".into(),
        title: "Before and after".into(),
        columns: columns(&["measure", "input", "imputed", "latent code", "truth"]),
        rows: lines(metrics).into_iter().map(row).collect(),
    }
}

fn others(metrics: &Metrics) -> Table {
    let mut rows = vec![
        ("MSE against the input, where that is not 0", metrics.mse.input_nonzero),
        ("MSE against the input, all entries", metrics.mse.input_all),
    ];
    if metrics.zeros.truth_zeros.is_some() {
        rows.extend([
            ("MSE against the truth, where that is not 0", metrics.mse.truth_nonzero),
            ("MSE against the truth, all entries", metrics.mse.truth_all),
            ("zeros of the truth that stay below half a count", metrics.zeros.below_half),
            ("zeros of the truth that stay exactly 0", metrics.zeros.exactly_zero),
        ]);
    }
    if let Some(losses) = &metrics.open_problems {
        rows.extend([
            ("Open Problems, MSE", losses.mse),
            ("Open Problems, Poisson loss", losses.poisson),
            (
                "Open Problems, Poisson loss in the order of the task's first version",
                losses.poisson_task_order,
            ),
        ]);
    }
    let row = |(name, value): (&str, Option<f64>)| vec![text(name), number(value)];
    Table {
        id: "summary-others".into(),
        title: "Other numbers".into(),
        columns: columns(&["measure", "value"]),
        rows: rows.into_iter().map(row).collect(),
    }
}

/// Errors by group of the model's split.
pub(super) fn groups(metrics: &Metrics) -> Table {
    let rows = metrics.groups.iter().map(|group| {
        let Agreement { mse, rmse, mae, bias, pearson } = group.log10;
        let numbers = [mse, rmse, mae, bias, pearson].map(number);
        [text(&group.name), Field::Count(group.n)].into_iter().chain(numbers).collect()
    });
    Table {
        id: "groups".into(),
        title: "Errors by group, log10(count + 1)".into(),
        columns: columns(&["entries", "n", "MSE", "RMSE", "MAE", "bias", "Pearson"]),
        rows: rows.collect(),
    }
}

/// The tables that begin the page.
pub(super) fn tables(metrics: &Metrics) -> Vec<Table> {
    vec![
        entries(metrics, "summary-log10", "Errors, log10(count + 1)", |kind| kind.log10),
        entries(metrics, "summary-counts", "Errors, counts", |kind| kind.counts),
        matrices(metrics),
        others(metrics),
    ]
}

impl Metrics {
    /// One screen of text.
    pub fn screen(&self) -> String {
        let mut tables = tables(self);
        // As counts they are on the page.
        tables.remove(1);
        tables.iter().map(render).collect::<Vec<_>>().join("\n")
    }
}

/// The table as aligned columns; those without anything in them are left out.
fn render(table: &Table) -> String {
    let width = table.columns.len();
    let mut lines: Vec<Vec<String>> = vec![table.columns.clone()];
    if let Some(first) = lines[0].first_mut() {
        first.clone_from(&table.title);
    }
    lines.extend(table.rows.iter().map(|row| row.iter().map(show).collect()));
    let is_used = |column: &usize| lines[1..].iter().any(|line| !line[*column].is_empty());
    let used: Vec<usize> = (0..width).filter(|column| *column == 0 || is_used(column)).collect();
    let longest = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..width).map(longest).collect();
    let mut out = String::new();
    for line in &lines {
        for &column in &used {
            out += &match column {
                0 => format!("{:<width$}", line[0], width = widths[0]),
                _ => format!("  {:>width$}", line[column], width = widths[column]),
            };
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

fn show(field: &Field) -> String {
    match field {
        Field::Text(text) => text.clone(),
        Field::Count(count) => count.to_string(),
        Field::Number(value) if value.is_nan() => String::new(),
        Field::Number(value) if value.abs() >= 1e5 || (*value != 0.0 && value.abs() < 1e-3) => {
            format!("{value:.3e}")
        }
        Field::Number(value) => format!("{value:.DIGITS$}"),
    }
}
