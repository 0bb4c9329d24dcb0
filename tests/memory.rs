//! Memory does not grow with the number of cells.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::binary::Workplace;

const MIB: u64 = 1 << 20;

/// What the kernel counted during a run, in bytes: own memory, and mapped files.
fn train(place: &Workplace, window: &str) -> [u64; 2] {
    let run = place.succeed(&[
        "train",
        "--h5",
        "in.h5",
        "--hidden",
        "4",
        "--epochs",
        "1",
        "--cache",
        "cache",
        "--out",
        "in.late",
        "--shuffle-window",
        window,
        "--force",
        "--json",
    ]);
    let trained: serde_json::Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(trained["event"], "trained");
    ["peak_anonymous_bytes", "peak_mapped_bytes"].map(|key| trained[key].as_u64().unwrap())
}

#[test]
fn a_matrix_is_mapped_window_by_window() {
    if !cfg!(target_os = "linux") {
        println!("SKIPPED a_matrix_is_mapped_window_by_window: only Linux tells what is mapped");
        return;
    }
    let place = Workplace::new();
    std::fs::create_dir(place.path("cache")).unwrap();
    let simulate = |cells: &str| {
        let shape = ["--cells", cells, "--genes", "2000", "--density", "0.25", "--force"];
        place.succeed(&[&["simulate", "in.h5"], &shape[..]].concat());
    };
    simulate("8000");
    let [own_of_few, _] = train(&place, "1000000");
    simulate("64000");
    let entries = 64_000 * 2000 / 4;
    let [own, all_mapped] = train(&place, "67108864");
    let [own_in_windows, mapped] = train(&place, "1000000");
    // 3 bytes an entry at least; one window and the one after are 6 MB.
    assert!(all_mapped > 3 * entries, "{all_mapped}");
    assert!(mapped < all_mapped - 2 * entries, "{mapped} of {all_mapped} are mapped");
    // Names and sums of 56,000 cells, and blocks that wait for each other on a busy machine: far less than the entries.
    for own in [own, own_in_windows] {
        assert!(own < own_of_few + 56 * MIB, "{own_of_few} of own memory became {own}");
    }
}
