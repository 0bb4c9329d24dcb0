//! What `evaluate` puts into its directory: the report, and what becomes of an earlier one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;

use common::binary::Workplace;
use common::counts::{counts, unlocked, write_tenx};
use common::evaluation::{CELLS, Counts, GENES, SMALL, open_imputed, small, workplace, write_dense};
use common::files::names;
use late_fast::evaluate::{Imputed, ImputedRows, Inputs, LabelSource, Options, Scale, evaluate};
use late_fast::report::{Chart, Figure, Report};
use ndarray::Array2;

#[test]
fn existing_metrics_are_replaced_by_force_only() {
    let place = small(&names("cell", CELLS), &names("gene", GENES));
    place.succeed(SMALL);
    place.fail(SMALL, &["out/metrics.json: exists already", "--force"]);
    place.succeed(&[SMALL, &["--force"]].concat());
}

fn ones() -> Workplace {
    small(&names("cell", CELLS), &names("gene", GENES))
}

#[test]
fn every_output_that_exists_is_replaced_by_force_only() {
    for name in
        ["metrics.json", "genes.csv", "cells.csv", "report.html", "figures/mine.svg", "tables/mine.csv"]
    {
        let place = ones();
        let path = place.path("out").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let told = name.split('/').next().unwrap();
        place.fail(SMALL, &[&format!("out/{told}: exists already"), "--force"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        place.succeed(&[SMALL, &["--force"]].concat());
        assert!(!std::fs::read_to_string(&path).is_ok_and(|text| text == "mine"), "{name}");
    }
}

#[test]
fn figures_of_an_earlier_evaluation_do_not_stay_and_files_of_others_do() {
    let place = ones();
    let narrow =
        [SMALL, &["--force", "--no-tsne", "--components", "1", "--gene-pairs", "gene0:gene1"]].concat();
    place.succeed(&[SMALL, &["--gene-pairs", "gene0:gene1,gene2:gene3"]].concat());
    assert!(place.path("out/figures/genes-2-input.svg").exists());
    std::fs::write(place.path("out/notes.txt"), "mine").unwrap();
    place.succeed(&narrow);
    assert!(place.path("out/figures/genes-1-input.svg").exists() && place.path("out/notes.txt").exists());
    for name in ["genes-2-input.svg", "genes-2-input.csv", "pca-input.svg"] {
        assert!(!place.path("out/figures").join(name).exists(), "{name} is a figure of the run before");
    }
    assert!(place.listing().iter().all(|name| !name.ends_with(".tmp")), "{:?}", place.listing());
    std::fs::write(place.path("out/figures/notes.txt"), "mine").unwrap();
    place.fail(&narrow, &["out/figures: cannot replace", "notes.txt"]);
}

#[test]
fn figures_that_there_is_no_data_for_are_told_on_the_page_and_on_the_console() {
    // Five cells make no map, an input without any entry no figures but those of the truth.
    let place = Workplace::new();
    let truth = counts(5, GENES, 3);
    write_tenx(&place.path("truth.h5"), &truth, GENES);
    write_tenx(&place.path("in.h5"), &truth.iter().map(|_| vec![(0, 1.0)]).collect(), GENES);
    write_dense(
        &place.path("ones.h5ad"),
        &names("cell", 5),
        &names("gene", GENES),
        &Array2::ones((5, GENES)),
    );
    let command =
        [&["evaluate", "-i", "in.h5", "--imputed", "ones.h5ad", "--imputed-scale", "ln"][..]].concat();
    let page = |out: &str| std::fs::read_to_string(place.path(out).join("report.html")).unwrap();
    for (out, options, missing) in [
        (
            "plain",
            &[][..],
            &["no tSNE map of the input: 5 cells are too few, 8 are needed", "no pairs of genes: "][..],
        ),
        (
            "truth",
            &["--truth", "in.h5"],
            &["no figure of imputed entries: ", "no tSNE map of the imputed values: "],
        ),
        (
            "narrow",
            &["--components", "1"],
            &["no principal components of the input: two are needed, and there "],
        ),
    ] {
        let run = place.succeed(&[&command[..], options, &["--out", out]].concat());
        for part in missing {
            assert!(run.stderr.contains(&format!("note: {part}")), "{part}\n{}", run.stderr);
            let on_page = part.replacen('n', "N", 1);
            assert!(page(out).contains(&on_page), "{on_page}");
        }
    }
    // What was not asked for is not missing.
    let run = place.succeed(&[&command[..], &["--no-tsne", "--out", "no"]].concat());
    assert!(
        !run.stderr.contains("tSNE") && page("no").contains("not asked for (--no-tsne)"),
        "{}",
        run.stderr
    );
}

#[test]
fn what_is_asked_for_in_vain_is_told_before_the_long_work() {
    let place = ones();
    let input = Counts::open(&place, "in.h5");
    let file = unlocked().open_as(place.path("ones.h5ad"), hdf5::file::OpenMode::ReadWrite).unwrap();
    let group = late_fast::h5ad::create_dict(&file, "obsm").unwrap();
    let mut code = Array2::<f32>::zeros((CELLS, 2));
    code[[CELLS - 1, 1]] = f32::NAN;
    group.new_dataset_builder().with_data(&code).create("X_late").unwrap();
    drop((group, file));
    let imputed = open_imputed(&place, "ones.h5ad", None);
    let inputs = Inputs {
        input: input.matrix(),
        truth: None,
        test: None,
        imputed: Imputed {
            source: imputed.as_ref(),
            rows: ImputedRows::Stream(imputed.as_ref()),
            scale: Scale::Log10,
            record: &[],
        },
        labels: None,
        run: None,
    };
    let pairs = vec![("gene1".to_owned(), "CD3D".to_owned())];
    for (gene_pairs, part) in [(pairs, "\"CD3D\""), (Vec::new(), "NaN in row 29")] {
        let options = Options { gene_pairs, ..Options::default() };
        let progress = |name: &str, _: u64, _: u64| panic!("{name} has begun");
        let Err(error) = evaluate(&inputs, &options, &progress) else { panic!("{part} was accepted") };
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Checks that names are unique and fit file names, and that everything has the length it has to have.
fn check_report(report: &Report) {
    let mut ids = HashSet::new();
    let mut check_id = |id: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(!id.is_empty() && id.chars().all(fits), "{id}");
        assert!(ids.insert(id.to_owned()), "{id} stands twice");
    };
    for section in &report.sections {
        for table in &section.tables {
            check_id(&table.id);
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.id);
        }
        for figure in &section.figures {
            check_id(&figure.id);
            check_chart(&figure.id, &figure.chart);
        }
    }
}

fn check_chart(id: &str, chart: &Chart) {
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    match chart {
        Chart::Lines { series, .. } => {
            assert!(!series.is_empty(), "{id}");
            for line in series {
                assert!(line.points.is_sorted_by(|a, b| a.0 <= b.0), "{id}");
                assert!(line.points.iter().all(|point| finite(&[point.0, point.1])), "{id}");
            }
        }
        Chart::Violins { groups, kinds, .. } => {
            for group in groups {
                assert!(group.n > 0 && group.kind < kinds.len() && !group.density.is_empty(), "{id}");
                assert!(
                    finite(&group.quartiles) && group.quartiles.is_sorted() && finite(&[group.mean]),
                    "{id}"
                );
            }
        }
        Chart::Histogram { edges, series, .. } => {
            assert!(
                edges.is_sorted() && series.iter().all(|(_, counts)| counts.len() + 1 == edges.len()),
                "{id}"
            );
        }
        Chart::Density { x_edges, y_edges, counts, .. } => {
            assert!(x_edges.is_sorted() && y_edges.is_sorted(), "{id}");
            assert_eq!(counts.len(), (x_edges.len() - 1) * (y_edges.len() - 1), "{id}");
        }
        Chart::Scatter { points, categories, .. } => {
            for point in points {
                assert!(point.category < categories.len() && finite(&[point.x, point.y]), "{id}: {point:?}");
            }
        }
    }
}

#[test]
fn the_report_has_all_figures_and_they_fit_together() {
    let place = workplace();
    let (input, truth) = (Counts::open(&place, "input.h5"), Counts::open(&place, "truth.h5"));
    let imputed = open_imputed(&place, "imputed.h5ad", Some("late"));
    let labels = place.path("labels.csv");
    let inputs = Inputs {
        input: input.matrix(),
        truth: Some(truth.matrix()),
        test: None,
        imputed: Imputed {
            source: imputed.as_ref(),
            rows: ImputedRows::Stream(imputed.as_ref()),
            scale: Scale::Log10,
            record: &[("scale".into(), "log10(x+1)".into())],
        },
        labels: Some(LabelSource::Table(&labels, None)),
        run: None,
    };
    let pairs = vec![("gene1".to_owned(), "gene2".to_owned())];
    let options = Options { gene_pairs: pairs, ..Options::default() };
    let found = evaluate(&inputs, &options, &|_, _, _| {}).unwrap();
    check_report(&found.report);
    assert!(found.missing.is_empty(), "{:?}", found.missing);
    let figures: Vec<&Figure> = found.report.sections.iter().flat_map(|section| &section.figures).collect();
    let ids: Vec<&str> = figures.iter().map(|figure| figure.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "errors",
            "density-imputed",
            "density-observed",
            "gene-correlation",
            "gene-sd-ratio",
            "cell-correlation",
            "cell-sd-ratio",
            "zero-rates",
            "pca-input",
            "pca-imputed",
            "pca-latent",
            "tsne-input",
            "tsne-imputed",
            "tsne-latent",
            "genes-1-truth",
            "genes-1-input",
            "genes-1-imputed",
        ]
    );
    let Chart::Scatter { points, categories, .. } = &figures[11].chart else {
        panic!("{:?}", figures[11].chart)
    };
    assert_eq!(categories, &["type 0", "type 1", "type 2", "unlabelled"]);
    assert_eq!(points.len(), 60, "every cell is shown");
    assert_eq!(
        points.iter().filter(|point| point.category == 3).map(|p| &p.name[..]).collect::<Vec<_>>(),
        ["cell13"]
    );
    let Chart::Density { counts, .. } = &figures[1].chart else { panic!("{:?}", figures[1].chart) };
    assert_eq!(counts.iter().sum::<f64>(), found.metrics.entries.imputed.n as f64);
    assert_eq!(found.report.caution, late_fast::CAUTION);
}
