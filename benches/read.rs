//! Times reading of whole files, as a command that reads them would: `cargo bench --bench read -- FILE...`
//!
//! Prints, for each file, the shortest and the median time of some passes in milliseconds, the entries, and the most memory that
//! was resident until the first pass ended, of the whole program. Without files, reads one of the repository's.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use late_fast::io::{ReadOptions, open};

const PASSES: usize = 5;

fn main() {
    let mut files: Vec<PathBuf> =
        std::env::args_os().skip(1).filter(|argument| argument != "--bench").map(PathBuf::from).collect();
    if files.is_empty() {
        files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/pbmc3k_hg19.h5"));
    }
    for file in files {
        let mut times = Vec::new();
        let (mut nnz, mut peak) = (0, 0);
        for _ in 0..PASSES {
            let started = Instant::now();
            // Blocks come with every entry checked, in memory, as numbers.
            let read = open(&file, &ReadOptions::default()).and_then(|source| {
                source.for_each_block(&mut |block, _| {
                    black_box(&block);
                    Ok(())
                })
            });
            match read {
                Ok(tally) => nnz = tally.nnz,
                Err(error) => {
                    eprintln!("{error}");
                    std::process::exit(1);
                }
            }
            times.push(started.elapsed().as_secs_f64() * 1e3);
            if times.len() == 1 {
                peak = peak_kib();
            }
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{:9.1} {:9.1} ms {nnz:>10} entries {:>8.1} MB  {}",
            times[0],
            times[PASSES / 2],
            peak as f64 * 1024.0 / 1e6,
            file.display()
        );
    }
}

/// As Linux counts it; 0 elsewhere.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    value.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
