//! The ratios that the project promises, read off a run.

use crate::common::record::Report;

const DENSE: &str = "dense_openblas";
const DECODER: &str = "step_decoder_with_adam";
const LARGE: &str = "256x20000@0.05";
/// Shape, times as fast as dense products on two threads the decoder with Adam should be.
const DECODER_TARGETS: [(&str, f64); 3] = [("256x949@0.1", 3.5), (LARGE, 5.0), ("256x30000@0.03", 6.0)];
const STEP_TARGET: f64 = 4.0;
/// Samples of a large minibatch over those of a small one.
const MORE_SAMPLES: f64 = 4.0;

/// Prints what was measured of the promised ratios.
pub(crate) fn print(report: &Report) {
    println!("\nratios: by medians (by minima)");
    let line = |what: String, ratio: Option<[f64; 2]>| {
        if let Some([median, min]) = ratio {
            println!("{what:<78} {median:>6.2} ({min:.2})");
        }
    };
    for row in ["late_fast_f32", "late_fast_bf16"] {
        for (shape, target) in DECODER_TARGETS {
            let ratio = report.ratio(DECODER, (DENSE, shape, 2), (row, shape, 2));
            line(format!("decoder with Adam, {shape}, 2 threads: dense / {row} (target {target})"), ratio);
        }
        for shape in ["256x949@0.1", LARGE, "256x30000@0.03", "1024x20000@0.05", "genes:256x10000@0.05"] {
            let target = if shape == LARGE { format!(" (target {STEP_TARGET})") } else { String::new() };
            for threads in [2, 1] {
                let ratio = report.ratio("step", (DENSE, shape, threads), (row, shape, threads));
                line(format!("step, {shape}, threads {threads}: dense / {row}{target}"), ratio);
            }
            let ratio = report.ratio("step", (row, shape, 2), ("adam_pass_f32", shape, 2));
            line(format!("step, {shape}, 2 threads: {row} / pass of Adam in f32"), ratio);
            let ratio = report.ratio("step", (row, shape, 1), (row, shape, 2));
            line(format!("step, {shape}: {row} on 1 thread / on 2"), ratio);
            for part in ["step_hidden", "step_hidden_update"] {
                let ratio = report.ratio(part, (row, shape, 1), (row, shape, 2));
                line(format!("{part}, {shape}: {row} on 1 thread / on 2"), ratio);
            }
        }
        let ratio = report.ratio("step", (row, LARGE, 2), (row, "1024x20000@0.05", 2));
        let ratio = ratio.map(|ratio| ratio.map(|ratio| MORE_SAMPLES * ratio));
        line(format!("{row}, 2 threads: cost of a sample at 256 / at 1024"), ratio);
    }
    for threads in [2, 1] {
        for row in ["late_fast_f32", "late_fast_bf16"] {
            let (dense, ours) = ((DENSE, "256x20000", threads), (row, "256x20000", threads));
            let target = if row.ends_with("f32") { " (target 0.85)" } else { "" };
            line(
                format!("impute, 256x20000, threads {threads}: dense / {row}{target}"),
                report.ratio("impute", dense, ours),
            );
        }
    }
}
