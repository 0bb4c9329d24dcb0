//! Imputing in shards and merging them, on the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use common::binary::Workplace;
use common::content::content;
use common::counts::{counts, unlocked, write_tenx};

/// More than two batches of 256 either way.
const CELLS: usize = 600;
const GENES: usize = 530;

/// A matrix with an empty cell and an empty gene, and a model for each orientation.
fn workplace(all_features: &[&str]) -> Workplace {
    let place = Workplace::new();
    let mut rows = counts(CELLS, GENES, 5);
    rows[300].clear();
    rows.iter_mut().for_each(|row| row.retain(|&(gene, _)| gene != 7));
    write_tenx(&place.path("in.h5"), &rows, GENES);
    for features in all_features {
        place.succeed(&[
            "train",
            "--h5",
            "in.h5",
            "--features",
            features,
            "--hidden",
            "16,6",
            "--epochs",
            "3",
            "--lr",
            "3e-3",
            "--out",
            features,
        ]);
    }
    let genes: String = (0..GENES).rev().step_by(3).map(|gene| format!("gene{gene}\n")).collect();
    std::fs::write(place.path("genes.txt"), genes).unwrap();
    place
}

fn impute<'a>(model: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["impute", "--model", model, "--input", "in.h5", "--out", out], more].concat()
}

fn shard_name(number: usize, count: usize) -> String {
    format!("out.shard-{number:04}-of-{count:04}.h5ad")
}

/// Imputes all shards and merges them, the last one first.
fn shards_and_merge(place: &Workplace, model: &str, count: usize, more: &[&str]) {
    let mut merge = vec!["merge".to_owned(), "out.h5ad".to_owned()];
    for number in (1..=count).rev() {
        let shard = format!("{number}/{count}");
        place.succeed(&impute(model, "out.h5ad", &[more, &["--shard", &shard]].concat()));
        merge.push(shard_name(number, count));
    }
    place.succeed(&merge.iter().map(String::as_str).collect::<Vec<_>>());
}

#[track_caller]
fn assert_same(place: &Workplace, a: &str, b: &str, what: &str) {
    let (a, b) = (content(&place.path(a)), content(&place.path(b)));
    let short = |line: &String| line.chars().take(300).collect::<String>();
    for (a, b) in a.iter().zip(&b) {
        assert!(a == b, "{what}\n{}\n{}", short(a), short(b));
    }
    assert_eq!(a.len(), b.len(), "{what}");
}

#[test]
fn merged_shards_are_what_one_run_writes() {
    for features in ["genes", "cells"] {
        let place = workplace(&[features]);
        for more in [
            &[][..],
            &["--genes", "genes.txt", "--policy", "max"],
            &["--dtype", "f16", "--output-scale", "counts", "--policy", "keep-observed"],
            &["--latent-only"],
            &["--latent-only", "--genes", "genes.txt"],
        ] {
            let what = format!("{features} {more:?}");
            place.succeed(&impute(features, "whole.h5ad", more));
            // More shards than batches: some are empty.
            for count in [2, 5] {
                shards_and_merge(&place, features, count, more);
                assert_same(&place, "whole.h5ad", "out.h5ad", &what);
                std::fs::remove_file(place.path("out.h5ad")).unwrap();
                for number in 1..=count {
                    std::fs::remove_file(place.path(&shard_name(number, count))).unwrap();
                }
            }
            std::fs::remove_file(place.path("whole.h5ad")).unwrap();
        }
    }
}

#[test]
fn a_shard_is_a_matrix_of_its_cells() {
    let place = workplace(&["genes"]);
    place.succeed(&impute("genes", "out.h5ad", &["--shard", "2/2"]));
    let name = shard_name(2, 2);
    let matrix = common::files::read_plain(&place.path(&name));
    assert_eq!(matrix.cells().names, common::files::names("cell", CELLS)[256..]);
    assert_eq!(matrix.genes().names, common::files::names("gene", GENES));
    place.succeed(&["inspect", &name, "--layer", "late"]);
}

#[test]
fn latent_only_leaves_out_what_is_large() {
    let place = workplace(&["genes"]);
    place.succeed(&impute("genes", "whole.h5ad", &[]));
    place.succeed(&impute("genes", "latent.h5ad", &["--latent-only"]));
    let code = |name: &str| {
        let file = unlocked().open(place.path(name)).unwrap();
        file.dataset("obsm/X_late").unwrap().read_raw::<f32>().unwrap()
    };
    assert_eq!(code("whole.h5ad"), code("latent.h5ad"));
    let file = unlocked().open(place.path("latent.h5ad")).unwrap();
    assert!(file.group("X").is_err() && file.group("layers").is_err());
    place.fail_with(2, &impute("genes", "x.h5ad", &["--latent-only", "--policy", "max"]), &["--policy"]);
}

#[test]
fn a_finished_shard_is_skipped_and_another_is_not_replaced() {
    let place = workplace(&["genes"]);
    place.succeed(&impute("genes", "out.h5ad", &["--shard", "1/2"]));
    let path = place.path(&shard_name(1, 2));
    let written = || path.metadata().unwrap().modified().unwrap();
    let before = written();
    let run = place.succeed(&impute("genes", "out.h5ad", &["--shard", "1/2"]));
    assert!(run.stdout.contains("done"), "{}", run.stdout);
    assert_eq!(written(), before);
    let other = impute("genes", "out.h5ad", &["--shard", "1/2", "--policy", "max"]);
    place.fail(&other, &["another policy", "--force"]);
    place.succeed(&[&other[..], &["--force"]].concat());
    assert_ne!(written(), before);
    std::fs::write(&path, "something else").unwrap();
    place.fail(&impute("genes", "out.h5ad", &["--shard", "1/2"]), &["exists already"]);
}

#[test]
fn shards_of_slurm_tasks_need_their_variables() {
    let place = workplace(&["genes"]);
    place.fail_with(
        2,
        &impute("genes", "out.h5ad", &["--shard", "slurm"]),
        &["SLURM_ARRAY_TASK_ID", "not set"],
    );
    place.fail_with(2, &impute("genes", "out.h5ad", &["--shard", "3/2"]), &["number/count"]);
}

#[test]
fn what_does_not_belong_together_is_not_merged() {
    let place = workplace(&["genes"]);
    let (one, two, three) = (shard_name(1, 3), shard_name(2, 3), shard_name(3, 3));
    for shard in ["1/3", "2/3", "3/3"] {
        place.succeed(&impute("genes", "out.h5ad", &["--shard", shard]));
    }
    let other = |name: &str, arguments: &[&str]| {
        std::fs::create_dir_all(place.path("other")).unwrap();
        place.succeed(arguments);
        let path = place.path("other").join(&two);
        std::fs::rename(path, place.path(name)).unwrap();
    };
    let shard = ["--shard", "2/3"];
    other("max.h5ad", &impute("genes", "other/out.h5ad", &[&shard[..], &["--policy", "max"]].concat()));
    other("f16.h5ad", &impute("genes", "other/out.h5ad", &[&shard[..], &["--dtype", "f16"]].concat()));
    other("some.h5ad", &impute("genes", "other/out.h5ad", &[&shard[..], &["--genes", "genes.txt"]].concat()));
    other("latent.h5ad", &impute("genes", "other/out.h5ad", &[&shard[..], &["--latent-only"]].concat()));
    let train =
        ["train", "--h5", "in.h5", "--hidden", "16,6", "--epochs", "3", "--seed", "3", "--out", "seed3"];
    place.succeed(&train);
    other("seed3.h5ad", &impute("seed3", "other/out.h5ad", &shard));
    let mut rows = counts(CELLS, GENES, 5);
    rows[20][0].1 += 1.0;
    write_tenx(&place.path("new.h5"), &rows, GENES);
    let input = ["impute", "--model", "genes", "--input", "new.h5", "--out", "other/out.h5ad"];
    other("input.h5ad", &[&input[..], &shard].concat());
    place.succeed(&impute("genes", "out.h5ad", &["--shard", "1/2"]));
    place.succeed(&impute("genes", "plain.h5ad", &[]));

    let refuse = |shards: &[&str], parts: &[&str]| {
        place.fail(&[&["merge", "all.h5ad"], shards].concat(), parts);
    };
    refuse(&[&one, &three], &["no shard 2", &one]);
    refuse(&[&one, &two, &two, &three], &["number 2 again", &two]);
    refuse(&[&one, &two, &three, &shard_name(1, 2)], &["of 2"]);
    refuse(&[&one, "max.h5ad", &three], &["policy", "max.h5ad"]);
    refuse(&[&one, "f16.h5ad", &three], &["--dtype", "f16.h5ad"]);
    refuse(&[&one, "some.h5ad", &three], &["--genes", "some.h5ad"]);
    refuse(&[&one, "latent.h5ad", &three], &["--latent-only", "latent.h5ad"]);
    refuse(&[&one, "seed3.h5ad", &three], &["model", "seed3.h5ad"]);
    refuse(&[&one, "input.h5ad", &three], &["input", "input.h5ad"]);
    refuse(&[&one, "plain.h5ad", &three], &["the manifest of a shard", "plain.h5ad"]);
    refuse(&[&one, "nothing.h5ad", &three], &["nothing.h5ad", "check the path"]);
    place.fail_with(2, &["merge", &one, &one, &two, &three, "--force"], &["which is read"]);
    let merge = ["merge", "all.h5ad", &two, &one, &three];
    place.succeed(&merge);
    place.fail(&merge, &["exists already"]);
    place.succeed(&[&merge[..], &["--force"]].concat());
}

/// A byte of every object is flipped.
#[test]
fn damaged_shards_are_not_merged() {
    let place = workplace(&["genes"]);
    for shard in ["1/2", "2/2"] {
        place.succeed(&impute("genes", "out.h5ad", &["--shard", shard]));
    }
    let (one, two) = (shard_name(1, 2), shard_name(2, 2));
    let path = place.path(&two);
    let whole = std::fs::read(&path).unwrap();
    let places: Vec<(String, u64)> = {
        let file = unlocked().open(&path).unwrap();
        let raw = std::fs::File::open(&path).unwrap();
        let find = |text: &[u8]| whole.windows(text.len()).position(|window| window == text).unwrap() as u64;
        let offset = |name: &str| {
            let dataset = file.dataset(name).unwrap();
            let first = dataset.offset().or_else(|| Some(dataset.chunk_info(0)?.addr));
            let mut byte = [0];
            raw.read_exact_at(&mut byte, first.unwrap()).unwrap();
            (name.to_owned(), first.unwrap() + 40)
        };
        let mut places: Vec<_> =
            ["layers/late", "obsm/X_late", "X/data", "X/indices", "X/indptr", "var/late_imputed"]
                .into_iter()
                .map(offset)
                .collect();
        places.push(("obs".into(), find(b"cell599") + 6));
        places.push(("var".into(), find(b"gene529") + 6));
        places.push(("uns/late_fast/shard".into(), find(b"\"tile\":[") + 8));
        places
    };
    for (object, at) in places {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).unwrap()] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        place.fail(&["merge", "all.h5ad", &one, &two], &[&two]);
        println!("{object}: refused");
    }
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    place.fail(&["merge", "all.h5ad", &one, &two], &[&two]);
    std::fs::write(&path, whole).unwrap();
    place.succeed(&["merge", "all.h5ad", &one, &two]);
}

/// Strings of which one shard has few and another many, missing values, and categories.
#[test]
fn columns_of_every_kind_are_put_together_again() {
    let place = workplace(&["genes"]);
    place.succeed(&impute("genes", "in.h5ad", &[]));
    let file = unlocked().open_rw(place.path("in.h5ad")).unwrap();
    let obs = file.group("obs").unwrap();
    let text = |i: usize| if i < 300 { "same".to_owned() } else { format!("own{i}") };
    common::files::write_texts(&obs, "mixed", &(0..CELLS).map(text).collect::<Vec<_>>());
    common::files::write_texts(&obs, "few", &(0..CELLS).map(|i| format!("{}", i / 200)).collect::<Vec<_>>());
    let nullable = obs.create_group("gaps").unwrap();
    common::files::attribute(&nullable, "encoding-type", "nullable-integer");
    common::files::write(&nullable, "values", &(0..CELLS as i64).collect::<Vec<_>>());
    common::files::write(&nullable, "mask", &(0..CELLS).map(|i| i == 500).collect::<Vec<_>>());
    common::files::write(&obs, "real", &(0..CELLS).map(|i| i as f64 / 7.0).collect::<Vec<_>>());
    obs.attr("column-order").unwrap();
    obs.delete_attr("column-order").unwrap();
    drop((obs, nullable));
    file.close().unwrap();
    let impute = |more: &[&str]| {
        let arguments = ["impute", "--model", "genes", "--input", "in.h5ad", "--out"];
        place.succeed(&[&arguments[..], more].concat());
    };
    impute(&["whole.h5ad"]);
    for shard in ["1/3", "2/3", "3/3"] {
        impute(&["out.h5ad", "--shard", shard]);
    }
    place.succeed(&["merge", "out.h5ad", &shard_name(1, 3), &shard_name(2, 3), &shard_name(3, 3)]);
    assert_same(&place, "whole.h5ad", "out.h5ad", "columns");
    let listing = content(&place.path("out.h5ad")).join("\n");
    assert!(listing.contains("/obs/gaps/mask") && listing.contains("/obs/mixed"));
}

/// The commands of the Slurm scripts, run as plain background processes with the variables that Slurm sets.
#[test]
fn the_slurm_scripts_do_what_one_run_does() {
    let place = workplace(&["genes"]);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm");
    let binary = Path::new(env!("CARGO_BIN_EXE_late-fast")).parent().unwrap();
    let path = std::env::join_paths(
        [binary.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let command = |script: &str| {
        let mut command = Command::new("bash");
        command.arg(scripts.join(script)).current_dir(place.path("."));
        command.env("PATH", path.as_ref().unwrap()).env("SLURM_CPUS_PER_TASK", "1");
        command.envs([("INPUT", "in.h5"), ("MODEL", "genes"), ("OUT", "out.h5ad"), ("CACHE", ".")]);
        command.env("GENES", "genes.txt");
        command
    };
    // Twice, as when an array is submitted again because some tasks failed.
    for _ in 0..2 {
        let tasks: Vec<_> = (11..=13)
            .map(|task: u32| {
                let mut command = command("impute.sbatch");
                command.env("SLURM_ARRAY_TASK_ID", task.to_string());
                for (name, value) in [("MIN", "11"), ("MAX", "13"), ("STEP", "1"), ("COUNT", "3")] {
                    command.env(format!("SLURM_ARRAY_TASK_{name}"), value);
                }
                command.spawn().unwrap()
            })
            .collect();
        for mut task in tasks {
            assert!(task.wait().unwrap().success());
        }
    }
    assert!(command("merge.sbatch").status().unwrap().success());
    place.succeed(&impute("genes", "whole.h5ad", &["--genes", "genes.txt"]));
    assert_same(&place, "whole.h5ad", "out.h5ad", "slurm");
}
