//! Where the chunks of a dataset lie.
//!
//! libhdf5 before 1.14 gives one chunk at a time and counts from the first for each, so 33,000 chunks (1.3
//! million cells) took it minutes. The usual index, a version 1 B-tree, is therefore walked here; what
//! differs from libhdf5's own account in any way, or is another kind of index, is left to libhdf5.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use hdf5::ObjectReference1;

use super::file::HdfFile;

/// Below this many chunks libhdf5 is fast enough.
const FEW: usize = 64;
/// The largest object header block, and the most blocks, that are looked through.
const MAX_HEADER: u64 = 1 << 20;
const MAX_BLOCKS: usize = 64;
/// The class of bit fields among datatypes.
const BIT_FIELD: u8 = 4;
/// Message types of object headers.
const DATATYPE: u16 = 3;
const LAYOUT: u16 = 8;
const ATTRIBUTE: u16 = 12;
const CONTINUATION: u16 = 16;

/// A stored chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Position of its first element.
    pub(super) offset: [u64; 2],
    /// Filters that were skipped.
    pub(super) mask: u32,
    /// From the start of the file.
    pub(super) address: u64,
    /// Stored bytes.
    pub(super) size: u64,
}

/// All stored chunks; the error is the position of one that libhdf5 cannot give.
pub(super) fn entries(file: &HdfFile, dataset: &hdf5::Dataset) -> Result<Vec<Entry>, usize> {
    // An index that cannot be read is not one without entries.
    let count = dataset.num_chunks().ok_or(0_usize)?;
    if count > FEW
        && let Some(entries) = walk(file, dataset, count)
    {
        return Ok(entries);
    }
    (0..count).map(|index| entry(file, dataset, index).ok_or(index)).collect()
}

fn entry(file: &HdfFile, dataset: &hdf5::Dataset, index: usize) -> Option<Entry> {
    let base = if file.user_block() > 0 && !counts_user_block() { file.user_block() } else { 0 };
    let info = dataset.chunk_info(index)?;
    let at = |axis: usize| info.offset.get(axis).copied().unwrap_or(0);
    Some(Entry {
        offset: [at(0), at(1)],
        mask: info.filter_mask,
        address: info.addr.checked_add(base)?,
        size: info.size,
    })
}

/// The entries of the B-tree, if there is one and it agrees with libhdf5.
fn walk(file: &HdfFile, dataset: &hdf5::Dataset, count: usize) -> Option<Vec<Entry>> {
    let rank = dataset.ndim();
    let raw = file.raw();
    let reader = Reader { file: &raw, base: file.user_block() };
    let root = chunked_root(&reader.message(header_address(dataset)?, LAYOUT, |_| true)?, rank)?;
    let mut entries = Vec::new();
    reader.collect(root, None, rank, count, &mut entries)?;
    // The first is cheap for libhdf5 to find.
    (entries.len() == count && entries.first().copied() == entry(file, dataset, 0)).then_some(entries)
}

/// The datatype message of `dataset`, unless its type is shared with others.
pub(super) fn datatype_message(file: &HdfFile, dataset: &hdf5::Dataset) -> Option<Vec<u8>> {
    let raw = file.raw();
    Reader { file: &raw, base: file.user_block() }.message(header_address(dataset)?, DATATYPE, |_| true)
}

/// The elements of a compact dataset.
pub(super) fn compact_bytes(file: &HdfFile, dataset: &hdf5::Dataset) -> Option<Vec<u8>> {
    const COMPACT: u8 = 0;
    let raw = file.raw();
    let reader = Reader { file: &raw, base: file.user_block() };
    let message = reader.message(header_address(dataset)?, LAYOUT, |_| true)?;
    let known = matches!(message.first()?, 3 | 4) && message.get(1) == Some(&COMPACT);
    let length = super::to_usize(integer(message.get(2..4)?));
    if known { message.get(4..4 + length).map(<[u8]>::to_vec) } else { None }
}

/// The byte of an attribute that is a bit field, as PyTables writes truth values; the crate knows no such type.
pub(super) fn bit_field_attribute(file: &HdfFile, dataset: &hdf5::Dataset, name: &str) -> Option<u8> {
    let wanted = |message: &[u8]| attribute_parts(message).is_some_and(|parts| parts.0 == name.as_bytes());
    let message = first_attribute(file, dataset, wanted)?;
    let (_, kind, value) = attribute_parts(&message)?;
    (kind.first()? & 15 == BIT_FIELD && kind.get(4..8)? == [1, 0, 0, 0]).then(|| value.first().copied())?
}

/// The first attribute message of an object that is `wanted`, unless the object keeps its attributes in a heap.
pub(super) fn first_attribute(
    file: &HdfFile,
    object: &hdf5::Location,
    wanted: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let raw = file.raw();
    let reader = Reader { file: &raw, base: file.user_block() };
    reader.message(header_address(object)?, ATTRIBUTE, wanted)
}

/// Name, datatype and value in an attribute message.
fn attribute_parts(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let version = *message.first()?;
    let mut rest = message.get(if version == 3 { 9 } else { 8 }..)?;
    let mut parts = [rest; 3];
    for (part, at) in parts.iter_mut().zip([2, 4, 6]) {
        let length = super::to_usize(integer(message.get(at..at + 2)?));
        *part = rest.get(..length)?;
        // Only the first version pads.
        rest = rest.get(if version == 1 { length.next_multiple_of(8) } else { length }..)?;
    }
    let [name, kind, _shape] = parts;
    Some((name.strip_suffix(b"\0").unwrap_or(name), kind, rest))
}

/// Where the object header lies. The value of an object reference is this address; the crate shows it in
/// no other way. Should this text change, what is read there agrees with nothing libhdf5 tells.
fn header_address(object: &hdf5::Location) -> Option<u64> {
    let reference = object.reference::<ObjectReference1>(".").ok()?;
    let text = format!("{reference:?}");
    text.rsplit("inner: ").next()?.trim_end_matches([' ', '}']).parse().ok()
}

struct Reader<'a> {
    file: &'a File,
    base: u64,
}

impl Reader<'_> {
    fn bytes(&self, address: u64, length: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; super::to_usize(length)];
        self.file.read_exact_at(&mut bytes, self.base.checked_add(address)?).ok()?;
        Some(bytes)
    }

    /// Looks through an object header for its first message of type `wanted` that is accepted.
    fn message(&self, header: u64, wanted: u16, accepted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let start = self.bytes(header, 32)?;
        let modern = start.starts_with(b"OHDR");
        let flags = if modern { start[5] } else { 0 };
        let (first, length) = if modern {
            let times = if flags & 32 == 0 { 0 } else { 16 };
            let phase = if flags & 16 == 0 { 0 } else { 4 };
            let at = 6 + times + phase;
            let width = 1_usize << (flags & 3);
            (header + (at + width) as u64, integer(start.get(at..at + width)?))
        } else {
            (header + 16, integer(start.get(8..12)?))
        };
        let mut blocks = vec![(first, length)];
        let mut next = 0;
        while let Some(&(address, length)) = blocks.get(next) {
            next += 1;
            if length > MAX_HEADER || blocks.len() > MAX_BLOCKS {
                return None;
            }
            let block = self.bytes(address, length)?;
            let messages = if modern { modern_messages(&block, flags) } else { old_messages(&block) };
            for (kind, data) in messages {
                match kind {
                    kind if kind == wanted && accepted(data) => return Some(data.to_vec()),
                    CONTINUATION => {
                        let (at, length) = (integer(data.get(..8)?), integer(data.get(8..16)?));
                        // Later blocks of modern headers have a signature and a checksum around.
                        let frame = if modern { (4, 8) } else { (0, 0) };
                        blocks.push((at.checked_add(frame.0)?, length.checked_sub(frame.1)?));
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// Adds the chunks below the node at `address`.
    fn collect(
        &self,
        address: u64,
        level: Option<u8>,
        rank: usize,
        count: usize,
        entries: &mut Vec<Entry>,
    ) -> Option<()> {
        let head = self.bytes(address, 24)?;
        let found = head[5];
        // Levels go down one by one: no damage makes this endless.
        if !head.starts_with(b"TREE\x01") || level.is_some_and(|expected| expected != found) {
            return None;
        }
        let used = integer(&head[6..8]);
        let key = 8 + 8 * (rank + 1);
        let body = self.bytes(address + 24, used * (key as u64 + 8))?;
        for part in body.chunks_exact(key + 8) {
            let child = integer(&part[key..]);
            if found > 0 {
                self.collect(child, Some(found - 1), rank, count, entries)?;
                continue;
            }
            let offset =
                |axis: usize| if axis < rank { integer(&part[8 + 8 * axis..16 + 8 * axis]) } else { 0 };
            entries.push(Entry {
                offset: [offset(0), offset(1)],
                mask: u32::try_from(integer(&part[4..8])).ok()?,
                address: child.checked_add(self.base)?,
                size: integer(&part[..4]),
            });
            if entries.len() > count {
                return None;
            }
        }
        Some(())
    }
}

/// Type and content of the messages in a block of a version 1 header.
fn old_messages(block: &[u8]) -> Vec<(u16, &[u8])> {
    let mut messages = Vec::new();
    let mut rest = block;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let Some((data, others)) = body.split_at_checked(length) else { break };
        messages.push((u16::from_le_bytes([head[0], head[1]]), data));
        rest = others;
    }
    messages
}

/// The same for version 2.
fn modern_messages(block: &[u8], flags: u8) -> Vec<(u16, &[u8])> {
    let head_length = if flags & 4 == 0 { 4 } else { 6 };
    let mut messages = Vec::new();
    let mut rest = block;
    while let Some((head, body)) = rest.split_at_checked(head_length) {
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        let Some((data, others)) = body.split_at_checked(length) else { break };
        messages.push((u16::from(head[0]), data));
        rest = others;
    }
    messages
}

/// The root of the B-tree in a layout message of version 3 for chunks.
fn chunked_root(message: &[u8], rank: usize) -> Option<u64> {
    let is_chunked = message.first() == Some(&3) && message.get(1) == Some(&2);
    let has_rank = message.get(2).is_some_and(|&dimensions| usize::from(dimensions) == rank + 1);
    if is_chunked && has_rank { Some(integer(message.get(3..11)?)) } else { None }
}

/// An unsigned little-endian integer of up to 8 bytes.
fn integer(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Whether this libhdf5 counts the addresses of chunks from the start of the file, or (older ones) from
/// the end of its user block. Versions do not tell reliably, a probe does.
fn counts_user_block() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| probe_user_block().unwrap_or(true))
}

fn probe_user_block() -> Option<bool> {
    const VALUES: [u8; 16] = *b"late-fast probes";
    let probe = tempfile::NamedTempFile::new().ok()?;
    let mut builder = hdf5::FileBuilder::new();
    builder.with_access_plist(|access| access.file_locking(false));
    let file = builder.clone().with_create_plist(|plist| plist.userblock(512)).create(probe.path()).ok()?;
    file.new_dataset_builder().with_data(&VALUES).chunk(VALUES.len()).create("probe").ok()?;
    file.close().ok()?;
    let file = builder.open(probe.path()).ok()?;
    let address = file.dataset("probe").ok()?.chunk_info(0)?.addr;
    let mut found = [0; VALUES.len()];
    let counted = probe.as_file().read_exact_at(&mut found, address).is_ok() && found == VALUES;
    Some(counted)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The walk must find what libhdf5 finds, and only then.
    fn check(path: &Path, name: &str) {
        let file = HdfFile::open(path).unwrap();
        let dataset = file.dataset(name).unwrap();
        let count = dataset.num_chunks().unwrap();
        let expected: Vec<_> = (0..count).map(|index| entry(&file, &dataset, index).unwrap()).collect();
        assert_eq!(walk(&file, &dataset, count).expect("walked"), expected, "{name}");
        assert_eq!(walk(&file, &dataset, count + 1), None);
    }

    #[test]
    fn the_walk_agrees_with_libhdf5() {
        let directory = tempfile::tempdir().unwrap();
        for user_block in [0, 512] {
            let path = directory.path().join(format!("{user_block}.h5"));
            let file = hdf5::FileBuilder::new()
                .with_create_plist(|plist| plist.userblock(user_block))
                .create(&path)
                .unwrap();
            let values: Vec<i32> = (0..7000).collect();
            let builder = file.new_dataset_builder().with_data(&values).chunk(3).shuffle();
            let flat = builder.deflate(1).create("flat").unwrap();
            let builder = file.new_dataset::<i32>().chunk((7, 9)).deflate(1).shape((70, 100));
            builder.create("table").unwrap().write_raw(&values).unwrap();
            // Attributes push later messages into continuation blocks.
            for number in 0..20_i64 {
                let name = format!("attribute {number}");
                flat.new_attr::<i64>().create(name.as_str()).unwrap().write_scalar(&number).unwrap();
            }
            // Builders, too, keep the file open.
            drop((flat, builder, file));
            check(&path, "flat");
            check(&path, "table");
        }
    }

    #[test]
    fn modern_headers_with_a_b_tree_are_walked_and_other_indices_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latest.h5");
        let file =
            hdf5::FileBuilder::new().with_access_plist(|plist| plist.libver_latest()).create(&path).unwrap();
        let values: Vec<i32> = (0..1000).collect();
        file.new_dataset_builder().with_data(&values).chunk(3).create("flat").unwrap();
        drop(file);
        let file = HdfFile::open(&path).unwrap();
        let dataset = file.dataset("flat").unwrap();
        let count = dataset.num_chunks().unwrap();
        assert_eq!(walk(&file, &dataset, count), None, "a fixed array is libhdf5's");
        assert_eq!(entries(&file, &dataset).unwrap().len(), count);
    }
}
