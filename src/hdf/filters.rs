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

/// Reusable memory of one decoding thread.
pub(super) struct Scratch {
    inflater: libdeflater::Decompressor,
    spare: Vec<u8>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { inflater: libdeflater::Decompressor::new(), spare: Vec::new() }
    }
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

    /// Turns the stored bytes in `chunk` into the `size` bytes its writer had, in place. Bit `i` of
    /// `mask` says that filter `i` was skipped. Returns what is wrong with a damaged chunk.
    pub(super) fn decode(
        &self,
        scratch: &mut Scratch,
        chunk: &mut Vec<u8>,
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
            match filter {
                Filter::Fletcher32 => verify_fletcher32(chunk)?,
                Filter::Shuffle => {
                    scratch.spare.resize(chunk.len(), 0);
                    unshuffle(chunk, &mut scratch.spare, element_size);
                    std::mem::swap(chunk, &mut scratch.spare);
                }
                Filter::Deflate => {
                    scratch.spare.resize(expanded, 0);
                    match scratch.inflater.zlib_decompress(chunk, &mut scratch.spare) {
                        Ok(length) if length == expanded => {}
                        _ => return Err("its gzip stream is damaged"),
                    }
                    std::mem::swap(chunk, &mut scratch.spare);
                }
                Filter::Lzf => {
                    scratch.spare.resize(expanded, 0);
                    lzf::decompress(chunk, &mut scratch.spare).ok_or("its LZF stream is damaged")?;
                    std::mem::swap(chunk, &mut scratch.spare);
                }
            }
        }
        if chunk.len() == size { Ok(()) } else { Err("it has the wrong length") }
    }
}

/// Gathers byte `j` of every element from plane `j`.
fn unshuffle(planes: &[u8], elements: &mut [u8], element_size: usize) {
    match element_size {
        0 | 1 => elements.copy_from_slice(planes),
        2 => unshuffle_sized::<2>(planes, elements),
        4 => unshuffle_sized::<4>(planes, elements),
        8 => unshuffle_sized::<8>(planes, elements),
        _ => {
            let count = planes.len() / element_size;
            for (byte, plane) in planes.chunks_exact(count.max(1)).take(element_size).enumerate() {
                for (element, &value) in elements.chunks_exact_mut(element_size).zip(plane) {
                    element[byte] = value;
                }
            }
            copy_rest(planes, elements, count * element_size);
        }
    }
}

/// The same with the size known, which the compiler turns into vector instructions.
fn unshuffle_sized<const SIZE: usize>(planes: &[u8], elements: &mut [u8]) {
    let count = planes.len() / SIZE;
    let plane: [&[u8]; SIZE] = std::array::from_fn(|byte| &planes[byte * count..(byte + 1) * count]);
    let (whole, _) = elements.as_chunks_mut::<SIZE>();
    for (index, element) in whole.iter_mut().enumerate().take(count) {
        *element = std::array::from_fn(|byte| plane[byte][index]);
    }
    copy_rest(planes, elements, count * SIZE);
}

fn copy_rest(planes: &[u8], elements: &mut [u8], done: usize) {
    elements[done..].copy_from_slice(&planes[done..]);
}

/// Checks and removes the checksum at the end.
fn verify_fletcher32(chunk: &mut Vec<u8>) -> std::result::Result<(), &'static str> {
    let (data, stored) = chunk.split_last_chunk::<4>().ok_or("it is too short for its checksum")?;
    let computed = fletcher32(data);
    let stored = u32::from_le_bytes(*stored);
    // Libraries before 1.6.3 swapped the bytes of either half.
    let swapped = ((computed & 0x00ff_00ff) << 8) | ((computed >> 8) & 0x00ff_00ff);
    if stored != computed && stored != swapped {
        return Err("its checksum does not match");
    }
    chunk.truncate(chunk.len() - 4);
    Ok(())
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
            for count in [0, 1, 7, 33] {
                for rest in 0..size.min(3) {
                    let elements: Vec<u8> = (0..size * count + rest).map(|x| (x * 7 % 251) as u8).collect();
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
        let mut chunk: Vec<u8> = (0..1001_u32).map(|x| (x % 256) as u8).collect();
        let sum = fletcher32(&chunk);
        chunk.extend(sum.to_le_bytes());
        verify_fletcher32(&mut chunk.clone()).unwrap();
        chunk[500] ^= 1;
        assert!(verify_fletcher32(&mut chunk).is_err());
    }
}
