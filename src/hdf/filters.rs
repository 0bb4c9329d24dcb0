//! Undoing HDF5's filter pipeline on raw chunks.

use std::path::Path;

use super::codec::{Decoders, blosc, lz4, lzf, zstd};
use super::shuffle::unshuffle;
use crate::error::{Error, Result};

/// More than deflate, LZF, LZ4 and Blosc without Zstandard can expand: declared chunk sizes beyond this are lies.
const MAX_EXPANSION: u64 = 1100;
/// More than Zstandard can: four bytes may stand for a block of 128 KiB.
const MAX_EXPANSION_ZSTD: u64 = 1 << 16;

/// A filter this program can undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Deflate,
    Shuffle,
    Fletcher32,
    Lzf,
    Lz4,
    Zstd,
    Blosc,
}

impl Filter {
    /// The filter with this number of HDF5's registry.
    fn of(id: i32) -> Option<Self> {
        Some(match id {
            1 => Self::Deflate,
            2 => Self::Shuffle,
            3 => Self::Fletcher32,
            32000 => Self::Lzf,
            32001 => Self::Blosc,
            32004 => Self::Lz4,
            32015 => Self::Zstd,
            _ => return None,
        })
    }
}

/// The filters of a dataset, in the order in which its writer applied them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipeline(Vec<Filter>);

/// Reusable memory of one decoding thread. Buffers only grow: clearing them for each chunk cost 6%.
pub(super) struct Scratch {
    decoders: Decoders,
    chunk: Vec<u8>,
    spare: Vec<u8>,
    length: usize,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { decoders: Decoders::default(), chunk: Vec::new(), spare: Vec::new(), length: 0 }
    }

    /// Room for a chunk as it is stored, to be filled and decoded.
    pub(super) fn stored(&mut self, length: usize) -> &mut [u8] {
        self.length = length;
        grown(&mut self.chunk, length)
    }

    /// The decoded chunk.
    pub(super) fn decoded(&self) -> &[u8] {
        &self.chunk[..self.length]
    }

    /// Makes the output of a filter, `length` bytes of `spare`, the chunk.
    fn accept(&mut self, length: usize) {
        std::mem::swap(&mut self.chunk, &mut self.spare);
        self.length = length;
    }
}

fn grown(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

impl Pipeline {
    /// Reads the pipeline of `dataset`; a filter that cannot be undone is an error naming it.
    pub(super) fn of(dataset: &hdf5::Dataset, path: &Path, name: &str) -> Result<Self> {
        let filters = dataset
            .create_plist()
            .and_then(|plist| plist.get_filters())
            .map_err(|source| Error::hdf5(path, name, "read the filter pipeline", source))?;
        let known = filters.iter().map(|filter| {
            let id = filter.id();
            Filter::of(id).ok_or_else(|| {
                Error::input(
                    path,
                    name,
                    "gzip, shuffle, fletcher32, LZF, LZ4, Zstandard, Blosc or no compression",
                    format!("HDF5 filter {id} ({})", filter_name(id)),
                    "re-save the file with gzip, for example write_h5ad(..., compression=\"gzip\")",
                )
            })
        });
        Ok(Self(known.collect::<Result<_>>()?))
    }

    /// "gzip + shuffle", or "none".
    pub(super) fn describe(&self) -> String {
        let names = self.0.iter().map(|filter| match filter {
            Filter::Deflate => "gzip",
            Filter::Shuffle => "shuffle",
            Filter::Fletcher32 => "fletcher32",
            Filter::Lzf => "LZF",
            Filter::Lz4 => "LZ4",
            Filter::Zstd => "Zstandard",
            Filter::Blosc => "Blosc",
        });
        let names: Vec<_> = names.collect();
        if names.is_empty() { "none".to_owned() } else { names.join(" + ") }
    }

    /// Whether `stored` bytes can possibly expand to `size`.
    pub(super) fn can_expand(&self, stored: u64, size: u64) -> bool {
        let expansion = |filter: &Filter| match filter {
            Filter::Shuffle | Filter::Fletcher32 => 1,
            Filter::Deflate | Filter::Lzf | Filter::Lz4 => MAX_EXPANSION,
            Filter::Zstd | Filter::Blosc => MAX_EXPANSION_ZSTD,
        };
        let bound = match self.0.iter().map(expansion).max().unwrap_or(1) {
            1 => stored,
            most => stored.saturating_add(64).saturating_mul(most),
        };
        size <= bound
    }

    /// Turns the stored bytes in `scratch` into the `size` bytes its writer had. Bit `i` of `mask`
    /// says that filter `i` was skipped. Returns what is wrong with a damaged chunk.
    pub(super) fn decode(
        &self,
        scratch: &mut Scratch,
        mask: u32,
        element_size: usize,
        size: usize,
    ) -> std::result::Result<(), &'static str> {
        let active = |position: usize| position >= 32 || mask & (1 << position) == 0;
        for (position, filter) in self.0.iter().enumerate().rev() {
            if !active(position) {
                continue;
            }
            // Earlier checksums lengthen what this filter was given.
            let checksums = self.0[..position]
                .iter()
                .enumerate()
                .filter(|&(earlier, filter)| *filter == Filter::Fletcher32 && active(earlier))
                .count();
            let expanded = size + 4 * checksums;
            let input = &scratch.chunk[..scratch.length];
            match filter {
                Filter::Fletcher32 => scratch.length = verify_fletcher32(input)?,
                Filter::Shuffle => {
                    unshuffle(input, grown(&mut scratch.spare, input.len()), element_size);
                    scratch.accept(scratch.length);
                }
                Filter::Deflate => {
                    let output = grown(&mut scratch.spare, expanded);
                    match scratch.decoders.deflate.zlib_decompress(input, output) {
                        Ok(length) if length == expanded => scratch.accept(expanded),
                        _ => return Err("its gzip stream is damaged"),
                    }
                }
                Filter::Lzf | Filter::Lz4 | Filter::Zstd | Filter::Blosc => {
                    let output = grown(&mut scratch.spare, expanded);
                    let decoded = match filter {
                        Filter::Lzf => lzf::decompress(input, output).ok_or("its LZF stream is damaged"),
                        Filter::Lz4 => lz4::decompress(input, output).ok_or("its LZ4 stream is damaged"),
                        Filter::Zstd => zstd::decompress(input, output, &mut scratch.decoders.zstd)
                            .ok_or("its Zstandard stream is damaged"),
                        _ => blosc::decompress(input, output, &mut scratch.decoders),
                    };
                    decoded?;
                    scratch.accept(expanded);
                }
            }
        }
        if scratch.length == size { Ok(()) } else { Err("it has the wrong length") }
    }
}

/// Undoes the filters numbered `ids`, those of a dataset with elements of `element_size` bytes, on a stored chunk that
/// had `size` bytes before; no promise is made about this way in, which fuzzing takes.
///
/// # Errors
/// When the chunk is damaged, or a filter is not known.
#[doc(hidden)]
pub fn undo_filters(
    ids: &[i32],
    mask: u32,
    element_size: usize,
    stored: &[u8],
    size: usize,
) -> std::result::Result<Vec<u8>, &'static str> {
    let filters = ids.iter().map(|&id| Filter::of(id)).collect::<Option<_>>();
    let pipeline = Pipeline(filters.ok_or("it has an unknown filter")?);
    let mut scratch = Scratch::new();
    scratch.stored(stored.len()).copy_from_slice(stored);
    pipeline.decode(&mut scratch, mask, element_size, size)?;
    Ok(scratch.decoded().to_vec())
}

/// Checks the checksum at the end; gives the length without it.
fn verify_fletcher32(chunk: &[u8]) -> std::result::Result<usize, &'static str> {
    let (data, stored) = chunk.split_last_chunk::<4>().ok_or("it is too short for its checksum")?;
    let computed = fletcher32(data);
    let stored = u32::from_le_bytes(*stored);
    // Libraries before 1.6.3 swapped the bytes of either half.
    let swapped = ((computed & 0x00ff_00ff) << 8) | ((computed >> 8) & 0x00ff_00ff);
    if stored == computed || stored == swapped { Ok(data.len()) } else { Err("its checksum does not match") }
}

fn fletcher32(data: &[u8]) -> u32 {
    let (mut sum1, mut sum2) = (0_u32, 0_u32);
    let (words, rest) = data.as_chunks::<2>();
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    for block in words.chunks(360) {
        for word in block {
            sum1 += u32::from(u16::from_be_bytes(*word));
            sum2 += sum1;
        }
        sum1 = fold(sum1);
        sum2 = fold(sum2);
    }
    if let [last] = rest {
        sum1 += u32::from(*last) << 8;
        sum2 += sum1;
        sum1 = fold(sum1);
        sum2 = fold(sum2);
    }
    (fold(sum2) << 16) | fold(sum1)
}

fn filter_name(id: i32) -> &'static str {
    match id {
        4 => "szip",
        5 => "n-bit",
        6 => "scale-offset",
        307 => "bzip2",
        32008 => "bitshuffle",
        32013 => "ZFP",
        32026 => "Blosc2",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_breaks_the_checksum() {
        let mut chunk: Vec<u8> = (0..=255).cycle().take(1001).collect();
        let sum = fletcher32(&chunk);
        chunk.extend(sum.to_le_bytes());
        assert_eq!(verify_fletcher32(&chunk).unwrap(), 1001);
        chunk[500] ^= 1;
        assert!(verify_fletcher32(&chunk).is_err());
    }
}
