//! Shards put together into the file that imputing everything at once would have written.

use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5::{Dataset, H5Type};
use ndarray::s;

use super::OutputDtype;
use super::axes::{concatenate, hash_axis};
use super::file::{DATA, Hashes, INDICES, INDPTR, LAYER, Layout, OutputFile, Values, rectangles};
use super::manifest::Manifest;
use crate::atomic::{check_free_space, parent, write_atomically};
use crate::error::{Error, Result};
use crate::h5ad;
use crate::hdf::HdfFile;
use crate::hdf::{self};
use crate::matrix::{Axis, Major};
use crate::parallel::tiles;

/// Rows of `X` are copied about this many at a time.
const ROWS: usize = 1 << 16;
/// Rows of the latent code are copied this many at a time.
const LATENT_ROWS: usize = 1 << 12;
/// Larger rectangles of values are not written by late-fast.
const MOST_TILE_VALUES: usize = 1 << 24;
/// Bytes that copying takes at most, beside names: a rectangle of values, or rows of counts and, before they are
/// written, their entries once more.
pub const MERGE_BYTES: u64 = 2 * 8 * MOST_TILE_VALUES as u64;

/// Shards that belong together, in order.
#[derive(Debug)]
pub struct Shards {
    parts: Vec<Part>,
}

/// One shard.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    manifest: Manifest,
}

/// What was merged.
#[derive(Clone, Debug, serde::Serialize)]
pub struct MergeReport {
    /// Shards that were put together.
    pub n_shards: usize,
    /// Cells in the file.
    pub n_cells: usize,
    /// Genes in the file.
    pub n_genes: usize,
    /// Size of the file.
    pub bytes: u64,
}

impl Shards {
    /// Reads the manifests of the shards at `paths`, in any order, and makes sure that they are all parts of one matrix.
    ///
    /// # Errors
    /// When a manifest is missing or damaged, shards are missing or come twice, or were made differently.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let read = |path: &PathBuf| Ok(Part { path: path.clone(), manifest: Manifest::read(path)? });
        let mut parts = paths.iter().map(read).collect::<Result<Vec<_>>>()?;
        parts.sort_by_key(|part| part.manifest.shard.number);
        let shards = Self { parts };
        shards.check()?;
        Ok(shards)
    }

    fn first(&self) -> Result<&Part> {
        self.parts.first().ok_or_else(|| Error::Usage {
            problem: "there are no shards to merge".into(),
            remedy: "name the files that late-fast impute --shard wrote".into(),
        })
    }

    fn check(&self) -> Result<()> {
        let first = self.first()?;
        let refuse = |part: &Part, expected: String, found: String, remedy: &str| {
            Err(Error::input(&part.path, "uns/late_fast/shard", expected, found, remedy))
        };
        let count = first.manifest.shard.count;
        for part in &self.parts {
            let manifest = &part.manifest;
            if manifest.shard.count != count {
                let expected = format!("a shard of {count}, as {}", first.path.display());
                let found = format!("one of {}", manifest.shard.count);
                return refuse(part, expected, found, "merge the shards of one job array");
            }
            if !manifest.has_sizes() {
                let [n_cells, n_genes] = [manifest.whole.n_cells, manifest.whole.n_genes];
                let found =
                    format!("{n_cells} x {n_genes}, of which {:?} and {:?}", manifest.cells, manifest.genes);
                let expected = "sizes that a matrix and a part of it can have".into();
                return refuse(part, expected, found, "run the shard again");
            }
            if let Some(name) = first.manifest.whole.difference(&manifest.whole) {
                let expected = format!("the {name} of {}", first.path.display());
                return refuse(part, expected, "another".into(), "merge the shards of one job array");
            }
            let tile_values = manifest.whole.tile.iter().try_fold(1, |n: usize, &side| n.checked_mul(side));
            if tile_values.is_none_or(|n| n == 0 || n > MOST_TILE_VALUES) {
                let expected = format!("rectangles of 1 to {MOST_TILE_VALUES} values");
                return refuse(part, expected, format!("{:?}", manifest.whole.tile), "run the shard again");
            }
        }
        for pair in self.parts.windows(2) {
            if pair[0].manifest.shard.number == pair[1].manifest.shard.number {
                let expected = format!("another shard than {}", pair[0].path.display());
                let found = format!("number {} again", pair[1].manifest.shard.number);
                return refuse(&pair[1], expected, found, "name each shard once");
            }
        }
        if self.parts.len() as u64 != count {
            let has = |number: &u64| {
                self.parts.binary_search_by_key(number, |part| part.manifest.shard.number).is_err()
            };
            let missing: Vec<String> = (1..=count).filter(has).take(10).map(|n| n.to_string()).collect();
            let more =
                if (missing.len() as u64) < count - self.parts.len() as u64 { " and more" } else { "" };
            let found = format!("no shard {}{more}", missing.join(", "));
            let remedy =
                "run what is missing (the whole array again: finished shards are skipped), then merge";
            return refuse(first, format!("all of {count} shards"), found, remedy);
        }
        let mut end = 0;
        for part in &self.parts {
            let range = part.manifest.samples();
            if range.start != end || range.end < end {
                return refuse(
                    part,
                    format!("a range from {end}"),
                    format!("{range:?}"),
                    "run the shard again",
                );
            }
            end = range.end;
        }
        let whole = &first.manifest.whole;
        let len = if whole.samples == Major::Cells { whole.n_cells } else { whole.n_genes };
        if end != len {
            return refuse(
                first,
                format!("shards up to {len}"),
                format!("up to {end}"),
                "run the shards again",
            );
        }
        Ok(())
    }

    /// Cells and genes of the whole.
    pub fn n_names(&self) -> usize {
        self.parts.first().map_or(0, |part| part.manifest.whole.n_cells + part.manifest.whole.n_genes)
    }

    /// Values that are copied.
    pub fn n_values(&self) -> u64 {
        self.first().map_or(0, |first| self.layout(first).n_values())
    }

    fn layout(&self, first: &Part) -> Layout {
        let whole = &first.manifest.whole;
        Layout {
            shape: [whole.n_cells, whole.n_genes],
            samples: whole.samples,
            n_latent: whole.n_latent,
            n_other_latent: None,
            dtype: whole.dtype,
            batch_size: whole.batch_size,
        }
    }

    /// Writes the whole to `out`. Everything that is copied is hashed and compared with what the shard says it wrote.
    /// `progress` is told the values copied since it was called last.
    ///
    /// # Errors
    /// When a shard is damaged, or the file cannot be written.
    pub fn merge(&self, out: &Path, force: bool, progress: &dyn Fn(u64)) -> Result<MergeReport> {
        let first = self.first()?;
        let layout = self.layout(first);
        let mut needed = layout.dense_bytes();
        for part in &self.parts {
            let bytes = part.path.metadata().map_err(|e| Error::io(&part.path, "examine", e))?.len();
            // The rest of a shard is its counts and names.
            needed += bytes.saturating_sub(part.layout().dense_bytes());
        }
        let what = || format!("the merged file {}", out.display());
        check_free_space(parent(out), needed, what, "free space, or write elsewhere")?;
        let (obs, var) = self.axes()?;
        write_atomically(out, force, |temporary| {
            let record = &first.manifest.whole.record;
            let mut file = OutputFile::create(temporary, layout, [&obs, &var], record, false)?;
            if layout.dtype.is_some() {
                match layout.samples {
                    Major::Cells => self
                        .parts
                        .iter()
                        .try_for_each(|part| copy_rows(std::slice::from_ref(part), &mut file)),
                    Major::Genes => copy_rows(&self.parts, &mut file),
                }?;
            }
            for part in &self.parts {
                part.copy_dense(&mut file, progress)?;
            }
            let (file, _) = file.finish()?;
            hdf::close(file, temporary)
        })?;
        let bytes = out.metadata().map_err(|e| Error::io(out, "read back", e))?.len();
        let [n_cells, n_genes] = layout.shape;
        Ok(MergeReport { n_shards: self.parts.len(), n_cells, n_genes, bytes })
    }

    /// `obs` and `var` of the whole.
    fn axes(&self) -> Result<(Axis, Axis)> {
        let first = self.first()?;
        let (cut, shared) = match first.manifest.whole.samples {
            Major::Cells => ("obs", "var"),
            Major::Genes => ("var", "obs"),
        };
        let mut parts = Vec::with_capacity(self.parts.len());
        let mut common = Axis::default();
        for part in &self.parts {
            let file = HdfFile::open(&part.path)?;
            let axis = part.axis(&file, shared)?;
            part.check_hash(shared, &hash_axis(&axis))?;
            if part.manifest.content(shared) != first.manifest.content(shared) {
                let expected = format!("what {} has", first.path.display());
                let remedy = "merge the shards of one job array";
                return Err(Error::input(&part.path, shared, expected, "something else", remedy));
            }
            common = axis;
            let axis = part.axis(&file, cut)?;
            part.check_hash(cut, &hash_axis(&axis))?;
            parts.push(axis);
        }
        let cut_axis = concatenate(parts).map_err(|column| {
            let object = format!("{cut}/{column}");
            Error::input(
                &first.path,
                object,
                "a column that all shards have",
                "another",
                "run the shards again",
            )
        })?;
        Ok(if cut == "obs" { (cut_axis, common) } else { (common, cut_axis) })
    }
}

impl Part {
    fn layout(&self) -> Layout {
        let whole = &self.manifest.whole;
        Layout {
            shape: self.manifest.shape(),
            samples: whole.samples,
            n_latent: whole.n_latent,
            n_other_latent: None,
            dtype: whole.dtype,
            batch_size: whole.batch_size,
        }
    }

    fn axis(&self, file: &HdfFile, name: &str) -> Result<Axis> {
        let axis = h5ad::read_axis(file, name, &mut Vec::new())?;
        let [n_cells, n_genes] = self.manifest.shape();
        let expected = if name == "obs" { n_cells } else { n_genes };
        if axis.len() == expected { Ok(axis) } else { Err(self.damaged(name)) }
    }

    fn check_hash(&self, object: &str, found: &str) -> Result<()> {
        if self.manifest.content(object) == Some(found) { Ok(()) } else { Err(self.damaged(object)) }
    }

    fn damaged(&self, object: &str) -> Error {
        Error::input(
            &self.path,
            object,
            "what its manifest says was written",
            "something else",
            "the shard is damaged: remove it and run it again",
        )
    }

    /// Opens an object that must have this shape.
    fn dataset(&self, file: &HdfFile, object: &str, shape: &[usize]) -> Result<Dataset> {
        let dataset = file.plain_dataset(object)?;
        if dataset.shape() == shape { Ok(dataset) } else { Err(self.damaged(object)) }
    }

    /// Compares the hashes of what was read with those of what was written.
    fn check_hashes(&self, hashes: Hashes) -> Result<()> {
        hashes.finish().iter().try_for_each(|(object, hash)| self.check_hash(object, hash))
    }

    /// Copies the imputed values and the latent code to their place.
    fn copy_dense(&self, out: &mut OutputFile<'_>, progress: &dyn Fn(u64)) -> Result<()> {
        let file = HdfFile::open(&self.path)?;
        let Manifest { cells, genes, whole, .. } = &self.manifest;
        let (samples, name) = (self.manifest.samples(), self.layout().latent_name());
        let mut hashes = Hashes::of(&[LAYER, name][usize::from(whole.dtype.is_none())..]);
        if let Some(dtype) = whole.dtype {
            let shape = self.manifest.shape();
            let layer = self.dataset(&file, LAYER, &shape)?;
            for [rows, columns] in rectangles(whole.samples, shape, whole.tile) {
                let values = match dtype {
                    OutputDtype::F32 => Values::F32(self.rectangle(&layer, LAYER, &rows, &columns)?),
                    OutputDtype::F16 => Values::F16(self.rectangle(&layer, LAYER, &rows, &columns)?),
                };
                hashes.update(LAYER, values.bytes());
                let to = |range: Range<usize>, first: usize| first + range.start..first + range.end;
                out.write_layer(to(rows, cells.start), to(columns, genes.start), &values)?;
                progress(values.len() as u64);
            }
        }
        let latent = self.dataset(&file, name, &[samples.len(), whole.n_latent])?;
        for [rows, columns] in
            rectangles(Major::Cells, [samples.len(), whole.n_latent], [LATENT_ROWS, usize::MAX])
        {
            let code: Vec<f32> = self.rectangle(&latent, name, &rows, &columns)?;
            hashes.update(name, &code);
            out.write_latent(whole.samples, samples.start + rows.start..samples.start + rows.end, &code)?;
            if whole.dtype.is_none() {
                progress(code.len() as u64);
            }
        }
        self.check_hashes(hashes)
    }

    fn rectangle<T: H5Type>(
        &self,
        dataset: &Dataset,
        object: &str,
        rows: &Range<usize>,
        columns: &Range<usize>,
    ) -> Result<Vec<T>> {
        let read = dataset.read_slice_2d::<T, _>(s![rows.clone(), columns.clone()]);
        let array = read.map_err(|e| Error::hdf5(&self.path, object, "read it", e))?;
        Ok(array.into_raw_vec_and_offset().0)
    }

    fn run<T: H5Type>(&self, dataset: &Dataset, object: &str, range: Range<usize>) -> Result<Vec<T>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let read = dataset.read_slice_1d::<T, _>(s![range]);
        let array = read.map_err(|e| Error::hdf5(&self.path, object, "read it", e))?;
        Ok(array.into_raw_vec_and_offset().0)
    }

    /// Some rows of `X`: their offsets from the first, columns and values.
    fn counts(&self, rows: &Range<usize>, hashes: &mut Hashes) -> Result<(Vec<usize>, Vec<i32>, Vec<f32>)> {
        let file = HdfFile::open(&self.path)?;
        let [n_cells, n_genes] = self.manifest.shape();
        let indptr = self.dataset(&file, INDPTR, &[n_cells + 1])?;
        let ends: Vec<i64> = self.run(&indptr, INDPTR, rows.start..rows.end + 1)?;
        hashes.update(INDPTR, if rows.start == 0 { &ends } else { &ends[1..] });
        let (indices, data) = (file.plain_dataset(INDICES)?, file.plain_dataset(DATA)?);
        let place =
            |&end: &i64| usize::try_from(end).ok().filter(|&end| end <= indices.size().min(data.size()));
        let ends: Option<Vec<usize>> = ends.iter().map(place).collect();
        let ends = ends.filter(|ends| ends.is_sorted()).ok_or_else(|| self.damaged(INDPTR))?;
        let entries = ends[0]..ends[ends.len() - 1];
        // More than full rows would be more than there can be.
        if entries.len() > rows.len().saturating_mul(n_genes) {
            return Err(self.damaged(INDPTR));
        }
        let columns: Vec<i32> = self.run(&indices, INDICES, entries.clone())?;
        let values: Vec<f32> = self.run(&data, DATA, entries)?;
        hashes.update(INDICES, &columns);
        hashes.update(DATA, &values);
        Ok((ends.iter().map(|end| end - ends[0]).collect(), columns, values))
    }
}

/// Copies `X` of shards that lie side by side.
fn copy_rows(parts: &[Part], out: &mut OutputFile<'_>) -> Result<()> {
    let n_rows = parts.first().map_or(0, |part| part.manifest.cells.len());
    let mut hashes: Vec<Hashes> = parts.iter().map(|_| Hashes::of(&[INDPTR, INDICES, DATA])).collect();
    // Bounded by the entries of full rows.
    let n_genes: usize = parts.iter().map(|part| part.manifest.genes.len()).sum();
    let at_a_time = (MOST_TILE_VALUES / n_genes.max(1)).clamp(1, ROWS);
    // Without rows there is still an offset to check.
    let none = (n_rows == 0).then_some(0..0);
    for rows in tiles(n_rows, at_a_time).into_iter().chain(none) {
        let read = |(part, hashes): (&Part, &mut Hashes)| part.counts(&rows, hashes);
        let blocks = parts.iter().zip(&mut hashes).map(read).collect::<Result<Vec<_>>>()?;
        for row in 0..rows.len() {
            let of_row = blocks.iter().zip(parts).flat_map(|((ends, columns, values), part)| {
                let entries = ends[row]..ends[row + 1];
                let first = u32::try_from(part.manifest.genes.start).unwrap_or(u32::MAX);
                let columns = columns[entries.clone()]
                    .iter()
                    .map(move |column| column.cast_unsigned().saturating_add(first));
                columns.zip(values[entries].iter().copied())
            });
            out.append_counts(of_row)?;
        }
    }
    parts.iter().zip(hashes).try_for_each(|(part, hashes)| part.check_hashes(hashes))
}
