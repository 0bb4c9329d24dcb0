//! Blosc 1: HDF5 filter 32001, which pandas' HDF5 files (the original LATE's `.hd5`) are compressed with.
//!
//! A frame is a header of 16 bytes, the offsets of its blocks, and the blocks, each of one stream or of one for every
//! byte of an element (github.com/Blosc/c-blosc, README_CHUNK_FORMAT.rst).

use super::super::shuffle::{unshuffle, unshuffle_bits};
use super::{Decoders, blosclz, lz4, zstd};

const HEADER: usize = 16;
/// Newer ones are of another format (Blosc 2).
const MAX_VERSION: u8 = 2;
/// Bits of the flags.
const SHUFFLED: u8 = 1;
const STORED: u8 = 1 << 1;
const BITS_SHUFFLED: u8 = 1 << 2;
const NOT_SPLIT: u8 = 1 << 4;
/// Blocks are split for elements of at most this many bytes ...
const MAX_SPLITS: usize = 16;
/// ... and if there are at least as many elements in one.
const MIN_ELEMENTS: usize = 128;

type Damage = &'static str;

/// A codec by its number in the flags.
#[derive(Clone, Copy)]
enum Codec {
    BloscLz,
    Lz4,
    Zlib,
    Zstd,
}

struct Frame<'a> {
    bytes: &'a [u8],
    flags: u8,
    type_size: usize,
    block_size: usize,
    codec: Codec,
}

/// Expands the frame `input` into exactly `output`, or tells what is wrong with it.
pub(in crate::hdf) fn decompress(
    input: &[u8],
    output: &mut [u8],
    decoders: &mut Decoders,
) -> Result<(), Damage> {
    let frame = Frame::open(input, output.len())?;
    if frame.flags & STORED != 0 {
        let stored = frame.bytes.get(HEADER..HEADER + output.len()).ok_or(SHORT)?;
        output.copy_from_slice(stored);
        return Ok(());
    }
    let mut planes = vec![0; frame.block_size.min(output.len())];
    for (number, block) in output.chunks_mut(frame.block_size).enumerate() {
        let planes = &mut planes[..block.len()];
        frame.expand(number, planes, decoders)?;
        match frame.flags {
            flags if flags & SHUFFLED != 0 => unshuffle(planes, block, frame.type_size),
            flags if flags & BITS_SHUFFLED != 0 => unshuffle_bits(planes, block, frame.type_size),
            _ => block.copy_from_slice(planes),
        }
    }
    Ok(())
}

const SHORT: Damage = "its Blosc frame is cut short";
const BROKEN: Damage = "its Blosc frame is damaged";

impl<'a> Frame<'a> {
    /// Checks the header of a frame of `size` bytes.
    fn open(input: &'a [u8], size: usize) -> Result<Self, Damage> {
        let header = input.first_chunk::<HEADER>().ok_or(SHORT)?;
        let [version, _, flags, type_size, ..] = *header;
        let number = |at: usize| read_u32(input, at).ok_or(SHORT);
        let (n_bytes, block_size, stored) = (number(4)?, number(8)?, number(12)?);
        if version > MAX_VERSION {
            return Err("it is a Blosc2 frame, which cannot be read");
        }
        if n_bytes != size {
            return Err("its Blosc frame has the wrong length");
        }
        let codec = match flags >> 5 {
            0 => Codec::BloscLz,
            1 => Codec::Lz4,
            2 => return Err("its Blosc frame is compressed with snappy, which cannot be read"),
            3 => Codec::Zlib,
            4 => Codec::Zstd,
            _ => return Err("its Blosc frame is compressed with an unknown codec"),
        };
        let bytes = input.get(..stored).ok_or(SHORT)?;
        if block_size == 0 && size > 0 {
            return Err(BROKEN);
        }
        Ok(Self {
            bytes,
            flags,
            type_size: usize::from(type_size).max(1),
            block_size: block_size.max(1),
            codec,
        })
    }

    /// Expands a block, still shuffled, into exactly `output`.
    fn expand(&self, number: usize, output: &mut [u8], decoders: &mut Decoders) -> Result<(), Damage> {
        let mut at = read_u32(self.bytes, HEADER + 4 * number).ok_or(SHORT)?;
        let is_split = self.flags & NOT_SPLIT == 0
            && self.type_size <= MAX_SPLITS
            && self.block_size / self.type_size >= MIN_ELEMENTS
            && output.len() == self.block_size;
        let split = if is_split { output.len() / self.type_size } else { output.len() };
        // A length that the element size does not divide leaves bytes that no stream holds.
        if !output.len().is_multiple_of(split.max(1)) {
            return Err(BROKEN);
        }
        for output in output.chunks_mut(split.max(1)) {
            let length = read_u32(self.bytes, at).ok_or(SHORT)?;
            let stream = self.bytes.get(at + 4..).and_then(|rest| rest.get(..length)).ok_or(SHORT)?;
            at += 4 + length;
            if length == output.len() {
                output.copy_from_slice(stream);
                continue;
            }
            let expanded = match self.codec {
                Codec::BloscLz => blosclz::decompress(stream, output),
                Codec::Lz4 => lz4::decompress_block(stream, output),
                Codec::Zstd => zstd::decompress(stream, output, &mut decoders.zstd),
                Codec::Zlib => match decoders.deflate.zlib_decompress(stream, output) {
                    Ok(length) if length == output.len() => Some(()),
                    _ => None,
                },
            };
            expanded.ok_or(BROKEN)?;
        }
        Ok(())
    }
}

/// The number at `at`, which is not negative.
fn read_u32(bytes: &[u8], at: usize) -> Option<usize> {
    let number = i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    usize::try_from(number).ok()
}
