//! Full disks and failing ones: every system call that matters fails once, and nothing is lost.
//!
//! `faults/inject.c` makes call number k fail. Whatever call it is, the run ends with a clear error (or does without), leaves
//! nothing that is half written, and succeeds when it is repeated. `LATE_FAST_FAULTS=all` (`scripts/nightly`) tries every k
//! until a run makes no more calls; otherwise some of each run are tried, others every day.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::binary::Workplace;
use common::content::files_in;
use common::counts::{counts, write_tenx};

/// A command, and what else it may need to go on after a failure.
struct Job {
    name: &'static str,
    arguments: &'static [&'static str],
    retry: &'static [&'static str],
}

const GENES: usize = 60;
/// A failure after the last rename leaves a whole file, which is not replaced without it.
const FORCE: &[&str] = &["--force"];

const JOBS: [Job; 5] = [
    Job {
        name: "train",
        arguments: &[
            "train",
            "--h5",
            "in.h5",
            "--features",
            "cells",
            "--hidden",
            "8,4",
            "--epochs",
            "3",
            "--out",
            "out.late",
            "--cache",
            "cache",
            "--checkpoint-interval",
            "1us",
            "--lr",
            "3e-3",
        ],
        retry: &["--resume"],
    },
    Job {
        name: "impute",
        arguments: &["impute", "--model", "model.late", "--input", "in.h5", "--out", "out.h5ad"],
        retry: FORCE,
    },
    Job {
        name: "shard",
        arguments: &[
            "impute",
            "--model",
            "model.late",
            "--input",
            "in.h5",
            "--out",
            "out.h5ad",
            "--shard",
            "1/1",
        ],
        retry: FORCE,
    },
    Job { name: "merge", arguments: &["merge", "out.h5ad", "one.shard-0001-of-0001.h5ad"], retry: FORCE },
    Job {
        name: "simulate",
        arguments: &["simulate", "out.h5", "--cells", "50", "--genes", "60", "--density", "0.1"],
        retry: FORCE,
    },
];

/// Calls of a job that are tried in the usual test.
const MOST_TRIED: usize = 50;

/// A number that changes from day to day.
fn today() -> usize {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    usize::try_from(seconds / 86_400).unwrap()
}

/// Inputs of all jobs; each is then run in a copy.
fn inputs() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(40, GENES, 1), GENES);
    let train = ["train", "--h5", "in.h5", "--hidden", "8,4", "--epochs", "2", "--out", "model.late"];
    place.succeed(&train);
    let shard =
        ["impute", "--model", "model.late", "--input", "in.h5", "--out", "one.h5ad", "--shard", "1/1"];
    place.succeed(&shard);
    std::fs::create_dir(place.path("cache")).unwrap();
    place
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Builds the library that makes calls fail.
fn library(dir: &Path) -> PathBuf {
    let library = dir.join("inject.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/inject.c");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let built =
        Command::new(compiler).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.unwrap().success(), "the C compiler failed");
    library
}

struct Injection<'a> {
    library: &'a Path,
    kind: &'static str,
}

impl Injection<'_> {
    /// Runs `arguments` in `place`, where call number `at` fails (0: none); also returns how many were made.
    fn run(&self, place: &Workplace, arguments: &[&str], at: usize) -> (Output, usize) {
        let counter = tempfile::NamedTempFile::new().unwrap();
        let dir = place.path("").canonicalize().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_late-fast"))
            .args(arguments)
            .args(["--threads", "1"])
            .current_dir(&dir)
            .env("LD_PRELOAD", self.library)
            .env("FAULT_KIND", self.kind)
            .env("FAULT_DIR", &dir)
            .env("FAULT_AT", at.to_string())
            .env("FAULT_COUNT", counter.path())
            .output()
            .unwrap();
        let calls = std::fs::read_to_string(counter.path()).unwrap().parse().unwrap_or(0);
        (output, calls)
    }
}

fn check(job: &Job, injection: &Injection<'_>, inputs: &Workplace) {
    let fresh = || {
        let place = Workplace::new();
        copy(&inputs.path(""), &place.path(""));
        place
    };
    let place = fresh();
    let (output, calls) = injection.run(&place, job.arguments, 0);
    assert!(output.status.success(), "{}: {}", job.name, String::from_utf8_lossy(&output.stderr));
    assert!(calls > 10, "{} {}: only {calls} calls were seen", job.name, injection.kind);
    let expected = files_in(&place.path(""));
    let step = if std::env::var_os("LATE_FAST_FAULTS").is_some() { 1 } else { calls.div_ceil(MOST_TRIED) };
    let next = AtomicUsize::new(1 + today() % step);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(step, Ordering::Relaxed);
                    if at > calls {
                        break;
                    }
                    strike(job, injection, &fresh(), at, &expected);
                }
            });
        }
    });
}

/// Lets call number `at` fail, looks at what is left, and repeats the command.
fn strike(
    job: &Job,
    injection: &Injection<'_>,
    place: &Workplace,
    at: usize,
    expected: &[(String, Vec<String>)],
) {
    let case = format!("{} {} {at}", job.name, injection.kind);
    let (output, _) = injection.run(place, job.arguments, at);
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(1) => assert!(stderr.contains("error: "), "{case}: no error is told: {stderr}"),
        _ => panic!("{case}: {:?} {stderr}", output.status),
    }
    assert!(!stderr.contains("panicked"), "{case}: {stderr}");
    if injection.kind == "short" {
        assert!(output.status.success(), "{case}: {stderr}");
    }
    for (name, content) in files_in(&place.path("")) {
        assert!(!name.contains(".tmp"), "{case}: {name} is left behind");
        let whole = expected.iter().find(|(other, _)| *other == name).map(|(_, whole)| whole);
        // Checkpoints are gone from a finished run; that they are whole is shown by going on from them.
        assert!(
            whole == Some(&content) || name.contains("checkpoint-"),
            "{case}: {name} is not what it should be"
        );
    }
    if !output.status.success() {
        let again = place.run(&[job.arguments, job.retry].concat());
        assert_eq!(again.code, Some(0), "{case}, repeated: {}", again.stderr);
    }
    let found = files_in(&place.path(""));
    let names =
        |files: &[(String, Vec<String>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(expected), "{case}, repeated");
    assert!(found == expected, "{case}, repeated: other results");
}

fn check_all(kind: &'static str) {
    if !cfg!(all(target_os = "linux", target_env = "gnu")) {
        println!("SKIPPED {kind}: calls are made to fail through glibc's names for them");
        return;
    }
    let inputs = inputs();
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path());
    for job in &JOBS {
        check(job, &Injection { library: &library, kind }, &inputs);
    }
}

#[test]
fn a_disk_that_is_full_from_any_call_on() {
    check_all("nospace");
}

#[test]
fn an_error_of_the_disk_at_any_call() {
    check_all("io");
}

#[test]
fn reads_and_writes_that_stop_half_way() {
    check_all("short");
}
