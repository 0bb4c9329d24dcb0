//! Variable-length strings: references in the dataset, bytes in global heaps.
//!
//! libhdf5 would read them one by one under its lock, could not undo LZF, and would look for plugins.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

/// Length (4 bytes), heap address (8), object index (4).
pub(super) const REFERENCE_BYTES: usize = 16;
/// "GCOL", version, reserved, size.
const HEAP_HEADER: usize = 16;
/// Index, reference count, reserved, size.
const OBJECT_HEADER: usize = 16;
/// The longest string taken for a name or a label.
const MAX_STRING: u32 = 1 << 20;
/// How much longer all strings together may be than the file: each has its own bytes there.
const MAX_SHARING: u64 = 64;

/// Where a string lies.
#[derive(Clone, Copy, Default)]
pub(super) struct Reference {
    length: u32,
    heap: u64,
    index: u32,
}

impl Reference {
    /// Bytes of the string.
    pub(super) fn length(&self) -> u64 {
        self.length.into()
    }

    pub(super) fn parse(bytes: &[u8; REFERENCE_BYTES]) -> Self {
        let [a, b, c, d, heap @ .., i, j, k, l] = *bytes;
        Self {
            length: u32::from_le_bytes([a, b, c, d]),
            heap: u64::from_le_bytes(heap),
            index: u32::from_le_bytes([i, j, k, l]),
        }
    }
}

/// Fetches the bytes of all strings and decodes them; addresses count from `base`. The error says
/// what is wrong with the file.
pub(super) fn fetch<T: Send + Clone + Default>(
    file: &File,
    size: u64,
    base: u64,
    references: &[Reference],
    decode: impl Fn(&[u8]) -> T + Sync,
) -> Result<Vec<T>, String> {
    let total: u64 = references.iter().map(Reference::length).sum();
    if total > size.saturating_mul(MAX_SHARING) {
        return Err(format!("strings of {total} bytes in a file of {size}"));
    }
    // Every heap is read once, whatever the order of the references.
    let mut order: Vec<usize> = (0..references.len()).filter(|&at| references[at].length > 0).collect();
    order.sort_by_key(|&at| references[at].heap);
    let groups: Vec<&[usize]> =
        order.chunk_by(|&left, &right| references[left].heap == references[right].heap).collect();
    let room = Room(AtomicU64::new(size));
    let decoded: Vec<Vec<(usize, T)>> = groups
        .into_par_iter()
        .map(|group| {
            let heap = Heap::read(file, (size, base), references[group[0]].heap, &room)?;
            let fetch = |&at: &usize| Ok((at, decode(heap.object(references[at])?)));
            group.iter().map(fetch).collect()
        })
        .collect::<Result<_, String>>()?;
    let mut values = vec![T::default(); references.len()];
    for (at, value) in decoded.into_iter().flatten() {
        values[at] = value;
    }
    Ok(values)
}

/// Whether every string is there and as long as its reference says.
pub(super) fn are_whole(file: &File, size: u64, base: u64, references: &[Reference]) -> bool {
    let mut heaps: HashMap<u64, Option<Heap>> = HashMap::new();
    let room = Room(AtomicU64::new(size));
    references.iter().filter(|reference| reference.length > 0).all(|&reference| {
        let heap = heaps.entry(reference.heap);
        let heap = heap.or_insert_with(|| Heap::read(file, (size, base), reference.heap, &room).ok());
        let length = heap.as_ref().and_then(|heap| heap.length(reference.index));
        length == usize::try_from(reference.length).ok()
    })
}

/// What is left of the file for further heaps. They share no bytes: many that lie in each other would take quadratic time.
struct Room(AtomicU64);

impl Room {
    fn take(&self, length: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(length)).is_ok()
    }
}

/// One collection of the global heap.
struct Heap {
    address: u64,
    bytes: Vec<u8>,
    /// (index, offset, length), sorted.
    objects: Vec<(u32, usize, usize)>,
}

impl Heap {
    /// Reads the heap at `address`, counted from `base`, of a file of `size` bytes.
    fn read(file: &File, (size, base): (u64, u64), address: u64, room: &Room) -> Result<Self, String> {
        let damaged = |what: &str| format!("a global heap at byte {address} {what}");
        let start = base.checked_add(address).ok_or_else(|| damaged("beyond the file's end"))?;
        let mut header = [0; HEAP_HEADER];
        file.read_exact_at(&mut header, start).map_err(|_| damaged("beyond the file's end"))?;
        if header[..5] != *b"GCOL\x01" {
            return Err(damaged("without its signature"));
        }
        let [.., a, b, c, d, e, f, g, h] = header;
        let length = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        if length < HEAP_HEADER as u64 || start.checked_add(length).is_none_or(|end| end > size) {
            return Err(damaged("longer than the file"));
        }
        if !room.take(length) {
            return Err(damaged("that overlaps others"));
        }
        let mut bytes = vec![0; super::to_usize(length)];
        file.read_exact_at(&mut bytes, start).map_err(|_| damaged("that cannot be read"))?;
        let mut objects = Vec::new();
        let mut offset = HEAP_HEADER;
        while let Some(header) = bytes.get(offset..).and_then(<[u8]>::first_chunk::<OBJECT_HEADER>) {
            let [i, j, .., a, b, c, d, e, f, g, h] = *header;
            let index = u16::from_le_bytes([i, j]);
            let length = super::to_usize(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
            // Index 0 is the free space at the end.
            if index == 0 {
                break;
            }
            let begin = offset + OBJECT_HEADER;
            let end = begin.checked_add(length).filter(|&end| end <= bytes.len());
            let end = end.ok_or_else(|| damaged("with an object beyond its end"))?;
            objects.push((u32::from(index), begin, length));
            offset = end.next_multiple_of(8);
        }
        objects.sort_unstable();
        Ok(Self { address, bytes, objects })
    }

    /// Bytes of the object `index`.
    fn length(&self, index: u32) -> Option<usize> {
        let found = self.objects.binary_search_by_key(&index, |&(index, ..)| index).ok()?;
        Some(self.objects[found].2)
    }

    fn object(&self, reference: Reference) -> Result<&[u8], String> {
        let Reference { length, index, .. } = reference;
        let found = self.objects.binary_search_by_key(&index, |&(index, ..)| index);
        let object = found.ok().map(|at| self.objects[at]);
        let length = usize::try_from(length.min(MAX_STRING)).unwrap_or(usize::MAX);
        match object {
            Some((_, begin, available)) if length <= available => Ok(&self.bytes[begin..begin + length]),
            _ => Err(format!(
                "no string {index} of {length} bytes in the global heap at byte {}",
                self.address
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A heap with the objects 1 ("ab") and 2 ("long enough").
    fn heap() -> Vec<u8> {
        let mut bytes = b"GCOL\x01\0\0\0".to_vec();
        bytes.extend(128_u64.to_le_bytes());
        for (index, text) in [(1_u16, &b"ab"[..]), (2, b"long enough")] {
            bytes.extend(index.to_le_bytes());
            bytes.extend([1, 0, 0, 0, 0, 0]);
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes.resize(128, 0);
        bytes
    }

    fn fetch_from(bytes: &[u8], references: &[Reference]) -> Result<Vec<Vec<u8>>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        fetch(&file, bytes.len() as u64, 0, references, <[u8]>::to_vec)
    }

    fn reference(length: u32, index: u32) -> Reference {
        Reference { length, heap: 0, index }
    }

    #[test]
    fn strings_come_in_the_order_of_their_references() {
        let references = [reference(11, 2), Reference::default(), reference(2, 1), reference(4, 2)];
        let expected = [&b"long enough"[..], b"", b"ab", b"long"].map(<[u8]>::to_vec);
        assert_eq!(fetch_from(&heap(), &references).unwrap(), expected);
    }

    #[test]
    fn references_beyond_a_string_or_the_file_are_refused() {
        for bad in [
            reference(3, 1),
            reference(1, 3),
            Reference { length: 1, heap: u64::MAX, index: 1 },
            Reference { length: 1, heap: 8, index: 1 },
            reference(u32::MAX, 1),
        ] {
            assert!(fetch_from(&heap(), &[bad]).is_err());
        }
    }

    #[test]
    fn heaps_that_lie_in_each_other_are_refused() {
        // Every 32 bytes another heap, whose only object takes the rest of the file.
        let n = 1_u64 << 12;
        let mut bytes = Vec::new();
        for number in 0..n {
            bytes.extend(b"GCOL\x01\0\0\0");
            bytes.extend((32 * (n - number)).to_le_bytes());
            bytes.extend([1, 0, 1, 0, 0, 0, 0, 0]);
            bytes.extend((32 * (n - number - 1)).to_le_bytes());
        }
        let reference = |number: u64| Reference { length: 1, heap: 32 * number, index: 1 };
        assert!(fetch_from(&bytes, &[reference(n / 2)]).is_ok());
        let all: Vec<_> = (0..n - 1).map(reference).collect();
        let error = fetch_from(&bytes, &all).unwrap_err();
        assert!(error.contains("overlaps others"), "{error}");
        let room = Room(AtomicU64::new(100));
        assert_eq!([60, 60, 40, 1].map(|length| room.take(length)), [true, false, true, false]);
    }

    #[test]
    fn no_changed_or_missing_byte_of_a_heap_panics() {
        let references = [reference(2, 1), reference(11, 2)];
        for position in 0..heap().len() {
            let mut bytes = heap();
            bytes[position] ^= 0xff;
            let _ = fetch_from(&bytes, &references);
            let _ = fetch_from(&heap()[..position], &references);
        }
    }
}
