//! Seeded inputs and comparisons for tests and benches (feature `testing`). Unlike the kernels, this allocates.

use crate::paired::{pack_rows, unpack_rows};
use crate::{Bf16, CsrView, F32, Isa, Kernel, Storage};

/// Widths that meet every path: below, at and above the lanes and register blocks, and the real ones.
pub const WIDTHS: [usize; 12] = [1, 3, 7, 8, 15, 16, 17, 31, 100, 400, 800, 801];

/// `n_samples × n_features` and density of the test matrices: empty, single, primes, dense.
pub const SHAPES: [(usize, usize, f64); 9] = [
    (0, 0, 0.5),
    (0, 5, 0.5),
    (5, 0, 0.5),
    (1, 1, 1.0),
    (1, 17, 0.5),
    (16, 1, 0.6),
    (7, 13, 0.0),
    (31, 23, 1.0),
    (37, 61, 0.2),
];

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Uniform in `0..1`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in `low..high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        #[allow(clippy::cast_possible_truncation, reason = "rounding is meant")]
        let unit = self.unit() as f32;
        low + (high - low) * unit
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// `len` values uniform in `low..high`.
    pub fn vec(&mut self, len: usize, low: f32, high: f32) -> Vec<f32> {
        (0..len).map(|_| self.range(low, high)).collect()
    }
}

/// How stored entries spread over the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// All features alike.
    Even,
    /// A few features nearly everywhere, most of them rare, as genes are: log-normal rates with σ = 1.5.
    Skewed,
}

/// An owned sparse matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedCsr {
    /// `n_rows + 1`.
    pub indptr: Vec<usize>,
    /// Column of each stored entry.
    pub indices: Vec<u32>,
    /// Value of each stored entry.
    pub data: Vec<f32>,
    /// Number of rows.
    pub n_rows: usize,
    /// Number of columns.
    pub n_cols: usize,
}

impl OwnedCsr {
    /// A random `n_samples × n_features` matrix with values like log10(count + 1), sorted by column. The
    /// feature rates do not depend on the number of samples.
    #[must_use]
    pub fn random(n_samples: usize, n_features: usize, density: f64, spread: Spread, rng: &mut Rng) -> Self {
        let rates = feature_rates(n_features, density, spread, rng);
        let mut csr =
            Self { indptr: vec![0], indices: vec![], data: vec![], n_rows: n_samples, n_cols: n_features };
        for _ in 0..n_samples {
            for (feature, &rate) in (0_u32..).zip(&rates) {
                if rng.unit() < rate {
                    csr.indices.push(feature);
                    csr.data.push(rng.range(0.3, 1.5));
                }
            }
            csr.indptr.push(csr.indices.len());
        }
        csr
    }

    /// The checked view.
    ///
    /// # Panics
    /// If the fields were changed into no matrix.
    #[must_use]
    pub fn view(&self) -> CsrView<'_> {
        let view = CsrView::new(&self.indptr, &self.indices, &self.data, self.n_rows, self.n_cols);
        view.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The transpose, sorted by column.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` rows.
    #[must_use]
    pub fn transpose(&self) -> Self {
        let mut indptr = vec![0; self.n_cols + 1];
        for &col in &self.indices {
            indptr[col as usize + 1] += 1;
        }
        for col in 0..self.n_cols {
            indptr[col + 1] += indptr[col];
        }
        let mut next = indptr.clone();
        let (mut indices, mut data) = (vec![0; self.indices.len()], vec![0.0; self.data.len()]);
        for row in 0..self.n_rows {
            for at in self.indptr[row]..self.indptr[row + 1] {
                let to = &mut next[self.indices[at] as usize];
                indices[*to] = u32::try_from(row).unwrap_or_else(|_| panic!("row {row} is no u32"));
                data[*to] = self.data[at];
                *to += 1;
            }
        }
        Self { indptr, indices, data, n_rows: self.n_cols, n_cols: self.n_rows }
    }

    /// The entries `(row, col, value)` for which `keep` holds.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(usize, usize, f32) -> bool) -> Self {
        let mut out = Self { indptr: vec![0], indices: vec![], data: vec![], ..*self };
        for row in 0..self.n_rows {
            for at in self.indptr[row]..self.indptr[row + 1] {
                if keep(row, self.indices[at] as usize, self.data[at]) {
                    out.indices.push(self.indices[at]);
                    out.data.push(self.data[at]);
                }
            }
            out.indptr.push(out.indices.len());
        }
        out
    }

    /// Cut into blocks of columns, each with all rows and the columns counted from its first: what a blocked
    /// [`spmm`](crate::spmm::spmm) wants.
    ///
    /// # Panics
    /// If `width` is 0.
    #[must_use]
    pub fn column_blocks(&self, width: usize) -> Vec<Self> {
        assert!(width > 0, "blocks need a width");
        let starts = (0..self.n_cols).step_by(width);
        starts
            .map(|start| {
                let n_cols = width.min(self.n_cols - start);
                let mut block =
                    Self { indptr: vec![0], indices: vec![], data: vec![], n_rows: self.n_rows, n_cols };
                for row in 0..self.n_rows {
                    for at in self.indptr[row]..self.indptr[row + 1] {
                        let col = self.indices[at] as usize;
                        if (start..start + n_cols).contains(&col) {
                            block.indices.push(u32::try_from(col - start).unwrap_or(u32::MAX));
                            block.data.push(self.data[at]);
                        }
                    }
                    block.indptr.push(block.indices.len());
                }
                block
            })
            .collect()
    }

    /// As a dense row-major matrix.
    #[must_use]
    pub fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.n_rows * self.n_cols];
        for row in 0..self.n_rows {
            for at in self.indptr[row]..self.indptr[row + 1] {
                dense[row * self.n_cols + self.indices[at] as usize] += self.data[at];
            }
        }
        dense
    }
}

/// Probability of each feature, in random order, with the wanted mean.
#[must_use]
pub fn feature_rates(n_features: usize, density: f64, spread: Spread, rng: &mut Rng) -> Vec<f64> {
    if spread == Spread::Even || density <= 0.0 {
        return vec![density; n_features];
    }
    let raw: Vec<f64> = (0..n_features).map(|_| (1.5 * rng.normal()).exp()).collect();
    let mean = |scale: f64| raw.iter().map(|x| (x * scale).min(0.98)).sum::<f64>() / n_features.max(1) as f64;
    let (mut low, mut high) = (0.0, 1e9);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if mean(middle) < density { low = middle } else { high = middle }
    }
    raw.iter().map(|x| (x * low).min(0.98)).collect()
}

/// A copy that starts on a cache line, as the large arrays of a fast caller do: rows of 800 values then never
/// straddle one.
#[derive(Debug)]
pub struct Aligned<W = f32> {
    padded: Vec<W>,
    start: usize,
    len: usize,
}

/// Words that start on a cache line, as packed factors should.
pub type AlignedWords = Aligned<u32>;

impl<W: Copy + Default> Aligned<W> {
    /// Copies the values.
    #[must_use]
    pub fn new(values: &[W]) -> Self {
        let mut out = Self::zeros(values.len());
        out.copy_from_slice(values);
        out
    }

    /// `len` zeros.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        let padded = vec![W::default(); len + 64];
        let start = padded.as_ptr().align_offset(64).min(64);
        Self { padded, start, len }
    }
}

impl<W: Copy + Default> Clone for Aligned<W> {
    fn clone(&self) -> Self {
        Self::new(self)
    }
}

impl<W> std::ops::Deref for Aligned<W> {
    type Target = [W];

    fn deref(&self) -> &[W] {
        &self.padded[self.start..self.start + self.len]
    }
}

impl<W> std::ops::DerefMut for Aligned<W> {
    fn deref_mut(&mut self) -> &mut [W] {
        &mut self.padded[self.start..self.start + self.len]
    }
}

/// A copy at an odd offset, so that no vector is aligned.
#[derive(Clone, Debug)]
pub struct Unaligned<W = f32>(Vec<W>);

impl<W: Copy + Default> Unaligned<W> {
    /// Copies the values.
    #[must_use]
    pub fn new(values: &[W]) -> Self {
        Self([&[W::default()], values].concat())
    }
}

impl<W> std::ops::Deref for Unaligned<W> {
    type Target = [W];

    fn deref(&self) -> &[W] {
        &self.0[1..]
    }
}

impl<W> std::ops::DerefMut for Unaligned<W> {
    fn deref_mut(&mut self) -> &mut [W] {
        &mut self.0[1..]
    }
}

/// A storage whose rows can be made from f32 values, rounding to nearest, and read back.
pub trait Stored: Storage {
    /// Rows of `k` values as stored.
    fn stored(values: &[f32], k: usize) -> Vec<Self::Word>;

    /// The values of stored rows.
    fn values(rows: &[Self::Word], k: usize) -> Vec<f32>;

    /// Asserts that stored rows, the results of rounded f32 computations, agree: as [`assert_close`] says for f32;
    /// for bf16, where a last bit may tip the rounding, to one step of bf16 everywhere and exactly in all but 2%.
    ///
    /// # Panics
    /// If they do not.
    fn assert_close(what: &str, got: &[Self::Word], want: &[Self::Word], k: usize, abs: f64, terms: usize);
}

impl Stored for F32 {
    fn stored(values: &[f32], _: usize) -> Vec<f32> {
        values.to_vec()
    }

    fn values(rows: &[f32], _: usize) -> Vec<f32> {
        rows.to_vec()
    }

    #[track_caller]
    fn assert_close(what: &str, got: &[f32], want: &[f32], _: usize, abs: f64, terms: usize) {
        assert_close(what, got, want, abs, terms);
    }
}

impl Stored for Bf16 {
    fn stored(values: &[f32], k: usize) -> Vec<u32> {
        let n_rows = values.len() / k;
        let mut out = vec![0; n_rows * Self::row_words(k)];
        pack_rows(Isa::Reference, &mut out, values, n_rows, k);
        out
    }

    fn values(rows: &[u32], k: usize) -> Vec<f32> {
        let n_rows = rows.len() / Self::row_words(k);
        let mut out = vec![f32::NAN; n_rows * k];
        unpack_rows(Isa::Reference, &mut out, rows, n_rows, k);
        out
    }

    #[track_caller]
    fn assert_close(what: &str, got: &[u32], want: &[u32], k: usize, abs: f64, _: usize) {
        const STEP: f64 = 1.0 / 128.0;
        assert_eq!(got.len(), want.len(), "{what}: length");
        let (got, want) = (Self::values(got, k), Self::values(want, k));
        for (at, (&got, &want)) in got.iter().zip(&want).enumerate() {
            let difference = (f64::from(got) - f64::from(want)).abs();
            let allowed = abs + STEP * f64::from(want.abs());
            assert!(difference <= allowed, "{what}: at {at} got {got}, want {want}, more than a step apart");
        }
        let others = got.iter().zip(&want).filter(|(got, want)| got != want).count();
        assert!(others <= 2 + got.len() / 50, "{what}: {others} of {} values rounded otherwise", got.len());
    }
}

/// Asserts `|got - want| <= abs + ε · terms · scale`, where `scale` is the largest wanted magnitude (at least 1)
/// and `terms` the number of rounded operations behind a value; NaN is wanted where NaN is.
///
/// # Panics
/// If they differ by more, naming the worst place.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f32], abs: f64, terms: usize) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let scale = want.iter().filter(|x| x.is_finite()).fold(1.0, |scale, x| f64::from(x.abs()).max(scale));
    let allowed = abs + f64::from(f32::EPSILON) * terms as f64 * scale;
    for (at, (&got, &want)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(got) - f64::from(want)).abs();
        let equal = difference <= allowed || got == want || (got.is_nan() && want.is_nan());
        assert!(equal, "{what}: at {at} got {got}, want {want}, off by {difference:e}, allowed {allowed:e}");
    }
}

/// The instruction sets of a `KERNELS` table that this CPU runs; the others are reported as skipped.
pub fn runnable<F: Copy>(table: &[Kernel<F>]) -> impl Iterator<Item = (Isa, &'static str)> {
    table.iter().filter_map(|kernel| {
        if kernel.isa().is_available() {
            return Some((kernel.isa(), kernel.name()));
        }
        println!("SKIPPED {}", kernel.name());
        None
    })
}
