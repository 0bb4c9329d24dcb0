//! Store and minibatches: both orientations hold the same matrix, hide the same entries, and lose nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::counts::{counts, write_tenx};
use common::files::Rows;
use late_fast::io::{ReadOptions, open};
use late_fast::matrix::Major;
use late_fast::minibatch::{Builder, Holdout, InputDropout, Minibatch, Purpose, Transform};
use late_fast::store::{Prepared, RowEntries, StoreDtype, Storing, prepare, unpack};
use late_fast_kernels::Isa;
use late_fast_kernels::dropout::{kept, row_key};

const CELLS: usize = 120;
const GENES: usize = 700;
const HOLDOUT: Holdout = Holdout { share: 0.1, seed: 7 };

fn prepared(dir: &Path, rows: &Rows) -> Prepared {
    write_tenx(&dir.join("in.h5"), rows, GENES);
    let source = open(&dir.join("in.h5"), &ReadOptions::default()).unwrap();
    let storing = Storing { dir, wanted: &[Major::Cells, Major::Genes], memory: 1 << 30, cache: None };
    let native = unpack(source.as_ref(), StoreDtype::F32, &storing, &|_, _| ()).unwrap();
    prepare(source.as_ref(), native, &storing, &|_, _| ()).unwrap()
}

/// Entries by (cell, gene).
type Entries = BTreeMap<(usize, usize), f32>;

fn matrix(prepared: &Prepared, major: Major) -> Entries {
    let store = prepared.with_rows(major).unwrap();
    let mut entries = Entries::new();
    for row in 0..store.n_rows() {
        let mut found = RowEntries::default();
        store.read_row(row, &mut found).unwrap();
        assert!(found.indices.is_sorted());
        for (&column, &value) in found.indices.iter().zip(&found.values) {
            let column = column as usize;
            entries.insert(if major == Major::Cells { (row, column) } else { (column, row) }, value);
        }
    }
    entries
}

/// A small count.
fn small_count(count: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "test counts are small")]
    let count = count as f32;
    count
}

/// All rows in minibatches of 32; columns are features.
fn minibatches(prepared: &Prepared, major: Major, purpose: Purpose) -> Vec<Minibatch> {
    let n_cols = prepared.with_rows(major).unwrap().n_cols();
    let features: Vec<u32> = (0..u32::try_from(n_cols).unwrap()).collect();
    mapped_minibatches(prepared, major, purpose, &features, n_cols)
}

/// The same with a feature for every column.
fn mapped_minibatches(
    prepared: &Prepared,
    major: Major,
    purpose: Purpose,
    features: &[u32],
    n_features: usize,
) -> Vec<Minibatch> {
    let store = prepared.with_rows(major).unwrap();
    let isa = Isa::chosen().unwrap();
    let mut builder = Builder::new(store, features, n_features, Transform::AsIs, Some(HOLDOUT), isa);
    let samples: Vec<u32> = (0..u32::try_from(store.n_rows()).unwrap()).collect();
    let mut batch = Minibatch::default();
    samples
        .chunks(32)
        .map(|samples| {
            // What an earlier batch left in the buffers must not show.
            builder.build(samples, purpose, &mut batch).unwrap();
            batch.clone()
        })
        .collect()
}

/// What a part of the batches holds, by (cell, gene).
fn gathered(batches: &[Minibatch], major: Major, held_out: bool) -> Entries {
    let mut entries = Entries::new();
    for batch in batches {
        let all = 0..batch.n_features();
        let view = if held_out { batch.held_out_of(all) } else { batch.targets_of(all) };
        for feature in 0..view.n_rows() {
            let (samples, values) = view.row(feature);
            for (&sample, &value) in samples.iter().zip(values) {
                let sample = batch.samples[sample as usize] as usize;
                let place = if major == Major::Cells { (sample, feature) } else { (feature, sample) };
                assert!(entries.insert(place, value).is_none(), "{place:?} came twice");
            }
        }
    }
    entries
}

#[test]
fn both_orientations_hold_the_same_matrix() {
    let dir = tempfile::tempdir().unwrap();
    let rows = counts(CELLS, GENES, 3);
    let prepared = prepared(dir.path(), &rows);
    let expected: Entries = rows
        .iter()
        .enumerate()
        .flat_map(|(cell, row)| row.iter().map(move |&(gene, count)| (cell, gene, count)))
        .map(|(cell, gene, count)| ((cell, usize::try_from(gene).unwrap()), small_count(count)))
        .collect();
    assert_eq!(matrix(&prepared, Major::Cells), expected);
    assert_eq!(matrix(&prepared, Major::Genes), expected);
    // Stores have no name once they are mapped.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn both_orientations_hide_the_same_entries_and_lose_none() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepared(dir.path(), &counts(CELLS, GENES, 3));
    let all = matrix(&prepared, Major::Cells);
    let hidden = [Major::Cells, Major::Genes].map(|major| {
        let batches = minibatches(&prepared, major, Purpose::Validate);
        let (kept, hidden) = (gathered(&batches, major, false), gathered(&batches, major, true));
        assert_eq!(kept.len() + hidden.len(), all.len());
        assert!(kept.iter().chain(&hidden).all(|(place, value)| all[place] == *value));
        hidden
    });
    assert_eq!(hidden[0], hidden[1]);
    let share = hidden[0].len() as f64 / all.len() as f64;
    assert!((share - HOLDOUT.share).abs() < 0.01, "{share} of the entries are hidden");
    let imputing = minibatches(&prepared, Major::Cells, Purpose::Impute);
    assert_eq!(gathered(&imputing, Major::Cells, false), all);
}

#[test]
fn input_dropout_thins_and_scales_what_the_encoder_sees() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepared(dir.path(), &counts(CELLS, GENES, 3));
    let dropout = |epoch| Purpose::Train(Some(InputDropout { keep: 0.75, seed: 1, epoch }));
    let batches = minibatches(&prepared, Major::Cells, dropout(0));
    let (mut kept, mut all) = (0, 0);
    for batch in &batches {
        for (&input, &target) in batch.inputs.iter().zip(&batch.targets.values) {
            assert!(input == 0.0 || (input - target / 0.75).abs() <= 1e-6 * input);
            kept += usize::from(input != 0.0);
            all += 1;
        }
    }
    let share = f64::from(u32::try_from(kept).unwrap()) / f64::from(u32::try_from(all).unwrap());
    assert!((share - 0.75).abs() < 0.01, "{share} of the inputs are kept");
    let again = minibatches(&prepared, Major::Cells, dropout(0));
    let later = minibatches(&prepared, Major::Cells, dropout(1));
    assert_eq!(batches[0].inputs, again[0].inputs);
    assert_ne!(batches[0].inputs, later[0].inputs);
}

/// Asserts that the blocks hold exactly the targets, in the other order, with their inputs.
fn assert_blocks_hold_the_targets(batch: &Minibatch) {
    let mut next = 0;
    for task in 0..batch.n_tasks() {
        let features = batch.task_features(task);
        assert_eq!(features.start, next);
        next = features.end;
        let mut in_blocks = 0;
        for (block, inputs) in batch.task_inputs(task) {
            assert!(features.start <= block.start && block.end <= features.end);
            assert_eq!(inputs.n_rows(), batch.n_samples());
            for sample in 0..inputs.n_rows() {
                let (local, values) = inputs.row(sample);
                assert!(local.is_sorted_by(|a, b| a < b));
                for (&local, &value) in local.iter().zip(values) {
                    let feature = block.start + local as usize;
                    let (samples, inputs) = batch.inputs_of(feature..feature + 1).row(0);
                    assert!(samples.is_sorted_by(|a, b| a < b));
                    let at = samples.iter().position(|&s| s as usize == sample).unwrap();
                    assert_eq!(inputs[at].to_bits(), value.to_bits());
                    in_blocks += 1;
                }
            }
        }
        assert_eq!(in_blocks, batch.targets_of(features).nnz());
    }
    assert_eq!(next, batch.n_features());
}

#[test]
fn tasks_cover_every_feature_once_and_blocks_hold_the_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepared(dir.path(), &counts(CELLS, GENES, 3));
    let dropout = InputDropout { keep: 0.75, seed: 1, epoch: 0 };
    for purpose in [Purpose::Train(None), Purpose::Train(Some(dropout)), Purpose::Impute] {
        for batch in minibatches(&prepared, Major::Cells, purpose) {
            assert_blocks_hold_the_targets(&batch);
        }
    }
}

/// Whatever the order of the file's genes, and of which the network knows nothing.
#[test]
fn every_entry_is_where_its_keys_decide() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepared(dir.path(), &counts(CELLS, GENES, 3));
    let dropout = InputDropout { keep: 0.75, seed: 1, epoch: 5 };
    for major in [Major::Cells, Major::Genes] {
        let entries = matrix(&prepared, major);
        let n_cols = prepared.with_rows(major).unwrap().n_cols();
        let n_features = n_cols.next_multiple_of(130) + 1;
        let feature = |column: usize| (column * 77 % n_cols + column % 7) % n_features;
        let known = |column: usize| column % 7 == 3;
        let features: Vec<u32> = (0..n_cols)
            .map(|c| if known(c) { u32::try_from(feature(c)).unwrap() } else { Builder::NO_FEATURE })
            .collect();
        let purpose = Purpose::Train(Some(dropout));
        let batches = mapped_minibatches(&prepared, major, purpose, &features, n_features);
        let mut wanted: [Entries; 3] = std::array::from_fn(|_| Entries::new());
        for (&(cell, gene), &value) in &entries {
            let (row, column) = if major == Major::Cells { (cell, gene) } else { (gene, cell) };
            if !known(column) {
                continue;
            }
            let place = (row, feature(column));
            let gene = u32::try_from(gene).unwrap();
            if HOLDOUT.hides(HOLDOUT.cell_key(cell as u64), gene) {
                assert!(wanted[2].insert(place, value).is_none(), "the map repeats a feature");
                continue;
            }
            let key = row_key(dropout.seed, 0, dropout.epoch, row as u64);
            let stays = kept(key, features[column], dropout.keep);
            wanted[0].insert(place, value);
            wanted[1].insert(place, if stays { value * dropout.keep.recip() } else { 0.0 });
        }
        let all = 0..n_features;
        let mut found: [Entries; 3] = std::array::from_fn(|_| Entries::new());
        for batch in &batches {
            assert_blocks_hold_the_targets(batch);
            let views =
                [batch.targets_of(all.clone()), batch.inputs_of(all.clone()), batch.held_out_of(all.clone())];
            for (view, found) in views.iter().zip(&mut found) {
                for feature in 0..n_features {
                    let (samples, values) = view.row(feature);
                    for (&sample, &value) in samples.iter().zip(values) {
                        found.insert((batch.samples[sample as usize] as usize, feature), value);
                    }
                }
            }
        }
        assert!(found == wanted, "{major:?}: other entries");
    }
}
