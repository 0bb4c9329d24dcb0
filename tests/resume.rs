//! Interrupted training goes on from its checkpoint and ends with the bits of a run that was not interrupted.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::binary::{Run, Workplace};
use common::content::files_in;
use common::counts::{counts, write_tenx};

const GENES: usize = 500;
const STOPPED: i32 = 75;

/// Arguments of a training run that takes seconds, but for what `more` says otherwise.
fn arguments<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--h5", "in.h5", "--out", out];
    let small = [("--hidden", "40,20"), ("--batch-size", "16"), ("--epochs", "12"), ("--lr", "3e-3")];
    for (option, value) in small {
        if !more.contains(&option) {
            arguments.extend([option, value]);
        }
    }
    arguments.extend(more);
    arguments
}

fn workplace() -> Workplace {
    let place = Workplace::new();
    write_tenx(&place.path("in.h5"), &counts(300, GENES, 1), GENES);
    place
}

fn signal(child: &Child, name: &str) {
    // The shell's own: a bare machine has no other.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(sent.success());
}

fn checkpoints(place: &Workplace, out: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.path(out)) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("checkpoint-")).collect();
    names.sort();
    names
}

/// Lets a run with frequent checkpoints get as far as its second one, then ends it with `how`.
fn interrupt(place: &Workplace, arguments: &[&str], out: &str, how: &str) -> Option<i32> {
    let mut child = place.start(arguments);
    while checkpoints(place, out).len() < 2 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, how);
    child.wait().unwrap().code()
}

#[test]
fn a_stopped_run_goes_on_with_the_same_bits() {
    let place = workplace();
    for more in [&[][..], &["--param-dtype", "bf16", "--features", "cells"], &["--shuffle-window", "2000"]] {
        place.succeed(&arguments("whole.late", &[more, &["--force"]].concat()));
        for how in ["TERM", "INT", "USR1", "KILL"] {
            let kept = [more, &["--checkpoint-interval", "1ms"]].concat();
            let code = interrupt(&place, &arguments("run.late", &kept), "run.late", how);
            assert_eq!(code, (how != "KILL").then_some(STOPPED), "{how} {more:?}");
            // The oldest goes once the newest is there: a kill can come between the two.
            let most = if how == "KILL" { 3 } else { 2 };
            assert!((1..=most).contains(&checkpoints(&place, "run.late").len()), "{how} {more:?}");
            let Run { stderr, .. } =
                place.succeed(&arguments("run.late", &[more, &["--resume", "--threads", "1"]].concat()));
            assert!(stderr.contains("going on in epoch"), "{stderr}");
            let (whole, resumed) = (files_in(&place.path("whole.late")), files_in(&place.path("run.late")));
            assert!(whole == resumed, "{how} {more:?}: the resumed run has other results");
            std::fs::remove_dir_all(place.path("run.late")).unwrap();
        }
    }
}

#[test]
fn a_signal_leaves_a_checkpoint_even_when_none_is_due() {
    let place = workplace();
    let never = arguments(
        "run.late",
        &["--checkpoint-interval", "never", "--epochs", "100000", "--patience", "100000"],
    );
    let log = place.path("log.txt");
    let mut command = Command::new(env!("CARGO_BIN_EXE_late-fast"));
    let command = command.args(&never).current_dir(place.path("")).stdout(Stdio::null());
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    // Before it trains, the signal would end the process: there is nothing to keep yet.
    while !std::fs::read_to_string(&log).unwrap().contains("epoch    1/") {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "USR1");
    assert_eq!(child.wait().unwrap().code(), Some(STOPPED));
    assert_eq!(checkpoints(&place, "run.late").len(), 1);
    place.fail_with(
        2,
        &arguments("run.late", &["--epochs", "9"]),
        &["did not finish", "--resume", "--force"],
    );
    let other = arguments("run.late", &["--resume", "--seed", "9"]);
    place.fail_with(2, &other, &["checkpoint-", "other settings"]);
    write_tenx(&place.path("in.h5"), &counts(300, GENES, 2), GENES);
    place.fail_with(2, &arguments("run.late", &["--resume"]), &["checkpoint-", "another matrix"]);
    place.succeed(&arguments("run.late", &["--force"]));
    assert!(checkpoints(&place, "run.late").is_empty());
}

#[test]
fn a_damaged_checkpoint_is_found_out_and_the_one_before_used() {
    let place = workplace();
    place.succeed(&arguments("whole.late", &[]));
    let kept = ["--checkpoint-interval", "1ms"];
    for cut in [false, true] {
        interrupt(&place, &arguments("run.late", &kept), "run.late", "TERM");
        let found = checkpoints(&place, "run.late");
        let [older, newest] = [&found[0], &found[1]].map(|name| place.path("run.late").join(name));
        let mut bytes = std::fs::read(&newest).unwrap();
        let middle = bytes.len() / 2;
        if cut {
            bytes.truncate(middle);
        } else {
            bytes[middle] ^= 1;
        }
        std::fs::write(&newest, &bytes).unwrap();
        let run = place.run(&arguments("run.late", &["--resume"]));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("damaged") && run.stderr.contains("the checkpoint before it"));
        assert!(files_in(&place.path("whole.late")) == files_in(&place.path("run.late")));

        // With none left that is whole there is an error, and nothing is lost.
        std::fs::remove_file(place.path("run.late/model.safetensors")).unwrap();
        std::fs::write(&older, &bytes[..middle / 2]).unwrap();
        place.fail(&arguments("run.late", &["--resume"]), &["checkpoint-", "damaged", "--force"]);
        std::fs::remove_dir_all(place.path("run.late")).unwrap();
    }
}

#[test]
fn a_finished_run_is_not_repeated_and_what_is_missing_is_made() {
    let place = workplace();
    place.succeed(&arguments("run.late", &["--resume"]));
    let before = std::fs::metadata(place.path("run.late/model.safetensors")).unwrap().modified().unwrap();
    let again = place.succeed(&arguments("run.late", &["--resume", "--impute", "out.h5ad"]));
    assert!(again.stderr.contains("trained already"), "{}", again.stderr);
    assert!(place.path("out.h5ad").exists());
    place.succeed(&arguments("run.late", &["--resume", "--impute", "out.h5ad"]));
    let after = std::fs::metadata(place.path("run.late/model.safetensors")).unwrap().modified().unwrap();
    assert_eq!(before, after);
    let other = arguments("run.late", &["--resume", "--seed", "9"]);
    place.fail_with(2, &other, &["other settings"]);
}

#[test]
fn a_run_that_replaces_a_model_goes_on_as_well() {
    let place = workplace();
    place.succeed(&arguments("run.late", &["--seed", "9"]));
    place.succeed(&arguments("whole.late", &[]));
    let old = std::fs::read(place.path("run.late/model.safetensors")).unwrap();
    let forced = arguments("run.late", &["--force", "--checkpoint-interval", "1ms"]);
    assert_eq!(interrupt(&place, &forced, "run.late", "TERM"), Some(STOPPED));
    assert!(old == std::fs::read(place.path("run.late/model.safetensors")).unwrap());
    let run = place.succeed(&arguments("run.late", &["--resume"]));
    assert!(run.stderr.contains("going on in epoch"), "{}", run.stderr);
    assert!(files_in(&place.path("whole.late")) == files_in(&place.path("run.late")));
}

#[test]
fn a_finished_run_is_of_its_matrix() {
    let place = workplace();
    place.succeed(&arguments("run.late", &[]));
    let resume = arguments("run.late", &["--resume"]);
    let impute = arguments("run.late", &["--resume", "--impute", "out.h5ad"]);
    // The same names: told once the counts are looked at.
    write_tenx(&place.path("in.h5"), &counts(300, GENES, 2), GENES);
    place.fail_with(2, &impute, &["run.late/model.safetensors", "another matrix", "--out"]);
    write_tenx(&place.path("in.h5"), &counts(299, GENES, 1), GENES);
    for again in [resume, impute] {
        place.fail_with(2, &again, &["run.late/model.safetensors", "another matrix", "--out"]);
    }
}

#[test]
fn two_networks_that_were_stopped_go_on_where_they_were() {
    let place = workplace();
    let both = |out, more: &[&'static str]| arguments(out, &[&["--features", "both"], more].concat());
    place.succeed(&both("whole.late", &[]));
    for part in ["genes", "cells"] {
        let kept = both("run.late", &["--checkpoint-interval", "1ms"]);
        assert_eq!(interrupt(&place, &kept, &format!("run.late/{part}"), "TERM"), Some(STOPPED), "{part}");
        let other = both("run.late", &["--resume", "--lr", "1e-3"]);
        place.fail_with(2, &other, &["run.late/genes/", "other settings"]);
        let run = place.succeed(&both("run.late", &["--resume"]));
        assert!(run.stderr.contains("going on in epoch"), "{part}: {}", run.stderr);
        assert_eq!(run.stderr.contains("trained already"), part == "cells", "{}", run.stderr);
        for dir in ["genes", "cells"] {
            let [whole, resumed] = ["whole.late", "run.late"].map(|run| files_in(&place.path(run).join(dir)));
            assert!(whole == resumed, "{dir} after a stop in {part}");
        }
        std::fs::remove_dir_all(place.path("run.late")).unwrap();
    }
    place.fail_with(2, &arguments("whole.late", &["--force"]), &["two networks", "--out"]);
    place.succeed(&arguments("one.late", &[]));
    place.fail_with(2, &both("one.late", &["--force"]), &["one network", "--out"]);
}

#[test]
fn arrays_in_files_give_the_same_bits() {
    let place = workplace();
    place.succeed(&arguments("memory.late", &["--hidden", "2000,40"]));
    let plan = place.succeed(&arguments("x.late", &["--hidden", "2000,40", "--dry-run", "--json"])).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let bytes = |key: &str| plan[key].as_u64().unwrap();
    let all = bytes("weight_bytes") + bytes("optimiser_bytes");
    let rest = bytes("minibatch_bytes") + bytes("window_bytes") + bytes("fixed_bytes");
    for (fits, kept) in [(all - 1, "copy of the best"), (bytes("narrow_bytes"), "weights and moments")] {
        let memory = (rest + fits).to_string();
        let run =
            place.succeed(&arguments("file.late", &["--hidden", "2000,40", "--memory", &memory, "--force"]));
        assert!(run.stderr.contains("memory is short") && run.stderr.contains(kept), "{}", run.stderr);
        assert!(files_in(&place.path("memory.late")) == files_in(&place.path("file.late")), "{kept}");
    }
}
