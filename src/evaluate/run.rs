//! Everything in order.

use super::components::{self, distinct, draw_cells};
use super::groups::{Grouping, PairSample};
use super::join::{ABSENT, Join, Side};
use super::labels::Labels;
use super::maps::{Cells, Drawn, Progress, find_pairs, look};
use super::metrics::{
    Agreement, Clustering, FileFacts, FourErrors, Group, Kind, Kinds, Metrics, Pca, PerElement, VERSION,
    Zeros,
};
use super::moments::{Distribution, finite};
use super::pass::{self, IMPUTED, NONZERO, OBSERVED, Scores, Spec, Sums};
use super::plan::{Plan, most_entries};
use super::rows::{Counts, Matrices, joint_entries, sums};
use super::scale::Logs;
use super::spearman::{Pair, spearman};
use super::{Evaluation, Inputs, LabelSource, Matrix, Options, figures, tables};
use crate::budget;
use crate::error::{Error, Result};
use crate::io::Source;
use crate::matrix::Major;

/// What all is computed from.
pub(super) struct Findings<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) cells: &'a Join,
    pub(super) genes: &'a Join,
    pub(super) labels: Option<&'a Labels>,
    pub(super) grouping: &'a Grouping,
    pub(super) sums: &'a Sums,
    pub(super) looked: &'a Cells,
    pub(super) metrics: &'a Metrics,
}

/// Files in the order in which they are joined: imputed, input, truth, test.
pub(super) fn files<'a>(inputs: &Inputs<'a>) -> Vec<(&'static str, &'a dyn Source)> {
    let mut files = vec![("imputed", inputs.imputed.source), ("input", inputs.input.source)];
    files.extend(inputs.truth.map(|truth| ("truth", truth.source)));
    files.extend(inputs.test.map(|test| ("test", test.source)));
    files
}

fn join(inputs: &Inputs<'_>, major: Major) -> Result<Join> {
    let files = files(inputs);
    let sides: Vec<Side<'_>> =
        files.iter().map(|(_, source)| Side { path: source.path(), axis: source.axis(major) }).collect();
    Join::new(major, &sides)
}

/// Measures everything. `progress` is told the name of each step, the cells done since the last call, and all
/// of them.
///
/// # Errors
/// When the files have no cells or genes in common, hold values that are none, or need more memory than allowed.
pub fn evaluate(inputs: &Inputs<'_>, options: &Options, progress: Progress<'_>) -> Result<Evaluation> {
    let (cells, genes) = (join(inputs, Major::Cells)?, join(inputs, Major::Genes)?);
    let labels = labels(inputs, &cells)?;
    let drawn = draw(inputs, options, &cells, &genes, labels.as_ref())?;
    let matrices = matrices(inputs, &cells, &genes);
    let mut warnings = Vec::new();
    let grouping = match inputs.run.map(|run| run.grouping(inputs.input, &cells, &genes)).transpose()? {
        Some(Ok(grouping)) => grouping,
        Some(Err(warning)) => {
            warnings.push(warning);
            Grouping::Plain
        }
        None => Grouping::Plain,
    };
    let n_cells = cells.len() as u64;
    // A step is told of when it begins, too, so that its rate is known.
    let begin = |name| {
        progress(name, 0, n_cells);
        move |n| progress(name, n, n_cells)
    };
    let molecules = match matrices.test {
        Some(test) => sums(&matrices, &[matrices.input, test], &begin("adding up"))?,
        None => vec![1.0, 1.0],
    };
    // Only where a part of the entries may have to be drawn is it worth to count them.
    let entries = match most_entries(inputs, &cells, &genes) {
        most if most <= options.ranked_entries => most,
        _ => joint_entries(&matrices, &begin("counting"))?,
    };
    let spec = Spec {
        grouping: &grouping,
        pairs: PairSample::new(entries, options.ranked_entries, options.seed),
        test_ratio: molecules[1] / molecules[0],
    };
    let summed = pass::run(&matrices, &spec, &begin("comparing"))?;
    let looked = look(&matrices, &summed.genes, labels.as_ref(), drawn, options, progress)?;
    let metrics =
        measure(inputs, options, (&cells, &genes), &grouping, &summed, &looked, &molecules, labels.as_ref());
    let findings = Findings {
        inputs,
        cells: &cells,
        genes: &genes,
        labels: labels.as_ref(),
        grouping: &grouping,
        sums: &summed,
        looked: &looked,
        metrics: &metrics,
    };
    let (report, missing) = figures::report(&findings);
    let tables = (tables::Cells::new(&findings), tables::Genes::new(&findings));
    Ok(Evaluation { metrics, report, warnings, missing, cells: tables.0, genes: tables.1 })
}

/// Settles what is looked at: what is wrong with it is told before the long work, as is what would not fit in memory.
fn draw(
    inputs: &Inputs<'_>,
    options: &Options,
    cells: &Join,
    genes: &Join,
    labels: Option<&Labels>,
) -> Result<Drawn> {
    let pairs = find_pairs(&options.gene_pairs, &genes.names)?;
    let source = inputs.imputed.source;
    let latent = components::latent_width(source.path(), source.cells().len())?;
    let plan = Plan { inputs, options, cells, genes, labels, latent };
    budget::check(plan.bytes(), options.memory, || {
        "compare fewer cells with --max-cells or fewer genes with --correlated-genes, or allow more with --memory"
            .into()
    })?;
    let all: Vec<u32> = (0..super::join::to_u32(cells.len())).collect();
    let sampled = draw_cells(&all, options.max_cells, options.seed);
    let rows: Vec<u32> = sampled.iter().map(|&cell| cells.positions[0][cell as usize]).collect();
    // The cells are in the order of the imputed file, and so are their rows.
    let latent = components::latent(source.path(), source.cells().len(), latent, &rows)?;
    Ok(Drawn { sampled, pairs, latent })
}

fn labels(inputs: &Inputs<'_>, cells: &Join) -> Result<Option<Labels>> {
    match inputs.labels {
        None => Ok(None),
        Some(LabelSource::Table(path, column)) => Labels::read(path, column, &cells.names).map(Some),
        Some(LabelSource::Column(name)) => {
            let candidates = [Some(inputs.input), inputs.truth].into_iter().flatten().zip(1..);
            let holder = candidates
                .clone()
                .find(|(matrix, _)| matrix.source.cells().column(name).is_some())
                .or_else(|| candidates.clone().next());
            let Some((matrix, side)) = holder else { return Ok(None) };
            let source = matrix.source;
            Labels::of_column(source.path(), source.cells(), name, &cells.positions[side]).map(Some)
        }
    }
}

fn matrices<'a>(inputs: &Inputs<'a>, cells: &'a Join, genes: &'a Join) -> Matrices<'a> {
    let counts = |matrix: Matrix<'a>, side: usize| Counts {
        store: matrix.store,
        rows: &cells.positions[side],
        genes: &genes.joint[side],
    };
    let test_side = if inputs.truth.is_some() { 3 } else { 2 };
    Matrices {
        cells,
        genes,
        input: counts(inputs.input, 1),
        truth: inputs.truth.map(|truth| counts(truth, 2)),
        test: inputs.test.map(|test| counts(test, test_side)),
        imputed: inputs.imputed.rows,
        path: inputs.imputed.source.path(),
        scale: inputs.imputed.scale,
        totals: &inputs.input.store.summary().cell_sums,
        logs: Logs::new(),
    }
}

#[expect(clippy::too_many_arguments, reason = "all that was found, once")]
fn measure(
    inputs: &Inputs<'_>,
    options: &Options,
    (cells, genes): (&Join, &Join),
    grouping: &Grouping,
    sums: &Sums,
    looked: &Cells,
    molecules: &[f64],
    labels: Option<&Labels>,
) -> Metrics {
    let with_truth = inputs.truth.is_some();
    let [[input_all, input_nonzero], truth_mse] = sums.mse.map(|side| side.map(|mse| mse.mean()));
    let [truth_all, truth_nonzero] = truth_mse.map(|mse| mse.filter(|_| with_truth));
    let names = grouping.names();
    let groups = names.into_iter().zip(&sums.groups).map(|((name, _), errors)| Group::new(name, errors));
    let share = |name: &str| looked.view(name).and_then(|view| view.variance);
    Metrics {
        version: VERSION,
        late_fast: env!("CARGO_PKG_VERSION"),
        seed: options.seed,
        files: file_facts(inputs, cells, genes),
        scale: inputs.imputed.scale.formula(),
        negative_values: sums.negative,
        cells: cells.len() as u64,
        genes: genes.len() as u64,
        mse: FourErrors { input_nonzero, input_all, truth_nonzero, truth_all },
        entries: kinds(sums),
        groups: groups.filter(|group| group.n > 0).collect(),
        per_gene: with_truth.then(|| per_element(&sums.gene_scores)),
        per_cell: with_truth.then(|| per_element(&sums.cells)),
        zeros: zeros(sums, with_truth),
        gene_correlations: looked.correlations,
        pca: Pca {
            components: options.components as u64,
            genes: looked.n_variable as u64,
            sampled_cells: looked.sampled.len() as u64,
            variance_input: share("input"),
            variance_truth: share("truth"),
            variance_imputed: share("imputed"),
            variance_latent: share("latent"),
        },
        clustering: labels.map(|labels| clustering(labels, looked)),
        open_problems: inputs.test.map(|_| sums.losses.scores(molecules[0], molecules[1])),
    }
}

fn file_facts(inputs: &Inputs<'_>, cells: &Join, genes: &Join) -> Vec<FileFacts> {
    files(inputs)
        .into_iter()
        .map(|(role, source)| {
            let (n_cells, n_genes) = (source.cells().len(), source.genes().len());
            FileFacts {
                role,
                path: source.path().display().to_string(),
                layout: source.head().layout.clone(),
                cells: n_cells as u64,
                genes: n_genes as u64,
                cells_left_out: (n_cells - cells.len()) as u64,
                genes_left_out: (n_genes - genes.len()) as u64,
            }
        })
        .collect()
}

fn kinds(sums: &Sums) -> Kinds {
    let of = |kind: usize, pairs: &[Pair]| Kind {
        n: sums.kinds[kind][0].n(),
        log10: Agreement::of(&sums.kinds[kind][0]),
        counts: Agreement::of(&sums.kinds[kind][1]),
        spearman: spearman(pairs),
        spearman_pairs: pairs.len() as u64,
    };
    let observed = &sums.pairs[OBSERVED];
    let nonzero: Vec<Pair> =
        sums.pairs[IMPUTED].iter().chain(observed.iter().filter(|pair| pair.1 > 0.0)).copied().collect();
    Kinds {
        imputed: of(IMPUTED, &sums.pairs[IMPUTED]),
        observed: of(OBSERVED, observed),
        nonzero: of(NONZERO, &nonzero),
    }
}

fn per_element(scores: &[Scores]) -> PerElement {
    let of = |score: fn(&Scores) -> f64| Distribution::of(scores.iter().map(|scores| finite(score(scores))));
    PerElement {
        pearson: of(|s| s.pearson),
        pearson_input: of(|s| s.pearson_input),
        pearson_nonzero: of(|s| s.pearson_nonzero),
        sd_ratio: of(|s| s.sd_ratio),
        sd_ratio_input: of(|s| s.sd_ratio_input),
        rmse: of(|s| s.rmse),
        rmse_input: of(|s| s.rmse_input),
    }
}

fn zeros(sums: &Sums, with_truth: bool) -> Zeros {
    let n = sums.mse[0][0].n as f64;
    let total = |side: usize| sums.genes.iter().map(|gene| gene.zeros[side]).sum::<u64>();
    let rate = |side: usize| finite(total(side) as f64 / n);
    let kept = |kept: u64| finite(kept as f64 / total(0) as f64).filter(|_| with_truth);
    Zeros {
        truth_zeros: with_truth.then(|| total(0)),
        below_half: kept(sums.kept_zeros[0]),
        exactly_zero: kept(sums.kept_zeros[1]),
        rate_truth: rate(0).filter(|_| with_truth),
        rate_input: rate(1),
        rate_imputed: rate(2),
    }
}

fn clustering(labels: &Labels, looked: &Cells) -> Clustering {
    let labelled = looked.labels.iter().filter(|&&label| label != ABSENT).count();
    let scores = |name: &str| looked.view(name).and_then(|view| view.scores);
    Clustering {
        labels: distinct(&looked.labels) as u64,
        unlabelled: labels.unlabelled(),
        cells: labelled as u64,
        neighbours: components::NEIGHBOURS.min(labelled.saturating_sub(1)) as u64,
        input: scores("input").unwrap_or_default(),
        truth: scores("truth"),
        imputed: scores("imputed").unwrap_or_default(),
        latent: scores("latent"),
    }
}

/// What cannot be read as text is a bug.
pub(super) fn not_json(error: &serde_json::Error) -> Error {
    Error::Resources {
        problem: format!("cannot write the metrics as JSON: {error}"),
        remedy: "report this as a bug".into(),
    }
}
