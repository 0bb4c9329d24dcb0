//! Choosing kernels from the command line: what is said about them, and what each choice does to results.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use late_fast_kernels::Isa;

const GENES: usize = 200;

fn workplace() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(150, GENES, 1), GENES);
    place
}

const TRAIN: &[&str] =
    &["train", "--h5", "in.h5", "--hidden", "30,10", "--epochs", "5", "--batch-size", "32", "--lr", "3e-3"];

#[test]
fn kernels_are_listed_and_timed() {
    let place = Workplace::new();
    let listed = place.succeed(&["kernels", "--list"]).stdout;
    for isa in Isa::available() {
        assert!(listed.contains(isa.name()), "{listed}");
    }
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let timed = place.succeed(&["kernels", "--features", "300", "--batch-size", "16", "--json"]).stdout;
    let rows: Vec<serde_json::Value> =
        timed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kernels: Vec<_> = rows.iter().filter(|row| row["event"] == "kernel").collect();
    assert_eq!(kernels.len(), 12, "three operations, two storages, two forms: {timed}");
    assert_eq!(kernels.iter().filter(|row| row["chosen"] == true).count(), 6, "one form of each: {timed}");
    assert!(kernels.iter().all(|row| row["gflops"].as_f64().unwrap() > 0.0), "{timed}");
    place.fail_with(2, &["kernels", "--density", "1e-9"], &["no entry", "--density"]);
    place.fail_with(2, &["kernels", "--density", "0"], &["--density must be above 0", "leave them out"]);
}

fn validation_error(place: &Workplace, more: &[&str]) -> f64 {
    let run = place.succeed(&[TRAIN, &["--json", "--force"], more].concat());
    let last: serde_json::Value =
        serde_json::from_str(run.stdout.lines().find(|line| line.contains("trained")).unwrap()).unwrap();
    last["validation_error"].as_f64().unwrap()
}

#[test]
fn every_choice_learns_the_same() {
    let place = workplace();
    let want = validation_error(&place, &[]);
    for dtype in ["f32", "bf16"] {
        for kernel in ["auto", "sparse", "dense"] {
            let got = validation_error(&place, &["--param-dtype", dtype, "--kernel", kernel]);
            let allowed = if dtype == "f32" { 1e-3 } else { 2e-2 };
            assert!((got - want).abs() <= allowed * want, "{dtype} {kernel}: {got}, f32 has {want}");
        }
    }
}

#[test]
fn half_precision_halves_the_plan_and_the_profile_names_every_phase() {
    let place = workplace();
    let plan = |dtype: &str| -> serde_json::Value {
        let run = place.succeed(&[TRAIN, &["--dry-run", "--json", "--param-dtype", dtype]].concat());
        serde_json::from_str(&run.stdout).unwrap()
    };
    let bytes = |dtype: &str| plan(dtype)["optimiser_bytes"].as_f64().unwrap();
    let share = bytes("bf16") / bytes("f32");
    // Rows of 30 are padded to 32, and the hidden layers stay as they are.
    assert!((0.5..0.65).contains(&share), "{share} of the memory");
    let told = place.succeed(&[TRAIN, &["--profile"]].concat()).stdout;
    for phase in ["gather", "encoder forward", "hidden layers", "decoder", "update", "validation", "idle"] {
        assert!(told.contains(phase), "{phase}: {told}");
    }
}

#[test]
fn sixteen_bit_products_are_used_where_there_is_amx() {
    let place = workplace();
    place.succeed(&[TRAIN, &["--param-dtype", "bf16"]].concat());
    let impute = |out: &'static str, products: &'static str| {
        ["impute", "--model", "in.late", "--input", "in.h5", "--out", out, "--products", products]
    };
    place.succeed(&impute("f32.h5ad", "f32"));
    if !Isa::Amx.is_available() {
        println!("SKIPPED sixteen_bit_products_are_used_where_there_is_amx: no AMX");
        place.fail_with(2, &impute("bf16.h5ad", "bf16"), &["needs AMX", "leave --products out"]);
        return;
    }
    place.succeed(&impute("bf16.h5ad", "bf16"));
    place.succeed(&impute("auto.h5ad", "auto"));
    let late = |name: &str| -> Vec<f32> {
        let file = common::counts::unlocked().open(place.path(name)).unwrap();
        file.dataset("layers/late").unwrap().read_raw().unwrap()
    };
    let (f32, bf16) = (late("f32.h5ad"), late("bf16.h5ad"));
    assert_eq!(bf16, late("auto.h5ad"), "a model trained in bf16 is multiplied in bf16");
    assert!(f32 != bf16, "the products are the same");
    for (at, (x, y)) in f32.iter().zip(&bf16).enumerate() {
        assert!((x - y).abs() <= 0.01 * x.max(0.1), "{at}: {x} in f32, {y} in bf16");
    }
}
