//! The page: sections with tables and the data of figures.

use super::groups::Errors;
use super::moments::quantile;
use super::pass::{Gene, IMPUTED, OBSERVED, Scores};
use super::run::Findings;
use super::spearman::Pair;
use super::{Distribution, TrainedRun, scatters, summary};
use crate::report::{Chart, Field, Figure, Report, Section, Series, Table, Tick, Violin};

const LOG: &str = "log10(count + 1)";
/// Bins of histograms and of either side of densities.
const BINS: usize = 60;
const DENSITY_BINS: usize = 80;
/// Groups of genes of similar expression.
const EXPRESSION_BINS: usize = 25;

/// A section, and which of its figures there is no data for, as "no map: the cells are too few".
#[derive(Default)]
pub(super) struct Part {
    pub(super) section: Section,
    pub(super) missing: Vec<String>,
}

impl From<Section> for Part {
    fn from(section: Section) -> Self {
        Self { section, missing: Vec::new() }
    }
}

/// The page, and the figures that are missing on it, with the reason.
pub(super) fn report(findings: &Findings<'_>) -> (Report, Vec<String>) {
    let mut parts = vec![summary_section(findings).into()];
    parts.extend(learning(findings));
    parts.push(errors(findings));
    if findings.inputs.truth.is_some() {
        parts.push(correlations(findings));
    }
    parts.extend([zeros(findings), scatters::maps(findings), scatters::gene_pairs(findings)]);
    parts.extend(settings(findings).map(Part::from));
    let (mut sections, mut all_missing) = (Vec::new(), Vec::new());
    for Part { mut section, missing } in parts {
        section.text.extend(missing.iter().map(|missing| format!("{}.", capital(missing))));
        all_missing.extend(missing);
        if !section.tables.is_empty() || !section.figures.is_empty() || !section.text.is_empty() {
            sections.push(section);
        }
    }
    let caution = crate::CAUTION.into();
    (Report { title: title(findings), facts: facts(findings), caution, sections }, all_missing)
}

fn title(findings: &Findings<'_>) -> String {
    let path = findings.inputs.imputed.source.path();
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    match findings.inputs.truth {
        Some(_) => format!("{name} compared with the truth"),
        None => format!("{name} compared with its input"),
    }
}

/// Without one, inside of a sentence.
fn small(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// With a capital, as titles begin.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn facts(findings: &Findings<'_>) -> Vec<(String, String)> {
    let metrics = findings.metrics;
    let mut facts: Vec<(String, String)> = metrics
        .files
        .iter()
        .map(|file| {
            let out = match (file.cells_left_out, file.genes_left_out) {
                (0, 0) => String::new(),
                (cells, genes) => {
                    format!("; {cells} cells and {genes} genes that not all files have are left out")
                }
            };
            let text =
                format!("{} ({}), {} cells x {} genes{out}", file.path, file.layout, file.cells, file.genes);
            (capital(file.role), text)
        })
        .collect();
    facts.push(("Compared".into(), format!("{} cells x {} genes", metrics.cells, metrics.genes)));
    let negative = match metrics.negative_values {
        0 => String::new(),
        n => format!("; {n} values are negative"),
    };
    facts.push(("Scale of the imputed values".into(), format!("{}{negative}", metrics.scale)));
    if let Some(labels) = findings.labels {
        let text = format!(
            "{} ({} labels; {} of {} cells are unlabelled)",
            labels.from,
            labels.names.len(),
            labels.unlabelled(),
            metrics.cells
        );
        facts.push(("Labels".into(), text));
    }
    if findings.looked.sampled.len() as u64 != metrics.cells {
        let text = format!("{} drawn cells, seed {}", findings.looked.sampled.len(), metrics.seed);
        facts.push(("Clusters and maps".into(), text));
    }
    if let Some(run) = findings.inputs.run {
        let dirs: Vec<String> = run.all().map(|run| run.dir.display().to_string()).collect();
        facts.push(("Model".into(), dirs.join(" and ")));
    }
    facts
}

fn summary_section(findings: &Findings<'_>) -> Section {
    let reference = match findings.inputs.truth {
        Some(_) => "Errors are imputed minus truth.",
        None => "There is no truth to compare with: errors are imputed minus input, where that is not 0.",
    };
    Section {
        title: "Summary".into(),
        text: vec![reference.into()],
        tables: summary::tables(findings.metrics),
        figures: Vec::new(),
    }
}

fn learning(findings: &Findings<'_>) -> Option<Part> {
    let run = findings.inputs.run?;
    // Of two networks, each curve says whose it is, and neither best epoch is marked.
    let is_one = run.other.is_none();
    let curve = |run: &TrainedRun, name: &str, of: fn(&super::Epoch) -> f64| Series {
        name: if is_one {
            name.into()
        } else {
            format!("{name}, {} as features", run.config.features_name())
        },
        points: run.history.iter().map(|epoch| (epoch.epoch as f64, of(epoch))).collect(),
    };
    let curves = |run: &TrainedRun| {
        [
            curve(run, "training loss", |epoch| epoch.train_loss),
            curve(run, "validation error", |epoch| epoch.validation_loss),
        ]
    };
    let mark =
        run.best().map(|best| Tick { at: best.epoch as f64, label: format!("best epoch: {}", best.epoch) });
    let figure = Figure {
        id: "learning-curve".into(),
        title: "Learning curve".into(),
        caption: "Training loss with dropout, validation error without: the first may stay above the second."
            .into(),
        chart: Chart::Lines {
            x: "epoch".into(),
            y: format!("mean squared error, {}", run.config.transform.formula()),
            series: run.all().flat_map(curves).collect(),
            mark: mark.filter(|_| is_one),
            log_y: true,
        },
    };
    let mut part = Part::from(Section { title: "Training".into(), ..Section::default() });
    if run.all().all(|run| run.history.is_empty()) {
        part.missing.push(format!("no learning curve: {} has no epochs", run.dir.display()));
    } else {
        part.section.figures.push(figure);
    }
    Some(part)
}

fn errors(findings: &Findings<'_>) -> Part {
    let names = findings.grouping.names();
    let groups = names.into_iter().zip(&findings.sums.groups).filter(|(_, errors)| errors.moments.n() > 0);
    let groups: Vec<Violin> = groups.map(|((name, imputed), errors)| violin(name, imputed, errors)).collect();
    let reference = if findings.inputs.truth.is_some() { "truth" } else { "input" };
    let (mut figures, mut missing) = (Vec::new(), Vec::new());
    if groups.is_empty() {
        missing.push(format!(
            "no distribution of errors: all joint entries are 0 in the input and the {reference}"
        ));
    } else {
        figures.push(Figure {
            id: "errors".into(),
            title: format!("Imputed minus {reference}"),
            caption: "Observed entries are not 0 in the input, imputed ones only in the truth. A good imputation is \
                      narrow and centred at 0, and no wider where it did not see the value."
                .into(),
            chart: Chart::Violins {
                y: format!("imputed - {reference}, {LOG}"),
                groups,
                kinds: vec!["observed".into(), "imputed".into()],
            },
        });
    }
    for (kind, id, name) in
        [(IMPUTED, "density-imputed", "imputed"), (OBSERVED, "density-observed", "observed")]
    {
        let pairs = &findings.sums.pairs[kind];
        let all = findings.sums.kinds[kind][0].n();
        if kind == IMPUTED && findings.inputs.truth.is_none() {
            continue;
        }
        if pairs.is_empty() {
            let why = match kind {
                IMPUTED => "whatever is not 0 in the truth is not 0 in the input either",
                _ => "all joint entries of the input are 0",
            };
            missing.push(format!("no figure of {name} entries: {why}"));
            continue;
        }
        let drawn = if pairs.len() as u64 == all {
            String::new()
        } else {
            format!(" ({} of {all} drawn)", pairs.len())
        };
        figures.push(Figure {
            id: id.into(),
            title: format!("{} and imputed value: {name} entries", capital(reference)),
            caption: format!("Entries{drawn}; the nearer the line, the better. Counts make the columns."),
            chart: density(pairs, reference),
        });
    }
    let tables = vec![summary::groups(findings.metrics)];
    Part { section: Section { title: "Errors".into(), tables, figures, ..Section::default() }, missing }
}

fn violin(name: String, imputed: bool, errors: &Errors) -> Violin {
    Violin {
        name,
        kind: usize::from(imputed),
        n: errors.moments.n(),
        density: errors.density(),
        quartiles: [0.25, 0.5, 0.75].map(|share| errors.quantile(share)),
        mean: errors.moments.bias().unwrap_or(f64::NAN),
    }
}

/// `n` bins from `low` to `high`.
fn edges(low: f64, high: f64, n: usize) -> Vec<f64> {
    (0..=n).map(|edge| low + (high - low) * edge as f64 / n as f64).collect()
}

/// The bin a value falls into; values beyond the edges fall into the outermost bins.
fn bin(value: f64, edges: &[f64]) -> usize {
    let n = edges.len() - 1;
    let place = (value - edges[0]) / (edges[n] - edges[0]) * n as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as it should")]
    let bin = place as usize;
    bin.min(n - 1)
}

fn density(pairs: &[Pair], reference: &str) -> Chart {
    let (mut low, mut high) = ([0.0_f64; 2], [0.1_f64; 2]);
    for &(value, truth) in pairs {
        for (side, number) in [f64::from(truth), f64::from(value)].into_iter().enumerate() {
            low[side] = low[side].min(number);
            high[side] = high[side].max(number);
        }
    }
    let (x_edges, y_edges) = (edges(low[0], high[0], DENSITY_BINS), edges(low[1], high[1], DENSITY_BINS));
    let mut counts = vec![0.0; DENSITY_BINS * DENSITY_BINS];
    for &(value, truth) in pairs {
        counts[bin(value.into(), &y_edges) * DENSITY_BINS + bin(truth.into(), &x_edges)] += 1.0;
    }
    Chart::Density {
        x: format!("{reference}, {LOG}"),
        y: format!("imputed, {LOG}"),
        x_edges,
        y_edges,
        counts,
        diagonal: true,
    }
}

fn histogram(
    id: &str,
    title: &str,
    caption: &str,
    x: &str,
    y: &str,
    edges: Vec<f64>,
    series: &[(&str, &[f64])],
) -> Figure {
    let series = series
        .iter()
        .map(|(name, values)| {
            let mut counts = vec![0.0; edges.len() - 1];
            values
                .iter()
                .filter(|value| value.is_finite())
                .for_each(|&value| counts[bin(value, &edges)] += 1.0);
            ((*name).to_owned(), counts)
        })
        .collect();
    Figure {
        id: id.into(),
        title: title.into(),
        caption: caption.into(),
        chart: Chart::Histogram { x: x.into(), y: y.into(), edges, series },
    }
}

/// Histograms of the scores of all genes or cells, before and after.
fn score_figures(noun: &str, scores: &[Scores], part: &mut Part) {
    let of = |score: fn(&Scores) -> f64| scores.iter().map(score).collect::<Vec<f64>>();
    let mut push = |figure: Figure, before: &[f64], after: &[f64], why: &str| {
        if before.iter().chain(after).any(|value| value.is_finite()) {
            part.section.figures.push(figure);
        } else {
            part.missing.push(format!("no figure of the {}: {why}", small(&figure.title)));
        }
    };
    let (before, after) = (of(|s| s.pearson_input), of(|s| s.pearson));
    let lowest = before.iter().chain(&after).fold(0.0, |low: f64, &r| low.min(r));
    let figure = histogram(
        &format!("{noun}-correlation"),
        &format!("Correlation with the truth, by {noun}"),
        &format!(
            "Pearson's, over all entries of a {noun}; constant ones have none. The further right, the better."
        ),
        &format!("Pearson's correlation, {LOG}"),
        &format!("{noun}s"),
        edges(lowest, 1.0, BINS),
        &[("input", &before), ("imputed", &after)],
    );
    push(figure, &before, &after, &format!("all {noun}s are constant in the truth, or else imputed"));
    let (before, after) = (of(|s| s.sd_ratio_input), of(|s| s.sd_ratio));
    let figure = histogram(
        &format!("{noun}-sd-ratio"),
        &format!("Standard deviation against that of the truth, by {noun}"),
        "1 is the truth's own spread; below it, imputation has smoothed. Larger ratios are in the last bin.",
        &format!("standard deviation / that of the truth, {LOG}"),
        &format!("{noun}s"),
        edges(0.0, last_edge(&[&before, &after]), BINS),
        &[("input", &before), ("imputed", &after)],
    );
    push(figure, &before, &after, &format!("all {noun}s are constant in the truth"));
}

fn correlations(findings: &Findings<'_>) -> Part {
    let mut part = Part::default();
    for (noun, scores) in [("gene", &findings.sums.gene_scores), ("cell", &findings.sums.cells)] {
        score_figures(noun, scores, &mut part);
    }
    let mut rows = Vec::new();
    let metrics = findings.metrics;
    for (noun, found) in [("gene", &metrics.per_gene), ("cell", &metrics.per_cell)] {
        let Some(found) = found else { continue };
        rows.extend([
            distribution(format!("{noun}: correlation, input"), &found.pearson_input),
            distribution(format!("{noun}: correlation, imputed"), &found.pearson),
            distribution(
                format!("{noun}: correlation where the truth is not 0, imputed"),
                &found.pearson_nonzero,
            ),
            distribution(format!("{noun}: SD ratio, input"), &found.sd_ratio_input),
            distribution(format!("{noun}: SD ratio, imputed"), &found.sd_ratio),
            distribution(format!("{noun}: RMSE, input"), &found.rmse_input),
            distribution(format!("{noun}: RMSE, imputed"), &found.rmse),
        ]);
    }
    let columns = ["measure", "n", "undefined", "first quartile", "median", "third quartile", "mean"];
    let table = Table {
        id: "per-gene-and-cell".into(),
        title: "Genes and cells".into(),
        columns: columns.map(str::to_owned).to_vec(),
        rows,
    };
    let text = "Over all entries: where an imputation takes every zero of the input for a missing value, as LATE does, the zeros \
                of the truth count against it. Every gene is in genes.csv, every cell in cells.csv."
        .to_owned();
    part.section =
        Section { title: "Genes and cells".into(), text: vec![text], tables: vec![table], ..part.section };
    part
}

/// Beyond nearly all of the ratios, and beyond 1.
fn last_edge(ratios: &[&Vec<f64>]) -> f64 {
    let mut known: Vec<f64> =
        ratios.iter().flat_map(|r| r.iter()).copied().filter(|r| r.is_finite()).collect();
    known.sort_unstable_by(f64::total_cmp);
    quantile(&known, 0.99).unwrap_or(1.0).max(1.2)
}

fn distribution(name: String, found: &Distribution) -> Vec<Field> {
    let numbers = [found.q1, found.median, found.q3, found.mean];
    [Field::Text(name), Field::Count(found.n), Field::Count(found.undefined)]
        .into_iter()
        .chain(numbers.map(|value| Field::Number(value.unwrap_or(f64::NAN))))
        .collect()
}

/// log10 of a mean count, and shares of zeros.
type ZeroRates = (f64, [f64; 3]);

/// Genes of similar expression together, from the lowest: the mean of log10 of their mean counts, and their shares of
/// zeros in truth, input and imputed.
fn zero_rates(genes: &[Gene], n_cells: f64) -> Vec<ZeroRates> {
    let mut expressed: Vec<ZeroRates> = genes
        .iter()
        .map(|gene| (gene.counts.means()[1], gene.zeros.map(|zeros| zeros as f64 / n_cells)))
        .filter(|(mean, _)| *mean > 0.0)
        .map(|(mean, rates)| (mean.log10(), rates))
        .collect();
    expressed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = expressed.len().div_ceil(EXPRESSION_BINS).max(1);
    let mean = |bin: &[ZeroRates], of: &dyn Fn(&ZeroRates) -> f64| {
        bin.iter().map(of).sum::<f64>() / bin.len() as f64
    };
    expressed
        .chunks(size)
        .map(|bin| (mean(bin, &|gene| gene.0), [0, 1, 2].map(|side| mean(bin, &|gene| gene.1[side]))))
        .collect()
}

fn zeros(findings: &Findings<'_>) -> Part {
    let rates = zero_rates(&findings.sums.genes, findings.cells.len() as f64);
    let with_truth = findings.inputs.truth.is_some();
    let series = [("truth", 0), ("input", 1), ("imputed, below half a count", 2)];
    let series = series.into_iter().filter(|&(_, side)| with_truth || side != 0).map(|(name, side)| Series {
        name: name.into(),
        points: rates.iter().map(|&(mean, rates)| (mean, rates[side])).collect(),
    });
    let of = if with_truth { "truth" } else { "input" };
    let figure = Figure {
        id: "zero-rates".into(),
        title: "Zeros by expression".into(),
        caption: "Genes of similar mean count together. Where imputed values follow the truth, neither dropouts are \
                  left nor true zeros filled."
            .into(),
        chart: Chart::Lines {
            x: format!("log10 of the mean count in the {of}"),
            y: "share of cells".into(),
            series: series.collect(),
            mark: None,
            log_y: false,
        },
    };
    let mut part = Part::from(Section { title: "Zeros".into(), ..Section::default() });
    if rates.is_empty() {
        part.missing.push(format!("no figure of zeros by expression: all joint entries of the {of} are 0"));
    } else {
        part.section.figures.push(figure);
    }
    part
}

/// The run's configuration and timings, and what the imputed file says of itself.
fn settings(findings: &Findings<'_>) -> Option<Section> {
    let mut tables = Vec::new();
    if let Some(run) = findings.inputs.run {
        tables.push(by_network("configuration", "Configuration of the run", run, configuration));
        tables.push(by_network("timings", "Timings", run, timings));
    }
    let record = findings.inputs.imputed.record;
    if !record.is_empty() {
        let rows = record.iter().map(|(name, text)| {
            let json = serde_json::from_str(text).ok().filter(serde_json::Value::is_object);
            vec![name.clone(), json.map_or_else(|| text.clone(), |json| readable(&json, false))]
        });
        tables.push(Table {
            id: "imputed-record".into(),
            title: "What the imputed file says of itself".into(),
            columns: vec!["setting".into(), "value".into()],
            rows: rows.map(|row| row.into_iter().map(Field::Text).collect()).collect(),
        });
    }
    (!tables.is_empty()).then(|| Section { title: "Settings".into(), tables, ..Section::default() })
}

/// A table with a column for each of a run's networks.
fn by_network(id: &str, title: &str, run: &TrainedRun, of: fn(&TrainedRun) -> Vec<(String, Field)>) -> Table {
    let column = |run: &TrainedRun| format!("{} as features", run.config.features_name());
    let columns = run.all().map(|one| if run.other.is_none() { "value".into() } else { column(one) });
    let mut rows: Vec<Vec<Field>> = Vec::new();
    for (n, network) in run.all().enumerate() {
        for (name, value) in of(network) {
            let name = Field::Text(name);
            // What only one of them says is empty for the other.
            let place = rows.iter().position(|row| row[0] == name).unwrap_or(rows.len());
            if place == rows.len() {
                rows.push(vec![name]);
            }
            rows[place].resize(n + 1, Field::Text(String::new()));
            rows[place].push(value);
        }
    }
    rows.iter_mut().for_each(|row| row.resize(1 + run.all().count(), Field::Text(String::new())));
    let columns = std::iter::once("setting".into()).chain(columns).collect();
    Table { id: id.into(), title: title.into(), columns, rows }
}

fn configuration(run: &TrainedRun) -> Vec<(String, Field)> {
    // By way of text, in which numbers of 32 bits have the digits that were typed.
    let config = serde_json::to_string(&run.config).unwrap_or_default();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
    let rows = config.as_object().into_iter().flatten();
    rows.map(|(name, value)| (name.clone(), Field::Text(readable(value, false)))).collect()
}

/// JSON without its signs, as far as it is clear what belongs together.
fn readable(value: &serde_json::Value, is_inner: bool) -> String {
    use serde_json::Value;
    let (all, signs) = match value {
        Value::String(text) => return text.clone(),
        Value::Array(list) => {
            (list.iter().map(|value| readable(value, true)).collect::<Vec<_>>(), ["[", "]"])
        }
        Value::Object(map) => {
            let pair = |(name, value)| format!("{name}: {}", readable(value, true));
            (map.iter().map(pair).collect(), ["(", ")"])
        }
        other => return other.to_string(),
    };
    let [open, close] = if is_inner { signs } else { [""; 2] };
    format!("{open}{}{close}", all.join(", "))
}

fn timings(run: &TrainedRun) -> Vec<(String, Field)> {
    let seconds: f64 = run.history.iter().map(|epoch| epoch.seconds).sum();
    let n = run.history.len();
    let rate = run.history.iter().map(|epoch| epoch.samples_per_second).sum::<f64>() / n as f64;
    let best = run.best();
    let best_epoch = best.map_or(Field::Text(String::new()), |best| Field::Count(best.epoch));
    let rows = [
        ("epochs", Field::Count(n as u64)),
        ("best epoch", best_epoch),
        ("best validation error", Field::Number(best.map_or(f64::NAN, |best| best.validation_loss))),
        ("seconds", Field::Number(seconds)),
        ("seconds an epoch", Field::Number(seconds / n as f64)),
        ("samples a second", Field::Number(rate)),
    ];
    rows.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_text() {
        let json = r#"{"hidden":[64,16],"rate":0.0003,"validation":{"by":"entries","holdout":0.05}}"#;
        let value = serde_json::from_str(json).unwrap();
        let expected = "hidden: [64, 16], rate: 0.0003, validation: (by: entries, holdout: 0.05)";
        assert_eq!(readable(&value, false), expected);
        assert_eq!(readable(&value["hidden"], false), "64, 16");
    }
}
