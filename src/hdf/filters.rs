//! Undoing HDF5's filter pipeline on raw chunks.

use std::path::Path;

use super::lzf;
use crate::error::{Error, Result};

/// More than deflate can expand: declared chunk sizes beyond this are lies.
const MAX_EXPANSION: u64 = 1100;

/// A filter this program can undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Deflate,
    Shuffle,
    Fletcher32,
    Lzf,
}

/// The filters of a dataset, in the order in which its writer applied them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipeline(Vec<Filter>);

/// Reusable memory of one decoding thread. Buffers only grow: clearing them for each chunk cost 6%.
pub(super) struct Scratch {
    inflater: libdeflater::Decompressor,
    chunk: Vec<u8>,
    spare: Vec<u8>,
    length: usize,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let inflater = libdeflater::Decompressor::new();
        Self { inflater, chunk: Vec::new(), spare: Vec::new(), length: 0 }
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
        let known = filters.iter().map(|filter| match filter.id() {
            1 => Ok(Filter::Deflate),
            2 => Ok(Filter::Shuffle),
            3 => Ok(Filter::Fletcher32),
            32000 => Ok(Filter::Lzf),
            id => Err(Error::input(
                path,
                name,
                "gzip, shuffle, fletcher32, LZF or no compression",
                format!("HDF5 filter {id} ({})", filter_name(id)),
                "re-save the file with gzip, for example write_h5ad(..., compression=\"gzip\")",
            )),
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
        });
        let names: Vec<_> = names.collect();
        if names.is_empty() { "none".to_owned() } else { names.join(" + ") }
    }

    /// Whether `stored` bytes can possibly expand to `size`.
    pub(super) fn can_expand(&self, stored: u64, size: u64) -> bool {
        let compressed = self.0.iter().any(|filter| matches!(filter, Filter::Deflate | Filter::Lzf));
        let bound = if compressed { stored.saturating_add(64).saturating_mul(MAX_EXPANSION) } else { stored };
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
                    match scratch.inflater.zlib_decompress(input, output) {
                        Ok(length) if length == expanded => scratch.accept(expanded),
                        _ => return Err("its gzip stream is damaged"),
                    }
                }
                Filter::Lzf => {
                    let output = grown(&mut scratch.spare, expanded);
                    lzf::decompress(input, output).ok_or("its LZF stream is damaged")?;
                    scratch.accept(expanded);
                }
            }
        }
        if scratch.length == size { Ok(()) } else { Err("it has the wrong length") }
    }
}

/// Gathers byte `j` of every element from plane `j`.
fn unshuffle(planes: &[u8], elements: &mut [u8], element_size: usize) {
    let count = planes.len() / element_size.max(1);
    match element_size {
        0 | 1 => elements.copy_from_slice(planes),
        2 => unshuffle_2(planes, count, elements),
        4 => unshuffle_4(planes, count, elements),
        8 => unshuffle_8(planes, count, elements),
        _ => {
            for (byte, plane) in planes.chunks_exact(count.max(1)).take(element_size).enumerate() {
                for (element, &value) in elements.chunks_exact_mut(element_size).zip(plane) {
                    element[byte] = value;
                }
            }
        }
    }
    let done = count * element_size;
    elements[done..].copy_from_slice(&planes[done..]);
}

/// Elements that are gathered at a time. Halves join to 16, 32, 64 bits in passes over blocks of this size:
/// each pass becomes vector instructions, which the plain loop over bytes does not (4.1 against 1.7 GB/s for 8
/// bytes; a tree of interleavings in registers 1.9, shifts and masks in 64-bit words 1.3).
const BLOCK: usize = 256;

fn unshuffle_2(planes: &[u8], count: usize, elements: &mut [u8]) {
    let mut joined = [0_u16; BLOCK];
    for (block, output) in elements[..count * 2].chunks_mut(BLOCK * 2).enumerate() {
        let length = output.len() / 2;
        join_bytes(planes, count, 0, block * BLOCK, &mut joined[..length]);
        for (element, value) in output.as_chunks_mut().0.iter_mut().zip(joined) {
            *element = value.to_le_bytes();
        }
    }
}

fn unshuffle_4(planes: &[u8], count: usize, elements: &mut [u8]) {
    let mut joined = [0_u32; BLOCK];
    for (block, output) in elements[..count * 4].chunks_mut(BLOCK * 4).enumerate() {
        let length = output.len() / 4;
        join_words(planes, count, 0, block * BLOCK, &mut joined[..length]);
        for (element, value) in output.as_chunks_mut().0.iter_mut().zip(joined) {
            *element = value.to_le_bytes();
        }
    }
}

fn unshuffle_8(planes: &[u8], count: usize, elements: &mut [u8]) {
    let (mut low, mut high) = ([0_u32; BLOCK], [0_u32; BLOCK]);
    for (block, output) in elements[..count * 8].chunks_mut(BLOCK * 8).enumerate() {
        let length = output.len() / 8;
        join_words(planes, count, 0, block * BLOCK, &mut low[..length]);
        join_words(planes, count, 4, block * BLOCK, &mut high[..length]);
        for ((element, low), high) in output.as_chunks_mut().0.iter_mut().zip(low).zip(high) {
            *element = (u64::from(low) | u64::from(high) << 32).to_le_bytes();
        }
    }
}

/// Joins planes `first` and `first + 1`, from element `start` on.
fn join_bytes(planes: &[u8], count: usize, first: usize, start: usize, output: &mut [u16]) {
    let plane = |byte: usize| &planes[byte * count + start..byte * count + start + output.len()];
    let (low, high) = (plane(first), plane(first + 1));
    for ((joined, &low), &high) in output.iter_mut().zip(low).zip(high) {
        *joined = u16::from(low) | u16::from(high) << 8;
    }
}

/// Joins the four planes from `first` on.
fn join_words(planes: &[u8], count: usize, first: usize, start: usize, output: &mut [u32]) {
    let (mut low, mut high) = ([0_u16; BLOCK], [0_u16; BLOCK]);
    let length = output.len();
    join_bytes(planes, count, first, start, &mut low[..length]);
    join_bytes(planes, count, first + 2, start, &mut high[..length]);
    for ((joined, low), high) in output.iter_mut().zip(low).zip(high) {
        *joined = u32::from(low) | u32::from(high) << 16;
    }
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
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32026 => "Blosc2",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffle_is_undone_for_every_size_and_remainder() {
        for size in [1, 2, 3, 4, 8, 16] {
            for count in [0, 1, 7, 255, 256, 600] {
                for rest in 0..size.min(3) {
                    let elements: Vec<u8> =
                        (0..=255_u8).cycle().step_by(7).take(size * count + rest).collect();
                    let mut planes = Vec::new();
                    for byte in 0..size {
                        planes.extend((0..count).map(|index| elements[index * size + byte]));
                    }
                    planes.extend(&elements[size * count..]);
                    let mut found = vec![0; elements.len()];
                    unshuffle(&planes, &mut found, size);
                    assert_eq!(found, elements, "size {size} count {count} rest {rest}");
                }
            }
        }
    }

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
