//! Figures with a point for every cell.

use super::figures::Part;
use super::gram::Which;
use super::join::ABSENT;
use super::maps::View;
use super::run::Findings;
use super::tsne;
use crate::report::{Chart, Figure, Point, Section};

/// Cells that a scatter of two genes shows.
const PAIR_CELLS: usize = 2000;
const UNLABELLED: &str = "unlabelled";

/// What the cells are coloured by.
struct Colours {
    names: Vec<String>,
    /// For every sampled cell.
    of: Vec<usize>,
}

impl Colours {
    fn new(findings: &Findings<'_>) -> Self {
        let labels = &findings.looked.labels;
        let mut names = findings.labels.map_or_else(Vec::new, |labels| labels.names.clone());
        let last = names.len();
        if labels.contains(&ABSENT) {
            names.push(if last == 0 { "cells".into() } else { UNLABELLED.into() });
        }
        let of = labels.iter().map(|&label| if label == ABSENT { last } else { label as usize }).collect();
        Self { names, of }
    }
}

fn point(findings: &Findings<'_>, colours: &Colours, place: usize, at: (f64, f64)) -> Point {
    let cell = findings.looked.sampled[place] as usize;
    Point { x: at.0, y: at.1, category: colours.of[place], name: findings.cells.names[cell].clone() }
}

/// Principal components and tSNE maps.
pub(super) fn maps(findings: &Findings<'_>) -> Part {
    let colours = Colours::new(findings);
    let mut missing = Vec::new();
    if !findings.inputs.imputed.record.is_empty() && findings.looked.view("latent").is_none() {
        let path = findings.inputs.imputed.source.path().display();
        missing.push(format!("no figures of the latent code: {path} has none of its cells (obsm/X_late)"));
    }
    let shown: Vec<&View> = findings.looked.views.iter().filter(|view| view.name != "truth").collect();
    let mut figures = Vec::new();
    for view in &shown {
        if view.components.ncols() < 2 {
            let (name, n) = (long_name(view), view.components.ncols());
            missing.push(format!("no principal components of the {name}: two are needed, and there are {n}"));
            continue;
        }
        let at = |place: usize| (view.components[[place, 0]], view.components[[place, 1]]);
        figures.push(cells_figure(findings, &colours, view, "pca", &at));
    }
    for view in &shown {
        let mapped = &findings.looked.mapped;
        if view.map.is_empty() || view.map.iter().any(|at| !at.0.is_finite() || !at.1.is_finite()) {
            if findings.looked.with_maps {
                let why = match mapped.len() {
                    n if n < tsne::FEWEST => format!("{n} cells are too few, {} are needed", tsne::FEWEST),
                    _ => "its cells are all the same, or nearly so".into(),
                };
                missing.push(format!("no tSNE map of the {}: {why}", long_name(view)));
            }
            continue;
        }
        let at = |place: usize| {
            let place = super::join::to_u32(place);
            mapped.binary_search(&place).map_or((f64::NAN, f64::NAN), |found| view.map[found])
        };
        figures.push(cells_figure(findings, &colours, view, "tsne", &at));
    }
    let text = "Cells of the same label should lie together, and apart from others, more clearly than in the input. \
                Distances between clusters of a tSNE map mean little.";
    let mut text = vec![text.to_owned()];
    if !findings.looked.with_maps {
        text.push("tSNE maps were not asked for (--no-tsne).".into());
    }
    Part { section: Section { title: "Cells".into(), text, tables: Vec::new(), figures }, missing }
}

fn long_name(view: &View) -> &'static str {
    match view.name {
        "latent" => "latent code",
        "imputed" => "imputed values",
        name => name,
    }
}

fn cells_figure(
    findings: &Findings<'_>,
    colours: &Colours,
    view: &View,
    kind: &str,
    at: &dyn Fn(usize) -> (f64, f64),
) -> Figure {
    let (of, bare) = (long_name(view), kind == "tsne");
    let name = if bare { "tSNE" } else { "Principal components" };
    let axis = |number: u8| if bare { format!("tSNE {number}") } else { format!("component {number}") };
    let points: Vec<Point> = findings
        .looked
        .mapped
        .iter()
        .map(|&place| point(findings, colours, place as usize, at(place as usize)))
        .collect();
    let drawn = match findings.cells.len() {
        all if all == points.len() => String::new(),
        all => format!(", {} of {all} drawn", points.len()),
    };
    Figure {
        id: format!("{kind}-{}", view.name),
        title: format!("{name} of the {of}"),
        caption: format!("A point a cell{drawn}, of {} components.", view.components.ncols()),
        chart: Chart::Scatter {
            x: axis(1),
            y: axis(2),
            points,
            categories: colours.names.clone(),
            bare,
            diagonal: false,
        },
    }
}

/// Two genes against each other in every matrix.
pub(super) fn gene_pairs(findings: &Findings<'_>) -> Part {
    let looked = findings.looked;
    let colours = Colours::new(findings);
    let (matrices, genes) = &looked.shown;
    let cells = &looked.mapped[..];
    // Every so many of the cells, which are in order, are as good as drawn ones.
    let step = cells.len().div_ceil(PAIR_CELLS).max(1);
    let mut figures = Vec::new();
    for (number, &(a, b)) in looked.pairs.iter().enumerate() {
        let [a_name, b_name] = [a, b].map(|gene| findings.genes.names[gene as usize].as_str());
        let column = |gene: u32| genes.binary_search(&gene).unwrap_or(0);
        for which in [Which::Truth, Which::Input, Which::Imputed] {
            let Some(side) = matrices.iter().position(|&matrix| matrix == which) else { continue };
            let values = &looked.values[side];
            let at = |place: usize| (values[[place, column(a)]], values[[place, column(b)]]);
            let points = cells.iter().step_by(step);
            let points = points.map(|&place| point(findings, &colours, place as usize, at(place as usize)));
            let name = match which {
                Which::Truth => "truth",
                Which::Input => "input",
                Which::Imputed => "imputed",
            };
            figures.push(Figure {
                id: format!("genes-{}-{name}", number + 1),
                title: format!("{a_name} and {b_name}, {name}"),
                caption: "A point a cell.".into(),
                chart: Chart::Scatter {
                    x: format!("{a_name}, log10(count + 1)"),
                    y: format!("{b_name}, log10(count + 1)"),
                    points: points.collect(),
                    categories: colours.names.clone(),
                    bare: false,
                    diagonal: false,
                },
            });
        }
    }
    let text = "A correlation that imputation creates where the truth has none is an artefact.";
    let mut missing = Vec::new();
    if figures.is_empty() {
        missing
            .push("no pairs of genes: no two of the genes whose correlations are compared have one".into());
    }
    let section =
        Section { title: "Pairs of genes".into(), text: vec![text.into()], tables: Vec::new(), figures };
    Part { section, missing }
}
