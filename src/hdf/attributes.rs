//! Attributes before libhdf5 sees them.
//!
//! libhdf5 1.10 reads beyond an attribute whose parts are longer than it is, and frees one twice that it could not decode:
//! one changed byte ends the process. Here every attribute of an object has to be what libhdf5 can decode. Those of
//! objects with so many that they are kept in a heap are not seen, nor is what is shared between objects.

use super::chunk_index::first_attribute;
use super::file::HdfFile;
use super::heap::{self, REFERENCE_BYTES, Reference};
use super::to_usize;

/// HDF5's own limit.
const MAX_RANK: usize = 32;
/// Types in types: libhdf5's are never as deep.
const MAX_DEPTH: usize = 8;
/// Bits of the flags: type or shape lie elsewhere.
const SHARED_TYPE: u8 = 1;
const SHARED_SHAPE: u8 = 1 << 1;

/// The name of the first attribute of `object` that does not fit.
pub(super) fn damaged(file: &HdfFile, object: &hdf5::Location) -> Option<String> {
    let message = first_attribute(file, object, |message| fits(file, message).is_none())?;
    let name = message.get(8..)?.split(|&byte| byte == 0).find(|name| !name.is_empty()).unwrap_or_default();
    Some(String::from_utf8_lossy(&name[..name.len().min(64)]).into_owned())
}

/// Whether an attribute message is whole.
fn fits(file: &HdfFile, message: &[u8]) -> Option<()> {
    let [version, flags, ..] = *message.first_chunk::<8>()?;
    if !(1..=3).contains(&version) || (version > 1 && flags > SHARED_TYPE | SHARED_SHAPE) {
        return None;
    }
    // ASCII or UTF-8: the binding takes it for one of the numbers it knows.
    if version == 3 && *message.get(8)? > 1 {
        return None;
    }
    let flags = if version == 1 { 0 } else { flags };
    let mut rest = Bytes(message.get(if version == 3 { 9 } else { 8 }..)?);
    let mut parts = [message; 3];
    for (part, at) in parts.iter_mut().zip([2, 4, 6]) {
        let length = usize::from(u16::from_le_bytes([message[at], message[at + 1]]));
        // Only the first version pads.
        *part = &rest.take(if version == 1 { length.next_multiple_of(8) } else { length })?[..length];
    }
    let [name, kind, shape] = parts;
    // The name ends with its only zero.
    if name.iter().position(|&byte| byte == 0)? + 1 != name.len() {
        return None;
    }
    if flags & (SHARED_TYPE | SHARED_SHAPE) != 0 {
        return Some(());
    }
    let element = type_size(&mut Bytes(kind), 0)?;
    let count = count(shape)?;
    let data = rest.take(element.checked_mul(count)?)?;
    if kind[0] & 15 == VAR_LEN && kind[1] & 15 == 1 { strings_fit(file, data) } else { Some(()) }
}

/// Whether strings of variable length have just the length that they have in their heap, which libhdf5 takes for granted.
fn strings_fit(file: &HdfFile, data: &[u8]) -> Option<()> {
    let references: Vec<Reference> =
        data.as_chunks::<REFERENCE_BYTES>().0.iter().map(Reference::parse).collect();
    heap::are_whole(&file.raw(), file.size(), file.user_block(), &references).then_some(())
}

/// The rest of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// An unsigned little-endian number of up to eight bytes.
    fn number(&mut self, length: usize) -> Option<usize> {
        let bytes = self.take(length)?;
        Some(to_usize(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))))
    }

    /// A name that a zero ends, padded to eights.
    fn name(&mut self, padded: bool) -> Option<()> {
        let length = self.0.iter().position(|&byte| byte == 0)? + 1;
        self.take(if padded { length.next_multiple_of(8) } else { length }).map(drop)
    }
}

const VAR_LEN: u8 = 9;

/// Bytes of an element of the type, if libhdf5 can decode it.
fn type_size(bytes: &mut Bytes<'_>, depth: usize) -> Option<usize> {
    let [head, flags @ ..] = *bytes.take(4)?.first_chunk::<4>()?;
    let (class, version) = (head & 15, head >> 4);
    let size = bytes.number(4)?;
    let count = usize::from(u16::from_le_bytes([flags[0], flags[1]]));
    if !(1..=3).contains(&version) || size == 0 || depth > MAX_DEPTH {
        return None;
    }
    match class {
        // Integers and bit fields: offset and precision.
        0 | 4 => drop(bytes.take(4)?),
        // Reals: the leading one is kept, implied or always there.
        1 => {
            let usual_order = flags[0] & 0x40 == 0 || (version == 3 && flags[0] & 1 == 1);
            let fields = bytes.take(12)?;
            if !usual_order || flags[0] >> 4 & 3 == 3 || fields.len() < 12 {
                return None;
            }
        }
        2 => drop(bytes.take(2)?),
        // Strings.
        3 => {}
        // Opaque: a tag.
        5 => drop(bytes.take(usize::from(flags[0]))?),
        6 => members(bytes, count, size, version, depth)?,
        // References to objects and regions.
        7 if flags[0] & 15 <= 1 => {}
        // Enumerations: names and values.
        8 => {
            let width = type_size(bytes, depth + 1)?;
            if count == 0 || width != size {
                return None;
            }
            (0..count).try_for_each(|_| bytes.name(version < 3))?;
            bytes.take(count.checked_mul(width)?)?;
        }
        VAR_LEN if flags[0] & 15 <= 1 && size == REFERENCE_BYTES => drop(type_size(bytes, depth + 1)?),
        // Arrays.
        10 => {
            let rank = bytes.number(1)?;
            bytes.take(if version < 3 { 3 } else { 0 })?;
            let dims = (0..rank).map(|_| bytes.number(4)).collect::<Option<Vec<_>>>()?;
            bytes.take(if version < 3 { 4 * rank } else { 0 })?;
            let element = type_size(bytes, depth + 1)?;
            let whole = dims.iter().try_fold(element, |size, &dim| size.checked_mul(dim))?;
            if !(1..=MAX_RANK).contains(&rank) || whole != size {
                return None;
            }
        }
        _ => return None,
    }
    Some(size)
}

/// The members of a compound type.
fn members(bytes: &mut Bytes<'_>, count: usize, size: usize, version: u8, depth: usize) -> Option<()> {
    // As many bytes as the size needs.
    let width = if version < 3 { 4 } else { (size.ilog2() as usize) / 8 + 1 };
    for _ in 0..count {
        bytes.name(version < 3)?;
        let offset = bytes.number(width)?;
        let mut repeats = 1_usize;
        if version == 1 {
            let rank = bytes.number(1)?;
            bytes.take(11)?;
            for axis in 0..4 {
                let dim = bytes.number(4)?;
                repeats = if axis < rank { repeats.checked_mul(dim)? } else { repeats };
            }
            if rank > 4 {
                return None;
            }
        }
        let member = type_size(bytes, depth + 1)?.checked_mul(repeats)?;
        if offset.checked_add(member)? > size {
            return None;
        }
    }
    (count > 0).then_some(())
}

/// Elements of a shape.
fn count(shape: &[u8]) -> Option<usize> {
    let mut bytes = Bytes(shape);
    let [version, rank, flags, kind] = *bytes.take(4)?.first_chunk::<4>()?;
    let rank = usize::from(rank);
    let is_null = match version {
        1 => {
            bytes.take(4)?;
            false
        }
        2 if kind <= 2 => kind == 2,
        _ => return None,
    };
    if rank > MAX_RANK || (is_null && rank > 0) {
        return None;
    }
    let dims = (0..rank).map(|_| bytes.number(8)).collect::<Option<Vec<_>>>()?;
    if flags & 1 == 1 {
        let most = (0..rank).map(|_| bytes.number(8)).collect::<Option<Vec<_>>>()?;
        if dims.iter().zip(&most).any(|(dim, most)| dim > most) {
            return None;
        }
    }
    let product = dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))?;
    Some(if is_null { 0 } else { product })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const INTEGER: [u8; 12] = [0x10, 8, 0, 0, 4, 0, 0, 0, 0, 0, 32, 0];
    const SCALAR: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];

    /// An attribute "a" of version 1 that holds one number.
    fn message() -> Vec<u8> {
        let mut message = vec![1, 0, 2, 0, 12, 0, 8, 0];
        message.extend(*b"a\0\0\0\0\0\0\0");
        message.extend(INTEGER);
        message.extend([0; 4]);
        message.extend(SCALAR);
        message.extend([7, 0, 0, 0]);
        message
    }

    fn fixture() -> HdfFile {
        HdfFile::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fixtures/pandas/plain.hd5")).unwrap()
    }

    #[test]
    fn parts_that_are_longer_than_the_attribute_are_refused() {
        let file = fixture();
        assert!(fits(&file, &message()).is_some());
        for length in 0..message().len() {
            assert!(fits(&file, &message()[..length]).is_none(), "cut at {length}");
        }
        for (at, value) in [
            (0, 4),
            (2, 1),
            (3, 1),
            (4, 4),
            (5, 1),
            (6, 2),
            (7, 1),
            (9, 1),
            (16, 0x1b),
            (16, 0x50),
            (20, 0),
            (20, 9),
            (32, 3),
            (33, 33),
        ] {
            let mut bad = message();
            bad[at] = value;
            assert!(fits(&file, &bad).is_none(), "byte {at} is {value}");
        }
    }

    #[test]
    fn names_are_in_a_known_character_set() {
        let of_set = |set: u8| {
            let mut message = vec![3, 0, 2, 0, 12, 0, 8, 0, set, b'a', 0];
            message.extend(INTEGER);
            message.extend(SCALAR);
            message.extend([7, 0, 0, 0]);
            message
        };
        let file = fixture();
        assert_eq!([0, 1, 2, 93].map(|set| fits(&file, &of_set(set)).is_some()), [true, true, false, false]);
    }

    #[test]
    fn no_changed_byte_panics() {
        let file = fixture();
        for at in 0..message().len() {
            for change in 1..=255 {
                let mut bad = message();
                bad[at] ^= change;
                let _ = fits(&file, &bad);
            }
        }
    }

    #[test]
    fn types_in_types_are_followed_so_far() {
        let array = |inner: &[u8], size: u8| {
            let mut outer = vec![0x3a, 0, 0, 0, size, 0, 0, 0, 1, 2, 0, 0, 0];
            outer.extend(inner);
            outer
        };
        let pairs = array(&INTEGER, 8);
        assert_eq!(type_size(&mut Bytes(&pairs), 0), Some(8));
        assert_eq!(type_size(&mut Bytes(&array(&pairs, 16)), 0), Some(16));
        assert_eq!(type_size(&mut Bytes(&array(&pairs, 15)), 0), None);
        assert_eq!(type_size(&mut Bytes(&pairs), MAX_DEPTH), None);
        // A record of two numbers, in versions 1 and 3.
        let mut record = vec![0x36, 2, 0, 0, 8, 0, 0, 0];
        for (name, offset) in [(b'x', 0), (b'y', 4)] {
            record.extend([name, 0, offset]);
            record.extend(INTEGER);
        }
        assert_eq!(type_size(&mut Bytes(&record), 0), Some(8));
        record[4] = 7;
        assert_eq!(type_size(&mut Bytes(&record), 0), None);
    }
}
