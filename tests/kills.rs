//! Runs that are killed at any moment (SIGKILL) and started again end with the bits of a run that was left alone.
//!
//! `LATE_FAST_KILL_ROUNDS` sets the number of kills for every kind of work (`scripts/nightly`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::binary::Workplace;
use common::content::files_in;
use common::counts::{counts, write_tenx};

const GENES: usize = 400;
const DEFAULT_ROUNDS: usize = 2;

/// Commands, in order, each of which may be repeated until it succeeds.
type Work = &'static [&'static [&'static str]];

/// Unpacking and transposing are part of training and imputing with cells as features.
const WORKS: [(&str, Work); 5] = [
    (
        "training",
        &[&[
            "train",
            "--h5",
            "in.h5",
            "--hidden",
            "100,20",
            "--epochs",
            "6",
            "--batch-size",
            "16",
            "--out",
            "out.late",
            "--checkpoint-interval",
            "1ms",
            "--resume",
        ]],
    ),
    (
        "unpacking and transposing",
        &[&[
            "train",
            "--h5",
            "in.h5",
            "--features",
            "cells",
            "--hidden",
            "8,4",
            "--epochs",
            "1",
            "--out",
            "out.late",
            "--cache",
            "cache",
            "--resume",
        ]],
    ),
    (
        "imputing",
        &[&[
            "impute",
            "--model",
            "cells.late",
            "--input",
            "in.h5",
            "--out",
            "out.h5ad",
            "--cache",
            "cache",
            "--force",
        ]],
    ),
    (
        "shards and merging",
        &[
            &["impute", "--model", "model.late", "--input", "in.h5", "--out", "out.h5ad", "--shard", "1/2"],
            &["impute", "--model", "model.late", "--input", "in.h5", "--out", "out.h5ad", "--shard", "2/2"],
            &["merge", "out.h5ad", "out.shard-0001-of-0002.h5ad", "out.shard-0002-of-0002.h5ad", "--force"],
        ],
    ),
    (
        "simulating",
        &[&["simulate", "out.h5", "--cells", "3000", "--genes", "400", "--density", "0.2", "--force"]],
    ),
];

fn inputs(place: &Workplace) {
    write_tenx(&place.path("in.h5"), &counts(600, GENES, 1), GENES);
    for (features, out) in [("genes", "model.late"), ("cells", "cells.late")] {
        let train = ["train", "--h5", "in.h5", "--hidden", "8,4", "--epochs", "1"];
        place.succeed(&[&train[..], &["--features", features, "--out", out]].concat());
    }
    std::fs::create_dir(place.path("cache")).unwrap();
}

/// Numbers from 0 to 1 that differ from run to run: every run of the test looks at other moments.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(u64::from(now.subsec_nanos()) | 1)
    }

    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn remove_outputs(place: &Workplace) {
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("out.") || name.starts_with(".out.") || name == "cache" {
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.unwrap();
        }
    }
    std::fs::create_dir(place.path("cache")).unwrap();
}

#[test]
fn killed_work_that_is_repeated_ends_with_the_same_bits_and_leaves_nothing_behind() {
    let rounds =
        std::env::var("LATE_FAST_KILL_ROUNDS").map_or(DEFAULT_ROUNDS, |rounds| rounds.parse().unwrap());
    let place = Workplace::new();
    inputs(&place);
    let mut moments = Moments::new();
    let mut kills = 0;
    for (name, work) in WORKS {
        remove_outputs(&place);
        let started = Instant::now();
        for command in work {
            place.succeed(command);
        }
        let typical = started.elapsed();
        let expected = files_in(&place.path(""));
        let mut killed = 0;
        while killed < rounds {
            remove_outputs(&place);
            // One that is killed before it ends is started again, up to three times.
            let mut deadly: Vec<Duration> = (0..3).map(|_| typical.mul_f64(moments.next())).collect();
            for command in work {
                loop {
                    let mut child = place.start(command);
                    let Some(delay) = deadly.pop() else {
                        assert!(
                            child.wait().unwrap().success(),
                            "{name}: {command:?} fails after it was killed"
                        );
                        break;
                    };
                    std::thread::sleep(delay);
                    if child.try_wait().unwrap().is_none() {
                        child.kill().unwrap();
                        killed += 1;
                    }
                    // Killed too late is done, and not to be repeated where that would be refused.
                    if child.wait().unwrap().success() {
                        break;
                    }
                }
            }
            let found = files_in(&place.path(""));
            let names =
                |files: &[(String, Vec<String>)]| files.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
            assert_eq!(names(&found), names(&expected), "{name}: other files after {killed} kills");
            assert!(found == expected, "{name}: other bits after {killed} kills");
        }
        kills += killed;
    }
    println!("{kills} kills, no result lost");
}
