//! Reads a matrix and prints what it is and how fast it came: `read_matrix PATH [OPTION=VALUE ...]`
//! with `genome=`, `layer=` and `raw=yes`. Run with `--release` to measure.

use std::path::Path;
use std::time::Instant;

use late_fast::io::{ReadOptions, open};

fn main() -> late_fast::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: read_matrix PATH [genome=NAME] [layer=NAME] [raw=yes]");
        std::process::exit(2);
    };
    let mut options = ReadOptions::default();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("genome", name)) => options.genome = Some(name.to_owned()),
            Some(("layer", name)) => options.layer = Some(name.to_owned()),
            Some(("raw", _)) => options.use_raw = true,
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
    println!("opened in {opened:.3} s, read in {seconds:.3} s: {rate:.1} million non-zeros/s");
    Ok(())
}
