//! HDF5 files changed object by object, given to the real binary: it reads them or says what is wrong, in bounded time
//! and memory, and opens no other file.
//!
//! What would be followed leads to a named pipe, on which whoever opens it hangs. Some changes are tried each time, others
//! every day; `LATE_FAST_MUTATIONS=all` tries every one, and so many random bytes of whole files as a number says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::binary::Workplace;
use common::counts::unlocked;
use common::files::{fixture, stored_elements};
use targets::mutate::{self, Change, Place};

/// What a run may map at most: the program itself takes a third of it.
const MOST_VIRTUAL_KIB: u64 = 700 << 10;
const MEMORY: &str = "256M";
const LONGEST: Duration = Duration::from_secs(10);
/// Changes of structure and of bytes that are tried in the usual test.
const STRUCTURES: usize = 400;
const BYTES: usize = 100;

/// What is said of a process that a signal ended.
const SIGNAL: &str = "ended by a signal";

/// One deterministic generator.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % n.max(1)
    }
}

/// A number that changes from day to day.
fn today() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400
}

/// What `LATE_FAST_MUTATIONS` asks for.
fn wanted(usual: usize) -> usize {
    match std::env::var("LATE_FAST_MUTATIONS").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number.parse().unwrap(),
        Err(_) => usual,
    }
}

/// How a run ended.
struct End {
    code: Option<i32>,
    stderr: String,
}

/// Runs the program within limits of time and address space.
fn run(dir: &Path, arguments: &[&str]) -> End {
    let words = dir.join("words");
    let limited = format!("ulimit -v {MOST_VIRTUAL_KIB}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_late-fast")])
        .args(arguments)
        .args(["--threads", "1", "--memory", MEMORY])
        .current_dir(dir)
        // Address space that these libraries set aside for every core.
        .env("MALLOC_ARENA_MAX", "2")
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("HDF5_PLUGIN_PATH", dir.join("plugins"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&words).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let mut stderr = String::from_utf8_lossy(&std::fs::read(&words).unwrap()).into_owned();
            if status.code().is_none() {
                stderr.push_str(SIGNAL);
            }
            return End { code: status.code(), stderr };
        }
        if begin.elapsed() > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            return End { code: None, stderr: format!("it took more than {LONGEST:?}") };
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What is wrong with how the program took `input`, if anything.
fn verdict(dir: &Path, input: &str) -> Result<End, String> {
    let mut end = run(dir, &["inspect", input]);
    // What can be inspected is written out, too, and a plan made for it.
    for more in [&["convert", input, "out.h5ad", "--force"][..], &["train", "--h5", input, "--dry-run"]] {
        if end.code == Some(0) {
            end = run(dir, more);
        }
    }
    let left: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let left = left.iter().find(|name| name.to_string_lossy().contains(".tmp"));
    let is_told = end.code == Some(0) || end.stderr.contains("error: ");
    match end.code {
        Some(0..=2) if is_told && left.is_none() && !end.stderr.contains("panicked") => Ok(end),
        code => Err(format!("code {code:?}, {left:?} left: {}", end.stderr)),
    }
}

/// A directory with a pipe in it on which whoever opens it hangs.
fn workplace() -> Workplace {
    let place = Workplace::new();
    assert!(Command::new("mkfifo").arg(place.path("elsewhere.h5")).status().unwrap().success());
    place
}

/// The files that are changed, by what they are called.
fn inputs(dir: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for layout in 0..=7 {
        for chunked in [false, true] {
            let path = dir.join(format!("layout-{layout}-{chunked}.h5"));
            targets::write_layout(&path, layout, chunked);
            paths.push(path);
        }
    }
    paths
        .extend(["loom/v3.loom", "pandas/blosc_9.hd5", "pandas/plain.hd5", "evaluate/input.h5"].map(fixture));
    paths
}

/// Tries each of `cases` on one of the threads and gathers what went wrong.
fn try_all<T: Sync>(cases: &[T], attempt: impl Fn(&Workplace, &T) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().min(4));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let place = workplace();
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = attempt(&place, case) {
                        // A run over all cases takes an hour: it need not end to tell.
                        println!("{failure}");
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// A random part of `all`, which begins elsewhere every day.
fn some<T>(mut all: Vec<T>, wanted: usize) -> Vec<T> {
    if wanted < all.len() {
        let mut random = Random(today().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for at in 0..wanted {
            let other = at + random.below(all.len() - at);
            all.swap(at, other);
        }
        all.truncate(wanted);
    }
    all
}

/// Changes a copy of `input` at the path `to`; whether the change makes sense there.
fn change(input: &Path, to: &Path, place: &Place, change: Change, elsewhere: &Path) -> bool {
    std::fs::copy(input, to).unwrap();
    let file = unlocked().open_rw(to).unwrap();
    let mut random = Random(7 + today());
    let changed = mutate::apply(&file, place, change, elsewhere, &mut |n| random.below(n));
    file.close().unwrap();
    if changed && change == Change::UnknownFilter {
        let mut bytes = std::fs::read(to).unwrap();
        mutate::patch_filters(&mut bytes);
        std::fs::write(to, bytes).unwrap();
    }
    changed
}

#[test]
fn every_object_and_attribute_may_be_anything() {
    let dir = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    for path in inputs(dir.path()) {
        let file = unlocked().open(&path).unwrap();
        for place in mutate::places(&file) {
            cases.extend(mutate::changes().into_iter().map(|change| (path.clone(), place.clone(), change)));
        }
    }
    let cases = some(cases, wanted(STRUCTURES));
    let tried = AtomicUsize::new(0);
    try_all(&cases, |workplace, (input, place, how)| {
        let to = workplace.path("in.h5");
        if !change(input, &to, place, *how, &workplace.path("elsewhere.h5")) {
            return Ok(());
        }
        tried.fetch_add(1, Ordering::Relaxed);
        let case = format!("{} {place:?} {how:?}", input.display());
        let end = verdict(&workplace.path(""), "in.h5").map_err(|failure| format!("{case}: {failure}"))?;
        if end.code != Some(0) && !end.stderr.contains("in.h5: ") && !end.stderr.contains("memory") {
            return Err(format!("{case}: the file is not named: {}", end.stderr));
        }
        Ok(())
    });
    println!("{} of {} changes made sense", tried.into_inner(), cases.len());
}

#[test]
fn stored_bytes_may_be_anything() {
    let dir = tempfile::tempdir().unwrap();
    let inputs: Vec<_> = inputs(dir.path())
        .into_iter()
        .map(|path| (stored_elements(&path).into_iter().flatten().collect(), path))
        .collect();
    let mut random = Random(today() | 1);
    let n = wanted(BYTES).min(20_000);
    let cases: Vec<(PathBuf, usize, u8)> = (0..n)
        .map(|_| {
            let (places, path): &(Vec<usize>, PathBuf) = &inputs[random.below(inputs.len())];
            (path.clone(), places[random.below(places.len())], u8::try_from(1 + random.below(255)).unwrap())
        })
        .collect();
    try_all(&cases, flip);
}

/// Bytes of `pandas/plain.hd5` with which libhdf5 1.10.8 ends the process: lengths of an attribute's parts, its name's end, its
/// version, type and shape.
const FATAL: [usize; 20] = [
    837, 877, 879, 925, 2093, 2181, 2224, 2226, 2228, 2243, 2248, 2252, 2256, 5234, 5346, 5786, 6370, 6834,
    7004, 7017,
];

#[test]
fn damaged_attributes_are_refused() {
    let input = fixture("pandas/plain.hd5");
    try_all(&FATAL, |place, at| {
        for change in [0x80_u8, 0xff] {
            let mut bytes = std::fs::read(&input).unwrap();
            bytes[*at] ^= change;
            std::fs::write(place.path("in.h5"), bytes).unwrap();
            let end = verdict(&place.path(""), "in.h5").map_err(|failure| format!("byte {at}: {failure}"))?;
            if end.code != Some(1) || !end.stderr.contains("in.h5: ") || !end.stderr.contains('@') {
                return Err(format!("byte {at} ^ {change}: {:?} {}", end.code, end.stderr));
            }
        }
        Ok(())
    });
}

/// libhdf5 does not look whether the reference of a single string leads anywhere.
#[test]
fn a_single_string_that_is_nowhere_is_refused() {
    let place = workplace();
    let mut bytes = std::fs::read(fixture("loom/v3.loom")).unwrap();
    // Of `attrs/LOOM_SPEC_VERSION`, the number in its heap.
    bytes[11_525] ^= 0xac;
    std::fs::write(place.path("in.h5"), bytes).unwrap();
    let end = verdict(&place.path(""), "in.h5").unwrap();
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(end.stderr.contains("in.h5: attrs/LOOM_SPEC_VERSION"), "{}", end.stderr);
}

/// Any byte of a file may be damaged. Where that ends in libhdf5, which no program above it can help, nothing is left
/// behind; otherwise it is as with any other damage.
#[test]
fn header_bytes_end_no_worse_than_libhdf5_does() {
    let dir = tempfile::tempdir().unwrap();
    let inputs: Vec<_> =
        inputs(dir.path()).into_iter().map(|path| (std::fs::metadata(&path).unwrap().len(), path)).collect();
    let mut random = Random(today() | 1);
    let n = wanted(BYTES).min(20_000);
    let cases: Vec<(PathBuf, usize, u8)> = (0..n)
        .map(|_| {
            let (length, path) = &inputs[random.below(inputs.len())];
            let at = random.below(usize::try_from(*length).unwrap());
            (path.clone(), at, u8::try_from(1 + random.below(255)).unwrap())
        })
        .collect();
    let crashes = AtomicUsize::new(0);
    try_all(&cases, |place, case| match flip(place, case) {
        Err(failure) if failure.contains(SIGNAL) && !failure.contains("panicked") => {
            println!("{failure}");
            crashes.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        outcome => outcome,
    });
    println!("{} of {n} ended in libhdf5", crashes.into_inner());
}

/// Changes one byte of a file.
fn flip(place: &Workplace, (input, at, change): &(PathBuf, usize, u8)) -> Result<(), String> {
    let mut bytes = std::fs::read(input).unwrap();
    bytes[*at] ^= change;
    std::fs::write(place.path("in.h5"), bytes).unwrap();
    let case = format!("{} byte {at} ^ {change}", input.display());
    verdict(&place.path(""), "in.h5").map(drop).map_err(|failure| format!("{case}: {failure}"))
}
