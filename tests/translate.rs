//! TRANSLATE on the real binary: `train --init` and `--freeze-encoder`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::anndata::write_h5ad;
use common::binary::Workplace;
use common::content::files_in;
use common::counts::{counts, unlocked, write_tenx};
use common::files::{Rows, names, write_texts};
use late_fast::io::Dtype;
use late_fast::matrix::{Axis, Major};
use late_fast::model::{ModelFile, Overlap};

const CELLS: usize = 200;
/// Genes that exist; every file has some of them.
const GENES: usize = 120;
const WIDE: usize = 24;
const SMALL: &[&str] = &["--hidden", "24,6"];
const INIT: &[&str] = &["--init", "ref.late"];
/// So slow that the model is what training started from.
const STANDSTILL: &[&str] = &["--lr", "1e-30", "--epochs", "1"];

/// How genes are labelled: id (none: an h5ad without any) and name of a gene by its number.
type Labels = (Option<fn(usize) -> String>, fn(usize) -> String);

fn ensembl(gene: usize) -> String {
    format!("ENSG{gene:011}")
}

fn symbol(gene: usize) -> String {
    format!("gene{gene}")
}

const PLAIN: Labels = (Some(ensembl), symbol);
/// The same ids with versions, symbols of another release.
const VERSIONED: Labels =
    (Some(|gene| format!("{}.{}", ensembl(gene), gene % 7 + 1)), |gene| format!("new{gene}"));
/// Every third gene has another id and kept its symbol; the others kept their ids and have other symbols.
const REVISED: Labels =
    (Some(|gene| if gene % 3 == 0 { ensembl(gene + 5000) } else { ensembl(gene) }), |gene| {
        if gene % 3 == 0 { symbol(gene) } else { format!("new{gene}") }
    });
const SYMBOLS_ONLY: Labels = (None, symbol);
const IDS_AS_NAMES: Labels = (None, |gene| format!("{}.2", ensembl(gene)));

/// Counts of `genes`, in that order, of cells of their own.
fn columns(genes: &[usize], seed: u64) -> Rows {
    let all = counts(CELLS, GENES, seed);
    let pick = |row: &Vec<(i64, f64)>| {
        let count = |gene: usize| row.iter().find(|&&(other, _)| other == i64::try_from(gene).unwrap());
        let picked =
            (0_i64..).zip(genes).filter_map(|(at, &gene)| count(gene).map(|&(_, count)| (at, count)));
        picked.collect()
    };
    all.iter().map(pick).collect()
}

/// Writes counts of some genes: 10x, or h5ad where they have no ids.
fn write_genes(path: &Path, genes: &[usize], (id, name): Labels, seed: u64) {
    let rows = columns(genes, seed);
    let labels = |label: fn(usize) -> String| genes.iter().map(|&gene| label(gene)).collect::<Vec<_>>();
    let Some(id) = id else {
        let axes = [names("cell", rows.len()), labels(name)].map(Axis::from_names);
        return write_h5ad(path, &axes, &rows, Major::Cells, Dtype::I32, false);
    };
    write_tenx(path, &rows, genes.len());
    let file = unlocked().open_rw(path).unwrap();
    let features = file.group("matrix/features").unwrap();
    for (dataset, label) in [("id", id), ("name", name)] {
        features.unlink(dataset).unwrap();
        write_texts(&features, dataset, &labels(label));
    }
    drop(features);
    file.close().unwrap();
}

/// Genes of the reference, and those of the data, which share 60 to 99 and have another order.
fn reference_genes() -> Vec<usize> {
    (0..100).collect()
}

fn data_genes() -> Vec<usize> {
    (60..GENES).map(|gene| 60 + (gene * 7) % 60).collect()
}

const SHARED: std::ops::Range<usize> = 60..100;

/// A reference `ref.late`, trained on `ref.h5`, and other cells' counts `in.h5`.
fn workplace(of_reference: Labels, of_data: Labels, more: &[&str]) -> Workplace {
    let place = Workplace::new();
    write_genes(&place.path("ref.h5"), &reference_genes(), of_reference, 1);
    write_genes(&place.path("in.h5"), &data_genes(), of_data, 2);
    let small = if more.contains(&"--hidden") { &[] } else { SMALL };
    let train = ["train", "--h5", "ref.h5", "--lr", "3e-3", "--epochs", "20", "--batch-size", "64"];
    place.succeed(&[&train, small, more].concat());
    place
}

fn train<'a>(out: &'a str, more: &[&[&'a str]]) -> Vec<&'a str> {
    [&["train", "--h5", "in.h5", "--batch-size", "64", "--out", out], &more.concat()[..]].concat()
}

fn model(place: &Workplace, name: &str) -> ModelFile {
    ModelFile::read(&place.path(name).join("model.safetensors")).unwrap()
}

/// Rows of both wide layers and the output bias of a feature.
fn rows(model: &ModelFile, feature: usize, wide: usize) -> (Vec<f32>, Vec<f32>, f32) {
    let network = &model.network;
    let row = |values: &[f32]| values[feature * wide..(feature + 1) * wide].to_vec();
    let (encoder, decoder) = (&network.encoder, &network.decoder);
    (row(&encoder.weight.value), row(&decoder.weight.value), decoder.bias.value[feature])
}

fn hidden(model: &ModelFile) -> Vec<Vec<f32>> {
    let network = &model.network;
    let layers =
        network.hidden.iter().flat_map(|layer| [layer.weight.value.to_vec(), layer.bias.value.to_vec()]);
    [network.encoder.bias.value.to_vec()].into_iter().chain(layers).collect()
}

fn overlap(model: &ModelFile) -> Overlap {
    model.info.reference.as_ref().unwrap().overlap
}

#[test]
fn shared_genes_start_from_the_reference_and_others_as_without_it() {
    let cases: [(Labels, Labels, [u64; 2]); 7] = [
        (PLAIN, PLAIN, [40, 0]),
        (PLAIN, VERSIONED, [40, 0]),
        (VERSIONED, PLAIN, [40, 0]),
        (PLAIN, REVISED, [26, 14]),
        (PLAIN, SYMBOLS_ONLY, [0, 40]),
        (SYMBOLS_ONLY, SYMBOLS_ONLY, [0, 40]),
        (PLAIN, IDS_AS_NAMES, [40, 0]),
    ];
    for (case, (of_reference, of_data, [by_id, by_name])) in cases.into_iter().enumerate() {
        let place = workplace(of_reference, of_data, &[]);
        place.succeed(&train("at-random.late", &[SMALL, STANDSTILL]));
        place.succeed(&train("run.late", &[INIT, STANDSTILL]));
        let [reference, random, run] =
            ["ref.late", "at-random.late", "run.late"].map(|name| model(&place, name));
        assert_eq!(overlap(&run), Overlap { by_id, by_name, initialised: 20, unused: 60 }, "case {case}");
        assert_eq!(hidden(&run), hidden(&reference), "case {case}");
        for (feature, gene) in data_genes().into_iter().enumerate() {
            let source = if SHARED.contains(&gene) { (&reference, gene) } else { (&random, feature) };
            assert_eq!(rows(&run, feature, WIDE), rows(source.0, source.1, WIDE), "case {case}, gene {gene}");
        }
        assert_ne!(rows(&reference, 60, WIDE), rows(&random, 0, WIDE));
    }
}

#[test]
fn genes_that_share_a_symbol_are_told_apart_by_their_order() {
    let twice: fn(usize) -> String = |gene| symbol(gene / 2);
    let place = workplace((None, twice), (None, |gene| symbol((gene - 60) / 2)), &[]);
    // Genes 60 to 119 of the data are called gene0, gene0, gene1 ... in another order.
    place.succeed(&train("run.late", &[INIT, STANDSTILL]));
    let (reference, run) = (model(&place, "ref.late"), model(&place, "run.late"));
    assert_eq!(overlap(&run), Overlap { by_id: 0, by_name: 60, initialised: 0, unused: 40 });
    let mut seen = [0; GENES];
    for (feature, gene) in data_genes().into_iter().enumerate() {
        let symbol = (gene - 60) / 2;
        let source = 2 * symbol + seen[symbol];
        seen[symbol] += 1;
        assert_eq!(rows(&run, feature, WIDE), rows(&reference, source, WIDE), "feature {feature}");
    }
}

#[test]
fn the_overlap_is_in_the_plan_and_in_the_records() {
    let place = workplace(PLAIN, REVISED, &[]);
    let plan = place.succeed(&train("run.late", &[INIT, &["--dry-run"]])).stdout;
    for part in
        ["starts from ref.late/model.safetensors", "40 of 60 genes", "26 by id and 14 by name", "20 init"]
    {
        assert!(plan.contains(part), "{plan}");
    }
    let plan = place.succeed(&train("run.late", &[INIT, &["--dry-run", "--json"]])).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let keys = ["by_id", "by_name", "initialised", "unused", "n_features"];
    assert_eq!(keys.map(|key| plan["reference"][key].as_u64().unwrap()), [26, 14, 20, 60, 100]);

    let run = place.succeed(&train("run.late", &[INIT, &["--epochs", "2"]]));
    assert!(run.stderr.contains("at the start: validation error"), "{}", run.stderr);
    let json = std::fs::read_to_string(place.path("run.late/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&json).unwrap();
    // Widths and rate are those of a run that starts from a model.
    assert_eq!(config["hidden"], serde_json::json!([24, 6]));
    assert_eq!(config["learning_rate"].as_f64().unwrap(), 3e-5);
    let (reference, run) = (model(&place, "ref.late"), model(&place, "run.late"));
    assert!(reference.info.reference.is_none());
    let recorded = run.info.reference.unwrap();
    assert_eq!(recorded.features_hash, reference.info.features_hash);
    assert_eq!((&*recorded.path, &*recorded.trained_on), ("ref.late/model.safetensors", "ref.h5"));
    assert!(recorded.validation_loss_at_start.unwrap() > run.info.best_validation_loss);
    assert_eq!(serde_json::to_value(&recorded).unwrap(), config["reference"]);
}

#[test]
fn hardly_any_or_no_gene_in_common() {
    let place = workplace(PLAIN, PLAIN, &[]);
    // 5 of 60 genes are shared, then none.
    let few: Vec<usize> = (95..120).chain(60..95).collect();
    write_genes(
        &place.path("in.h5"),
        &few,
        (Some(|g| ensembl(if g >= 95 { g } else { g + 900 })), |g| format!("x{g}")),
        2,
    );
    let run = train("run.late", &[INIT, STANDSTILL]);
    place.fail(&run, &["in.h5", "5 of 60", "such as gene0", "the first one here is x95", "--force"]);
    place.succeed(&train("run.late", &[INIT, STANDSTILL, &["--force"]]));
    assert_eq!(overlap(&model(&place, "run.late")).by_id, 5);
    std::fs::remove_dir_all(place.path("run.late")).unwrap();

    write_genes(&place.path("in.h5"), &few, (Some(|g| format!("ENSMUSG{g:011}")), |g| format!("x{g}")), 2);
    for force in [&[][..], &["--force"]] {
        place.fail(&train("run.late", &[INIT, STANDSTILL, force]), &["0 of 60", "leave --init out"]);
    }
}

#[test]
fn cells_are_found_by_barcode() {
    let place = workplace(PLAIN, PLAIN, &["--features", "cells"]);
    let cells = ["--features", "cells"];
    place.succeed(&train("run.late", &[INIT, STANDSTILL, &cells]));
    let (reference, run) = (model(&place, "ref.late"), model(&place, "run.late"));
    assert_eq!(overlap(&run), Overlap { by_id: 0, by_name: CELLS as u64, initialised: 0, unused: 0 });
    assert_eq!(rows(&run, 7, WIDE), rows(&reference, 7, WIDE));

    let file = unlocked().open_rw(place.path("in.h5")).unwrap();
    let matrix = file.group("matrix").unwrap();
    matrix.unlink("barcodes").unwrap();
    write_texts(&matrix, "barcodes", &names("other", CELLS));
    drop(matrix);
    file.close().unwrap();
    place.fail(&train("x.late", &[INIT, &cells]), &["0 of 200", "the same cells only", "--features genes"]);
}

#[test]
fn settings_that_a_reference_does_not_fit() {
    let place = workplace(PLAIN, PLAIN, &[]);
    for (more, parts) in [
        (&["--features", "cells"][..], ["genes as features", "--features genes"]),
        (&["--hidden", "24,7"], ["24,6", "leave --hidden out"]),
        (&["--transform", "as-is"], ["log10(x+1)", "leave --transform out"]),
        (&["--out", "ref.late", "--force"], ["--init and --out", "another --out"]),
    ] {
        let init = ["train", "--h5", "in.h5", "--init", "ref.late"];
        place.fail_with(2, &[&init, more].concat(), &parts);
    }
    place.fail_with(2, &train("run.late", &[SMALL, &["--freeze-encoder"]]), &["--init"]);
    place.succeed(&train("run.late", &[INIT, SMALL, &["--transform", "log10", "--epochs", "1"]]));

    let other = ["train", "--h5", "ref.h5", "--transform", "as-is", "--hidden", "9", "--epochs", "1"];
    place.succeed(&[&other[..], &["--out", "real.late"]].concat());
    place.succeed(&train("other.late", &[&["--init", "real.late/model.safetensors", "--epochs", "1"]]));
    let config = model(&place, "other.late").info.config;
    assert_eq!((config.hidden, config.transform.formula()), (vec![9], "x"));

    // Two networks of one run learn one scale.
    std::fs::create_dir(place.path("mixed.late")).unwrap();
    place.succeed(&train("mixed.late/cells", &[SMALL, &["--features", "cells", "--epochs", "1"]]));
    let other = ["--init", "real.late", "--out", "mixed.late/genes", "--epochs", "1"];
    place.succeed(&[&["train", "--h5", "in.h5"][..], &other].concat());
    let both = ["train", "--h5", "in.h5", "--features", "both", "--init", "mixed.late", "--out", "both.late"];
    place.fail_with(2, &both, &["genes as features learns x", "with cells log10(x+1)", "--transform"]);
}

/// A start from the same matrix under another hold-out has been trained on what is held out now.
#[test]
fn a_reference_that_has_seen_the_held_out_entries_is_told() {
    let place = workplace(PLAIN, PLAIN, &[]);
    place.succeed(&train("first.late", &[SMALL, &["--epochs", "1", "--seed", "1"]]));
    for (seed, is_told) in [("1", false), ("2", true)] {
        let more = ["--init", "first.late", "--epochs", "1", "--force", "--seed", seed];
        let run = place.succeed(&train("next.late", &[&more, &["--impute", "next.late/out.h5ad"]]));
        assert_eq!(run.stderr.contains("entries that it has seen"), is_told, "{}", run.stderr);
        assert!(place.path("next.late/out.h5ad").exists());
    }
}

#[test]
fn a_damaged_or_missing_reference() {
    let place = workplace(PLAIN, PLAIN, &[]);
    let path = place.path("ref.late/model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let run = train("run.late", &[INIT]);
    for length in [0, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        place.fail(&run, &["ref.late/model.safetensors", "train again"]);
    }
    let header = 8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().unwrap())).unwrap();
    let mut nan = whole;
    nan[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, &nan).unwrap();
    place.fail(&run, &["ref.late/model.safetensors", "finite"]);
    place.fail(&train("run.late", &[&["--init", "in.h5"]]), &["in.h5", "safetensors"]);
    place.fail(&train("run.late", &[&["--init", "none.late"]]), &["none.late", "check the path"]);
}

#[test]
fn a_frozen_encoder_keeps_its_bits_and_ignores_genes_it_does_not_know() {
    for widths in ["24", "24,6", "24,12,6"] {
        for dtype in ["f32", "bf16"] {
            let place = workplace(PLAIN, PLAIN, &["--hidden", widths, "--param-dtype", dtype]);
            let more = ["--param-dtype", dtype, "--freeze-encoder", "--lr", "3e-3", "--epochs", "5"];
            let run = place.succeed(&train("run.late", &[INIT, &more]));
            assert!(run.stderr.contains("not known to the encoder"), "{}", run.stderr);
            let (reference, run) = (model(&place, "ref.late"), model(&place, "run.late"));
            let what = format!("{widths} {dtype}");
            for (feature, gene) in data_genes().into_iter().enumerate() {
                let (encoder, decoder, bias) = rows(&run, feature, WIDE);
                let known = SHARED.contains(&gene).then(|| rows(&reference, gene, WIDE));
                let expected = known.as_ref().map_or(vec![0.0; WIDE], |(encoder, _, _)| encoder.clone());
                assert_eq!(encoder, expected, "{what}, gene {gene}");
                let moved = known.is_none_or(|(_, before, of_bias)| decoder != before && bias != of_bias);
                assert!(moved, "{what}, gene {gene}: its output was not trained");
            }
            let (before, after) = (hidden(&reference), hidden(&run));
            // Its bias, and weight and bias of every layer up to the latent one.
            let n_frozen = 1 + 2 * (widths.split(',').count() - 1);
            for (number, (before, after)) in before.iter().zip(&after).enumerate() {
                assert_eq!(before == after, number < n_frozen, "{what}, array {number}");
            }
            let trained = run.info.reference.unwrap().validation_loss_at_start.unwrap();
            assert!(run.info.best_validation_loss < trained, "{what}: nothing was learned");
        }
    }
}

#[test]
fn a_frozen_encoder_takes_less_memory() {
    let place = workplace(PLAIN, PLAIN, &[]);
    let bytes = |more: &[&str]| {
        let plan = place.succeed(&train("run.late", &[INIT, &["--dry-run", "--json"], more])).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["optimiser_bytes"].as_u64().unwrap()
    };
    let moments_of_a_wide_layer = 2 * 4 * (60 * WIDE) as u64;
    assert_eq!(bytes(&[]) - bytes(&["--freeze-encoder"]), moments_of_a_wide_layer);
}

/// References and data for runs that take long enough to be interrupted.
fn larger_workplace(hidden: &str) -> Workplace {
    let place = Workplace::new();
    for (name, seed) in [("ref.h5", 1), ("in.h5", 2)] {
        write_tenx(&place.path(name), &counts(300, 500, seed), 500);
    }
    let train = ["train", "--h5", "ref.h5", "--hidden", hidden, "--batch-size", "16", "--epochs", "2"];
    for seed in ["1", "2"] {
        place.succeed(&[&train[..], &["--seed", seed, "--out", &format!("ref{seed}.late")]].concat());
    }
    place
}

const LARGER: &[&str] = &["train", "--h5", "in.h5", "--batch-size", "16"];

#[test]
fn an_interrupted_run_goes_on_with_the_same_bits_and_the_same_reference() {
    let place = larger_workplace("40,20");
    let init = |number: &'static str, out| {
        let model = if number == "1" { "ref1.late" } else { "ref2.late" };
        [LARGER, &["--init", model, "--epochs", "12", "--out", out]].concat()
    };
    for more in [&[][..], &["--param-dtype", "bf16"], &["--freeze-encoder", "--lr", "3e-3"]] {
        place.succeed(&[&init("1", "whole.late"), more, &["--force"]].concat());
        let frequent = [&init("1", "run.late"), more, &["--checkpoint-interval", "1ms"]].concat();
        let mut child = place.start(&frequent);
        let is_there = |name: &str| place.listing().iter().filter(|found| found.contains(name)).count();
        while is_there("run.late/checkpoint-") < 2 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_there("run.late/checkpoint-") > 0, "{more:?}: it was done before it was killed");
        let at_random = ["--hidden", "40,20", "--lr", "3e-5", "--epochs", "12", "--out", "run.late"];
        for other in [[init("2", "run.late"), more.to_vec()].concat(), [LARGER, &at_random].concat()] {
            let run = place.run(&[&other[..], &["--resume"]].concat());
            assert_eq!(run.code, Some(2), "{other:?}: {}", run.stderr);
            assert!(run.stderr.contains("another model to start from"), "{other:?}: {}", run.stderr);
        }
        let resumed =
            place.succeed(&[&init("1", "run.late"), more, &["--resume", "--threads", "1"]].concat());
        assert!(resumed.stderr.contains("going on in epoch"), "{more:?}: {}", resumed.stderr);
        assert!(!resumed.stderr.contains("at the start"), "{more:?}: {}", resumed.stderr);
        let (whole, resumed) = (files_in(&place.path("whole.late")), files_in(&place.path("run.late")));
        assert!(whole == resumed, "{more:?}: the resumed run has other results");

        let again = [&init("1", "run.late"), more, &["--resume"]].concat();
        assert!(place.succeed(&again).stderr.contains("trained already"), "{more:?}");
        let other = [&init("2", "run.late"), more, &["--resume"]].concat();
        place.fail_with(2, &other, &["run.late", "started from another one"]);
        std::fs::remove_dir_all(place.path("run.late")).unwrap();
    }
}

#[test]
fn threads_and_places_do_not_matter() {
    let place = larger_workplace("2000,40");
    for more in [&[][..], &["--param-dtype", "bf16"], &["--freeze-encoder"], &["--kernel", "dense"]] {
        let run = |out, options: &[&str]| {
            let init = ["--init", "ref1.late", "--lr", "3e-3", "--epochs", "2", "--out", out, "--force"];
            place.succeed(&[LARGER, &init, more, options].concat())
        };
        run("one.late", &["--threads", "1"]);
        let plan = run("none.late", &["--dry-run", "--json"]).stdout;
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        let bytes = |key: &str| plan[key].as_u64().unwrap();
        let rest = ["minibatch_bytes", "window_bytes", "fixed_bytes", "narrow_bytes"].map(bytes);
        let least = rest.iter().sum::<u64>().to_string();
        let in_files = run("file.late", &["--memory", &least]);
        assert!(in_files.stderr.contains("weights and moments"), "{more:?}: {}", in_files.stderr);
        run("five.late", &["--threads", "5"]);
        for other in ["file.late", "five.late"] {
            let (one, other) = (files_in(&place.path("one.late")), files_in(&place.path(other)));
            assert!(one == other, "{more:?}: other bits");
        }
    }
}

#[test]
fn a_model_of_another_genome_release_imputes() {
    let place = workplace(PLAIN, VERSIONED, &[]);
    let run = place.succeed(&["impute", "--model", "ref.late", "--input", "in.h5", "--out", "out.h5ad"]);
    assert!(run.stdout.contains("40 of the model's 100 features found"), "{}", run.stdout);
}

/// What is learned from other cells of the same kinds serves at once: five times less error was measured.
#[test]
fn what_a_reference_knows_needs_not_be_learned_again() {
    let place = Workplace::new();
    let all: Vec<usize> = (0..GENES).collect();
    write_genes(&place.path("ref.h5"), &all, PLAIN, 1);
    write_genes(&place.path("in.h5"), &data_genes(), PLAIN, 2);
    place.succeed(&[&["train", "--h5", "ref.h5", "--lr", "3e-3", "--epochs", "60"], SMALL].concat());
    for epochs in ["1", "3"] {
        let error = |options: &[&str]| {
            place.succeed(&train("run.late", &[options, &["--epochs", epochs, "--force"]]));
            let info = model(&place, "run.late").info;
            (
                info.reference.and_then(|reference| reference.validation_loss_at_start),
                info.best_validation_loss,
            )
        };
        let ((_, late), (at_start, translate)) = (error(SMALL), error(INIT));
        assert!(at_start.unwrap() < 0.5 * late && translate < 0.5 * late, "{late} {at_start:?} {translate}");
    }
}
