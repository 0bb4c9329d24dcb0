//! What is known of every cell and every gene, as CSV, and the directory of an evaluation.

use std::path::Path;

use super::Evaluation;
use super::join::ABSENT;
use super::pass::{Gene, Scores};
use super::run::{Findings, not_json};
use crate::atomic::{Pending, prepare, refuse_existing};
use crate::error::{Error, Result};

const METRICS_FILE: &str = "metrics.json";
const GENES_FILE: &str = "genes.csv";
const CELLS_FILE: &str = "cells.csv";
const SCORE_COLUMNS: [&str; 7] =
    ["pearson", "pearson_input", "pearson_nonzero", "sd_ratio", "sd_ratio_input", "rmse", "rmse_input"];

/// All cells.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    names: Vec<String>,
    labels: Option<Vec<String>>,
    scores: Vec<Scores>,
}

/// All genes.
#[derive(Clone, Debug)]
pub(super) struct Genes {
    names: Vec<String>,
    genes: Vec<Gene>,
    scores: Vec<Scores>,
    n_cells: f64,
}

/// Refuses files of an evaluation that are in the way in `dir`, before any work is done for them.
///
/// # Errors
/// [`Error::Exists`] when one is there and `force` is off.
pub fn refuse_tables(dir: &Path, force: bool) -> Result<()> {
    [METRICS_FILE, GENES_FILE, CELLS_FILE].iter().try_for_each(|name| refuse_existing(&dir.join(name), force))
}

fn score_fields(scores: &Scores) -> impl Iterator<Item = String> + use<> {
    let Scores { pearson, pearson_input, pearson_nonzero, sd_ratio, sd_ratio_input, rmse, rmse_input } =
        *scores;
    [pearson, pearson_input, pearson_nonzero, sd_ratio, sd_ratio_input, rmse, rmse_input]
        .into_iter()
        .map(number)
}

/// Shortest digits that read back as the same number; nothing for a missing one.
fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

impl Cells {
    pub(super) fn new(findings: &Findings<'_>) -> Self {
        let text = |labels: &super::Labels| {
            let name = |&label: &u32| match label {
                ABSENT => String::new(),
                label => labels.names[label as usize].clone(),
            };
            labels.of.iter().map(name).collect()
        };
        Self {
            names: findings.cells.names.clone(),
            labels: findings.labels.map(text),
            scores: findings.sums.cells.clone(),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let header = ["cell"].into_iter().chain(self.labels.as_ref().map(|_| "label")).chain(SCORE_COLUMNS);
        let rows = self.names.iter().zip(&self.scores).enumerate().map(|(cell, (name, scores))| {
            let label = self.labels.as_ref().map(|labels| labels[cell].clone());
            [name.clone()].into_iter().chain(label).chain(score_fields(scores))
        });
        write_csv(path, header, rows)
    }
}

impl Genes {
    pub(super) fn new(findings: &Findings<'_>) -> Self {
        Self {
            names: findings.genes.names.clone(),
            genes: findings.sums.genes.clone(),
            scores: findings.sums.gene_scores.clone(),
            n_cells: findings.cells.len() as f64,
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let facts = ["mean_truth", "mean_input", "zeros_truth", "zeros_input", "zeros_imputed"];
        let rows = self.names.iter().zip(&self.genes).zip(&self.scores).map(|((name, gene), scores)| {
            let [input, truth] = gene.counts.means();
            let zeros = gene.zeros.map(|zeros| number(zeros as f64 / self.n_cells));
            [name.clone()]
                .into_iter()
                .chain(score_fields(scores))
                .chain([number(truth), number(input)])
                .chain(zeros)
        });
        write_csv(path, ["gene"].into_iter().chain(SCORE_COLUMNS).chain(facts), rows)
    }
}

fn write_csv<'a, R: Iterator<Item = String>>(
    path: &Path,
    header: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = R>,
) -> Result<()> {
    let failed = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(source) => Error::io(path, "write", source),
        other => Error::io(path, "write", std::io::Error::other(format!("{other:?}"))),
    };
    let mut writer = csv::Writer::from_path(path).map_err(failed)?;
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        writer.write_record(row).map_err(failed)?;
    }
    writer.flush().map_err(|e| Error::io(path, "write", e))
}

impl Evaluation {
    /// Prepares `metrics.json`, `genes.csv` and `cells.csv` in `dir`, to be published together; the metrics come last.
    ///
    /// # Errors
    /// When they cannot be written, or one of them is there already and `force` is off.
    pub fn prepare(&self, dir: &Path, force: bool) -> Result<Vec<Pending>> {
        let mut json = serde_json::to_string_pretty(&self.metrics).map_err(|e| not_json(&e))?;
        json.push('\n');
        let write_json = |path: &Path| std::fs::write(path, json).map_err(|e| Error::io(path, "write", e));
        Ok(vec![
            prepare(&dir.join(GENES_FILE), force, |path| self.genes.write(path))?.0,
            prepare(&dir.join(CELLS_FILE), force, |path| self.cells.write(path))?.0,
            prepare(&dir.join(METRICS_FILE), force, write_json)?.0,
        ])
    }
}
