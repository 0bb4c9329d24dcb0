//! `late-fast kernels`: what this CPU has, what is chosen, and how fast it is.

use std::time::{Duration, Instant};

use late_fast_kernels::adam::adam;
use late_fast_kernels::gemm::gemm;
use late_fast_kernels::gemm_bf16::{gemm_packed, panel_words};
use late_fast_kernels::paired::words;
use late_fast_kernels::{Adam, Bf16, DenseView, DenseViewMut, F32, ISA_VARIABLE, Isa};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::args::{Common, KernelsArgs};
use super::memory;
use super::report::Reporter;
use crate::budget;
use crate::config::{KernelForm, TrainConfig};
use crate::error::{Error, Result};
use crate::minibatch::Minibatch;
use crate::model::{
    Architecture, Buffer, HiddenDropout, LossKind, Network, Operation, Precision, StepOptions, Workspace,
    is_dense,
};
use crate::parallel::{self, TaskRows};
use crate::profile::{Phase, Profile};

/// Steps that are timed; the fastest of each phase counts.
const STEPS: usize = 7;

/// The instruction set this process uses.
pub(super) fn chosen_isa() -> Result<Isa> {
    Isa::chosen().map_err(|e| Error::Usage {
        problem: e.to_string(),
        remedy: format!("unset {ISA_VARIABLE} to use the best this CPU has"),
    })
}

pub(super) fn run(args: &KernelsArgs, common: &Common) -> anyhow::Result<()> {
    let isa = chosen_isa()?;
    if !(args.density > 0.0 && args.density <= 1.0) || args.features == 0 || args.batch_size == 0 {
        return Err(Error::Usage {
            problem: "--features, --batch-size and --density must be above 0, and --density at most 1".into(),
            remedy: "leave them out for 10,000 features, 256 samples and 0.05".into(),
        }
        .into());
    }
    let reporter = Reporter::new(common);
    let available: Vec<String> = Isa::available().map(|isa| isa.to_string()).collect();
    reporter.result(
        "isa",
        &serde_json::json!({ "available": available, "chosen": isa.to_string() }),
        &format!("available: {}\nchosen: {isa} ({ISA_VARIABLE} forces another)", available.join(", ")),
    )?;
    if args.list {
        return Ok(());
    }
    let allowed = common.memory.unwrap_or_else(memory::available);
    let wide = hidden()[0] as f64;
    let nnz = args.density * f64::from(args.features) * args.batch_size as f64;
    // Parameters in f32 with their moments, the minibatch and its dense form, a few times over.
    let needed = 1e9 + 16.0 * 2.0 * wide * f64::from(args.features) + 64.0 * nnz;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as wanted")]
    budget::check(needed as u64, allowed, || "time a smaller network: --features, --batch-size".into())?;
    parallel::with_threads(common.threads, || measure(args, isa, &reporter))?
}

/// What the machine can do at most, as measured.
#[derive(Clone, Copy, Debug, Serialize)]
struct Peaks {
    threads: usize,
    /// OpenBLAS's sgemm.
    f32_gflops: f64,
    /// Products of packed bf16, where there is AMX.
    bf16_gflops: Option<f64>,
    /// Adam's pass over arrays far larger than the caches.
    gbytes_per_s: f64,
}

/// One operation in one form.
#[derive(Clone, Debug, Serialize)]
struct Row {
    operation: &'static str,
    param_dtype: &'static str,
    form: &'static str,
    chosen: bool,
    milliseconds: f64,
    gflops: f64,
    gbytes_per_s: f64,
    /// The time that flops or bytes would take at peak, whichever is longer, over the time taken.
    share_of_peak: f64,
}

fn measure(args: &KernelsArgs, isa: Isa, reporter: &Reporter) -> anyhow::Result<()> {
    let batch = random_minibatch(args);
    if batch.targets.nnz() == 0 {
        return Err(Error::Usage {
            problem: format!("no entry in {} x {} at {}", args.batch_size, args.features, args.density),
            remedy: "give more --features, a larger --batch-size or a higher --density".into(),
        }
        .into());
    }
    let peaks = Peaks {
        threads: parallel::n_threads(),
        f32_gflops: sgemm_gflops(isa)?,
        bf16_gflops: (isa == Isa::Amx).then(|| tiles_gflops(isa)).transpose()?,
        gbytes_per_s: bandwidth(isa)?,
    };
    let tiles = peaks.bf16_gflops.map_or(String::new(), |g| format!(", {g:.0} in bf16 (AMX)"));
    reporter.result(
        "peaks",
        &peaks,
        &format!(
            "peaks, {} threads: {:.0} GFLOP/s in f32 ({}){tiles}; {:.1} GB/s (Adam's pass)\n\
             a step on {} samples x {} features at {}%, hidden layers {}; * is taken by --kernel auto; GFLOP/s count \
             stored entries (dense forms: all), GB/s one pass over the parameters:\n\
             \x20 operation                    storage form       ms    GFLOP/s    GB/s  of peak",
            peaks.threads,
            peaks.f32_gflops,
            if isa == Isa::Reference { "plain loops" } else { "OpenBLAS" },
            peaks.gbytes_per_s,
            args.batch_size,
            args.features,
            100.0 * args.density,
            hidden().iter().map(usize::to_string).collect::<Vec<_>>().join(","),
        ),
    )?;
    let mut rows = Vec::new();
    for form in [KernelForm::Sparse, KernelForm::Dense] {
        rows.extend(time_forms::<F32>(&batch, isa, form, "f32", &peaks)?);
        rows.extend(time_forms::<Bf16>(&batch, isa, form, "bf16", &peaks)?);
    }
    rows.sort_by_key(|row| (row.param_dtype != "f32", row.operation));
    for row in rows {
        let text = format!(
            "{} {:<28} {:<7} {:<6}{:>7.2} {:>10.0} {:>7.1} {:>8.0}%",
            if row.chosen { "*" } else { " " },
            row.operation,
            row.param_dtype,
            row.form,
            row.milliseconds,
            row.gflops,
            row.gbytes_per_s,
            100.0 * row.share_of_peak,
        );
        reporter.result("kernel", &row, &text)?;
    }
    Ok(())
}

fn hidden() -> Vec<usize> {
    TrainConfig::default().hidden
}

fn random_minibatch(args: &KernelsArgs) -> Minibatch {
    let mut generator = ChaCha8Rng::seed_from_u64(TrainConfig::default().seed);
    let (mut indptr, mut features, mut values) = (vec![0], Vec::new(), Vec::new());
    for _ in 0..args.batch_size {
        for feature in 0..args.features {
            if generator.random::<f64>() < args.density {
                features.push(feature);
                values.push(generator.random_range(0.3..1.5));
            }
        }
        indptr.push(features.len());
    }
    Minibatch::from_rows(args.features as usize, &indptr, &features, &values)
}

/// Times the wide layers' operations of a training step in one form.
fn time_forms<S: Precision>(
    batch: &Minibatch,
    isa: Isa,
    form: KernelForm,
    param_dtype: &'static str,
    peaks: &Peaks,
) -> Result<Vec<Row>> {
    let architecture = Architecture { n_features: batch.n_features(), hidden: hidden() };
    let k = architecture.wide();
    let mut network = Network::<S>::starting_from(Network::initialised(architecture, 0)?)?;
    let mut workspace = Workspace::<S>::default();
    let options = StepOptions {
        isa,
        form,
        loss: LossKind::MaskedMse { n_columns: None },
        seed: 0,
        learning_rate: TrainConfig::default().learning_rate,
        dropout: Some(HiddenDropout { keep: 0.5, seed: 0, epoch: 0 }),
    };
    let mut steps = Vec::new();
    for _ in 0..=STEPS {
        workspace.profile = Profile::default();
        network.train_step(&mut workspace, batch, &options)?;
        steps.push(workspace.profile);
    }
    let (n_samples, n_features, nnz) = (batch.n_samples(), batch.n_features(), batch.targets.nnz());
    let density = nnz as f64 / (n_samples * n_features).max(1) as f64;
    let parameter_bytes = (n_features * S::row_words(k) * size_of::<S::Word>()) as f64;
    let multiplied = if form == KernelForm::Dense { n_samples * n_features } else { nnz };
    let flops_of_product = 2.0 * multiplied as f64 * k as f64;
    let peak_gflops = match peaks.bf16_gflops {
        Some(bf16) if param_dtype == "bf16" && form == KernelForm::Dense => bf16,
        _ => peaks.f32_gflops,
    };
    let row = |operation: Operation| {
        // Weights are read; Adam reads and writes them and both moments.
        let (phase, products, passes) = match operation {
            Operation::EncoderForward => (Phase::Encoder, 1.0, 1.0),
            Operation::DecoderStep => (Phase::Decoder, 3.0, 6.0),
            Operation::EncoderStep => (Phase::EncoderStep, 1.0, 6.0),
        };
        // The first step warms caches and pages up.
        let seconds =
            steps[1..].iter().map(|profile| profile.of(phase).as_secs_f64()).fold(f64::MAX, f64::min);
        let (flops, bytes) = (products * flops_of_product, passes * parameter_bytes);
        let at_peak = (flops / peak_gflops).max(bytes / peaks.gbytes_per_s) / 1e9;
        let chosen = is_dense::<S>(isa, KernelForm::Auto, operation, n_samples, density);
        Row {
            operation: operation.name(),
            param_dtype,
            form: if form == KernelForm::Dense { "dense" } else { "sparse" },
            chosen: chosen == (form == KernelForm::Dense),
            milliseconds: 1e3 * seconds,
            gflops: flops / seconds / 1e9,
            gbytes_per_s: bytes / seconds / 1e9,
            share_of_peak: at_peak / seconds,
        }
    };
    Ok(Operation::ALL.map(row).into())
}

/// Seconds of the fastest of the runs that fit into some time: an idle core of a virtual machine may need a while
/// until it is given back.
fn fastest(mut run: impl FnMut()) -> f64 {
    const AT_LEAST: Duration = Duration::from_millis(400);
    let (begin, mut fastest) = (Instant::now(), f64::MAX);
    while begin.elapsed() < AT_LEAST {
        let start = Instant::now();
        run();
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    fastest
}

/// Rows, columns and summed length of a task's product.
const PRODUCT: [usize; 3] = [256, 1024, 800];

/// Written once, in memory like that of training: pages never written would all be one and the same.
fn filled<W: bytemuck::Pod>(len: usize, value: W) -> Result<Buffer<W>> {
    let mut buffer = Buffer::zeros(len)?;
    buffer.fill(value);
    Ok(buffer)
}

fn sgemm_gflops(isa: Isa) -> Result<f64> {
    let ([m, n, k], tasks) = (PRODUCT, 2 * parallel::n_threads());
    let (a, b, mut c) = (filled(m * k, 0.5)?, filled(k * n, 0.5)?, filled(tasks * m * n, 0.0)?);
    let seconds = fastest(|| {
        let parts = TaskRows::equal(&mut c, tasks);
        parallel::each(0..tasks, parts, &|_, part| {
            let (a, b) = (DenseView::new(&a, m, k), DenseView::new(&b, k, n));
            gemm(isa, DenseViewMut::new(part.rows, m, n), a, b, 0.0);
        });
    });
    Ok(2.0 * (tasks * m * n * k) as f64 / seconds / 1e9)
}

fn tiles_gflops(isa: Isa) -> Result<f64> {
    /// Two of them in bf16.
    const HALVES: u32 = 0x3f00_3f00;
    let ([m, n, k], tasks) = (PRODUCT, 2 * parallel::n_threads());
    let (a, b) = (filled(m * words(k), HALVES)?, filled(panel_words(k, n), HALVES)?);
    let mut c = filled(tasks * m * n, 0.0)?;
    let seconds = fastest(|| {
        let parts = TaskRows::equal(&mut c, tasks);
        parallel::each(0..tasks, parts, &|_, part| {
            gemm_packed(isa, DenseViewMut::new(part.rows, m, n), &a, &b, k, false);
        });
    });
    Ok(2.0 * (tasks * m * n * k) as f64 / seconds / 1e9)
}

/// GB/s of Adam with a gradient in memory: four arrays read, three written.
fn bandwidth(isa: Isa) -> Result<f64> {
    const TASK: usize = 1 << 16;
    const TASKS: usize = 256;
    let coefficients = Adam::at_step(1e-4, 0.9, 0.999, 1e-8, 10);
    let array = || filled(TASKS * TASK, 0.1_f32);
    let (mut w, mut m, mut v, g) = (array()?, array()?, array()?, array()?);
    let seconds = fastest(|| {
        let parts = (
            TaskRows::equal(&mut w, TASKS),
            (TaskRows::equal(&mut m, TASKS), TaskRows::equal(&mut v, TASKS)),
        );
        parallel::each(0..TASKS, parts, &|task, (w, (m, v))| {
            adam(isa, w.rows, m.rows, v.rows, &g[task * TASK..(task + 1) * TASK], &coefficients);
        });
    });
    Ok((7 * size_of::<f32>() * TASKS * TASK) as f64 / seconds / 1e9)
}
