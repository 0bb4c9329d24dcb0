//! Times rows through criterion, and keeps what criterion does not: single iterations, flops and bytes, as a table
//! and, with `LATE_FAST_BENCH_CSV=path`, as CSV.
//!
//! `LATE_FAST_BENCH_PATIENCE=seconds` repeats samples during which other processes ran, for so long in all.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use late_fast::profile::Profile;
use late_fast_kernels::Isa;

/// Calls of the timer that criterion keeps; those before them are its warm-up.
pub const SAMPLE_SIZE: usize = 10;
/// Rows that others of the same bench, shape and threads are compared with.
const DENSE: &str = "dense_openblas";
const CSV_VARIABLE: &str = "LATE_FAST_BENCH_CSV";
const PATIENCE_VARIABLE: &str = "LATE_FAST_BENCH_PATIENCE";
const CSV_HEADER: &str =
    "date,cpu model,isa,threads,bench,row,shape,median_ms,min_ms,nnz_per_s,gflops,gbytes_per_s";

/// What one iteration has to do at least: see the README of the benches for the formulas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Stored entries of the minibatch; for rows without one, values.
    pub nnz: usize,
    /// Useful floating-point operations.
    pub flops: usize,
    /// Bytes that must be read and written once.
    pub bytes: usize,
}

/// A row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub bench: &'static str,
    pub name: String,
    pub shape: String,
    pub isa: Isa,
    pub threads: usize,
    pub cost: Cost,
}

/// One iteration.
#[derive(Clone, Copy, Debug)]
pub struct Iteration {
    pub time: Duration,
    /// Where a step's time went.
    pub profile: Profile,
}

impl Iteration {
    pub fn timed(work: impl FnOnce()) -> Self {
        let start = Instant::now();
        work();
        Self { time: start.elapsed(), profile: Profile::default() }
    }
}

struct Record {
    row: Row,
    median: f64,
    min: f64,
}

impl Record {
    fn csv(&self) -> String {
        let Self { row: Row { bench, name, shape, isa, threads, cost }, median, min } = self;
        let [nnz, gflops, gbytes] = rates(*cost, *median);
        let (date, cpu, median, min) = (date(), cpu_model(), 1e3 * median, 1e3 * min);
        format!(
            "{date},{cpu},{isa},{threads},{bench},{name},{shape},{median:.4},{min:.4},{nnz:.3e},{gflops:.2},{gbytes:.3}\n"
        )
    }
}

/// All rows of a run.
pub struct Report {
    records: Vec<Record>,
    /// Time left for repeating what was disturbed.
    patience: Duration,
    /// Samples kept, and those among them that were disturbed.
    samples: usize,
    disturbed: usize,
}

impl Default for Report {
    fn default() -> Self {
        let seconds = std::env::var(PATIENCE_VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
        let patience = Duration::from_secs(seconds.unwrap_or(0));
        Self { records: Vec::new(), patience, samples: 0, disturbed: 0 }
    }
}

/// Few and short samples: there are many rows.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(SAMPLE_SIZE)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

impl Report {
    /// Times `work`.
    pub fn measure(&mut self, c: &mut Criterion, row: Row, mut work: impl FnMut()) {
        self.measure_with(c, row, |n| (0..n).map(|_| Iteration::timed(&mut work)).collect());
    }

    /// Times what `iterate(n)` does n times. Returns the iterations that count.
    pub fn measure_with(
        &mut self,
        c: &mut Criterion,
        row: Row,
        mut iterate: impl FnMut(u64) -> Vec<Iteration>,
    ) -> Vec<Iteration> {
        let mut calls: Vec<Vec<Iteration>> = Vec::new();
        let mut group = c.benchmark_group(row.bench);
        group.throughput(Throughput::Elements(row.cost.nnz as u64)).sampling_mode(SamplingMode::Flat);
        let name = format!("{}/{}", row.name, row.threads);
        group.bench_function(BenchmarkId::new(name, &row.shape), |b| {
            b.iter_custom(|n| {
                let (iterations, disturbed) = undisturbed(&mut self.patience, || iterate(n));
                self.samples += 1;
                self.disturbed += usize::from(disturbed);
                let time = iterations.iter().map(|iteration| iteration.time).sum();
                calls.push(iterations);
                time
            });
        });
        group.finish();
        let kept = calls.split_off(calls.len().saturating_sub(SAMPLE_SIZE)).concat();
        self.add(row, kept.iter().map(|iteration| iteration.time));
        kept
    }

    /// Adds a row that was timed elsewhere, and appends it to the CSV file if one is wanted and this is no test. A row
    /// without times was filtered out.
    pub fn add(&mut self, row: Row, times: impl Iterator<Item = Duration>) {
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        if let Some(&min) = times.first() {
            let record = Record { row, median: times[times.len() / 2], min };
            if let (Some(path), false) = (std::env::var_os(CSV_VARIABLE), super::is_test()) {
                // At once: a run that is stopped keeps what it has.
                let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
                let is_new = file.metadata().unwrap().len() == 0;
                let header = if is_new { format!("{CSV_HEADER}\n") } else { String::new() };
                file.write_all((header + &record.csv()).as_bytes()).unwrap();
            }
            self.records.push(record);
        }
    }

    fn find(&self, bench: &str, name: &str, shape: &str, threads: usize) -> Option<&Record> {
        self.records.iter().find(|record| {
            let Row { bench: b, name: n, shape: s, threads: t, .. } = &record.row;
            (*b, n.as_str(), s.as_str(), *t) == (bench, name, shape, threads)
        })
    }

    /// How many times the second of two rows (name, shape, threads) goes into the first: by medians, and by minima.
    pub fn ratio(
        &self,
        bench: &str,
        slow: (&str, &str, usize),
        fast: (&str, &str, usize),
    ) -> Option<[f64; 2]> {
        let slow = self.find(bench, slow.0, slow.1, slow.2)?;
        let fast = self.find(bench, fast.0, fast.1, fast.2)?;
        Some([slow.median / fast.median, slow.min / fast.min])
    }

    /// Prints the table.
    pub fn finish(&self) {
        println!(
            "\n{:<28} {:<24} {:>2} {:<36} {:>10} {:>10} {:>9} {:>9} {:>9} {:>8}",
            "bench", "shape", "t", "row", "median ms", "min ms", "x dense", "M nnz/s", "GFLOP/s", "GB/s"
        );
        for Record { row, median, min } in &self.records {
            let dense = self.find(row.bench, DENSE, &row.shape, row.threads);
            let dense = dense.map_or(String::new(), |dense| format!("{:.2}", dense.median / median));
            let [nnz, gflops, gbytes] = rates(row.cost, *median);
            let (median, min) = (1e3 * median, 1e3 * min);
            println!(
                "{:<28} {:<24} {:>2} {:<36} {median:>10.3} {min:>10.3} {dense:>9} {:>9.1} {gflops:>9.1} {gbytes:>8.2}",
                row.bench,
                row.shape,
                row.threads,
                row.name,
                nnz / 1e6,
            );
        }
        println!("other processes ran during {} of {} samples", self.disturbed, self.samples);
    }
}

/// Runs `work` again while other processes ran beside it and there is patience; says whether they still did.
fn undisturbed<T>(patience: &mut Duration, mut work: impl FnMut() -> T) -> (T, bool) {
    loop {
        let (start, before) = (Instant::now(), others_ticks());
        let result = work();
        let others = others_ticks().saturating_sub(before);
        // Ticks of 10 ms: two are within the error of reading, a twentieth of a CPU is nothing.
        let disturbed = others as f64 > 2.0 + 5.0 * start.elapsed().as_secs_f64();
        if !disturbed || patience.is_zero() {
            return (result, disturbed);
        }
        loop {
            let before = others_ticks();
            std::thread::sleep(Duration::from_millis(500));
            if others_ticks() <= before + 2 || start.elapsed() > *patience {
                break;
            }
        }
        *patience = patience.saturating_sub(start.elapsed());
    }
}

/// Time of all CPUs that other processes spent, in ticks; 0 where the system does not say.
fn others_ticks() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let sum = |fields: &mut dyn Iterator<Item = &str>| {
        fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
    };
    let (all, own) = (read("/proc/stat"), read("/proc/self/stat"));
    // User, nice, system; user and system time follow eleven fields after the name.
    let all = sum(&mut all.split_whitespace().skip(1).take(3));
    let own =
        own.rsplit_once(')').map_or(0, |(_, fields)| sum(&mut fields.split_whitespace().skip(11).take(2)));
    all.saturating_sub(own)
}

/// Entries, 1e9 operations and 1e9 bytes per second.
fn rates(cost: Cost, seconds: f64) -> [f64; 3] {
    [cost.nnz as f64 / seconds, 1e-9 * cost.flops as f64 / seconds, 1e-9 * cost.bytes as f64 / seconds]
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, model)| model);
    model.replace(',', " ")
}

/// Today in UTC, as 2026-01-31.
fn date() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut days = now.as_secs() / 86_400;
    let mut year = 1970;
    let is_leap =
        |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}
