//! Reads a matrix and prints what it is and how fast it came: `read_matrix PATH [OPTION=VALUE ...]`
//! with `genome=`, `layer=`, `raw=yes`, and `dump=FILE.json` for comparing with other readers. Run with
//! `--release` to measure.

use std::path::Path;
use std::time::Instant;

use late_fast::io::{ReadOptions, open};
use late_fast::matrix::{Axis, Column};
use serde_json::{Value, json};

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}

fn run() -> late_fast::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: read_matrix PATH [genome=NAME] [layer=NAME] [raw=yes] [dump=FILE]");
        std::process::exit(2);
    };
    let mut options = ReadOptions::default();
    let mut dump = None;
    for argument in arguments {
        match argument.split_once('=') {
            Some(("genome", name)) => options.genome = Some(name.to_owned()),
            Some(("layer", name)) => options.layer = Some(name.to_owned()),
            Some(("raw", _)) => options.use_raw = true,
            Some(("dump", name)) => dump = Some(name.to_owned()),
            _ => eprintln!("ignored: {argument}"),
        }
    }
    let start = Instant::now();
    let source = open(Path::new(&path), &options)?;
    let opened = start.elapsed().as_secs_f64();
    let (mut sum, mut weighted) = (0.0, 0.0);
    let start = Instant::now();
    let tally = source.for_each_block(&mut |block| {
        sum += block.values.iter().sum::<f64>();
        weighted += block.indices.iter().zip(&block.values).map(|(&i, v)| f64::from(i + 1) * v).sum::<f64>();
        Ok(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!("layout: {}", source.layout());
    println!("shape: {} x {}", source.cells().len(), source.genes().len());
    println!("tally: {tally:?}");
    println!("sum: {sum}\nindex sum: {weighted}");
    for (label, axis) in [("cells", source.cells()), ("genes", source.genes())] {
        let columns: Vec<_> = axis.columns.iter().map(|(name, _)| name.as_str()).collect();
        let first = &axis.names[..axis.len().min(3)];
        println!("{label}: {first:?}; columns: {}", columns.join(", "));
    }
    for (label, value) in source.describe() {
        println!("{label}: {value}");
    }
    println!("in place: {:?}", source.in_place());
    for note in source.notes() {
        println!("note: {note}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = tally.nnz as f64 / seconds / 1e6;
    if let Some(dump) = dump {
        let json = json!({
            "layout": source.layout(), "major": source.major(), "nnz": tally.nnz, "sum": sum, "index_sum": weighted,
            "cells": axis_json(source.cells()), "genes": axis_json(source.genes()), "notes": source.notes(),
        });
        std::fs::write(&dump, json.to_string())
            .map_err(|source| late_fast::Error::io(Path::new(&dump), "write", source))?;
    }
    println!("opened in {opened:.3} s, read in {seconds:.3} s: {rate:.1} million non-zeros/s");
    Ok(())
}

fn axis_json(axis: &Axis) -> Value {
    let columns: Vec<_> =
        axis.columns.iter().map(|(name, column)| json!([name, column_json(column)])).collect();
    json!({"names": axis.names, "columns": columns})
}

/// Values as a reader of data frames shows them; missing ones are null.
fn column_json(column: &Column) -> Value {
    fn masked<T: serde::Serialize>(values: &[T], missing: &[bool]) -> Value {
        values
            .iter()
            .zip(missing)
            .map(|(value, missing)| if *missing { Value::Null } else { json!(value) })
            .collect()
    }
    match column {
        Column::Strings(values) => json!(values),
        Column::Integers(values) => json!(values),
        Column::Floats(values) => json!(values),
        Column::Booleans(values) => json!(values),
        Column::Categorical { codes, categories, .. } => {
            let value = |code: &i32| usize::try_from(*code).ok().and_then(|code| categories.get(code));
            codes.iter().map(|code| json!(value(code))).collect()
        }
        Column::NullableIntegers { values, missing } => masked(values, missing),
        Column::NullableBooleans { values, missing } => masked(values, missing),
    }
}
