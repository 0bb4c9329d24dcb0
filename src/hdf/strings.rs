//! Strings in their many encodings, and attributes.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};

use super::attributes;
use super::chunk_index;
use super::file::HdfFile;
use super::heap;
use super::storage::ByteArray;
use crate::error::{Error, Result};

/// Fixed-length strings in object headers, cut to this length.
type LongAscii = FixedAscii<4096>;
type LongUnicode = FixedUnicode<4096>;
/// Strings of fixed length are read so many bytes at a time.
const PART_BYTES: usize = 16 << 20;
/// The longest fixed-length string taken for a name.
const MAX_FIXED: usize = 1 << 16;

/// The text of a string's bytes up to the padding; and whether it is valid UTF-8.
pub(crate) fn decode_text(bytes: &[u8]) -> (String, bool) {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => (text.to_owned(), true),
        Err(_) => (String::from_utf8_lossy(&bytes[..end]).into_owned(), false),
    }
}

/// As [`decode_text`], but what is not UTF-8 is Latin-1, of which every byte is a letter.
pub(crate) fn decode_latin(bytes: &[u8]) -> (String, bool) {
    match decode_text(bytes) {
        (_, false) => {
            (decode_text(bytes.iter().map(|&byte| char::from(byte)).collect::<String>().as_bytes()).0, true)
        }
        valid => valid,
    }
}

/// Makes text of the bytes of a string; also whether nothing was lost.
type Decode = fn(&[u8]) -> (String, bool);

impl HdfFile {
    /// Whether the dataset holds strings.
    pub fn is_strings(&self, name: &str) -> Result<bool> {
        Ok(is_string(&self.descriptor(name)?))
    }

    /// The dataset's type.
    pub(crate) fn descriptor(&self, name: &str) -> Result<TypeDescriptor> {
        self.dataset(name)?
            .dtype()
            .and_then(|datatype| datatype.to_descriptor())
            .map_err(|source| Error::hdf5(self.path(), name, "read its type", source))
    }

    /// Reads a 1-D (or scalar) dataset of strings, variable or fixed in length. Names that are not
    /// valid UTF-8 are repaired, which is added to `notes`.
    pub fn strings(&self, name: &str, notes: &mut Vec<String>) -> Result<Vec<String>> {
        self.strings_as(name, decode_text, notes)
    }

    /// As [`HdfFile::strings`]; those of fixed length are decoded by `decode`.
    pub(crate) fn strings_as(
        &self,
        name: &str,
        decode: Decode,
        notes: &mut Vec<String>,
    ) -> Result<Vec<String>> {
        let dataset = self.dataset(name)?;
        if dataset.ndim() > 1 {
            let found = format!("{} dimensions", dataset.ndim());
            return Err(Error::input(self.path(), name, "a list of strings", found, "flatten it"));
        }
        match self.descriptor(name)? {
            TypeDescriptor::VarLenUnicode | TypeDescriptor::VarLenAscii => {
                self.var_len_strings(&dataset, name, notes)
            }
            TypeDescriptor::FixedAscii(size) | TypeDescriptor::FixedUnicode(size)
                if size > 0 && size <= MAX_FIXED =>
            {
                self.fixed_strings(&dataset, name, size, decode, notes)
            }
            other => {
                let found = other.to_string();
                Err(Error::input(self.path(), name, "strings", found, "store the names as strings"))
            }
        }
    }

    fn var_len_strings(
        &self,
        dataset: &hdf5::Dataset,
        name: &str,
        notes: &mut Vec<String>,
    ) -> Result<Vec<String>> {
        self.require_wide_addresses()?;
        let problem = |found: String| {
            let remedy = "the file is damaged; download or copy it again";
            Error::input(self.path(), name, "intact strings", found, remedy)
        };
        let mut room = self.name_room();
        let place = || name.to_owned();
        let references = if in_header(dataset) {
            self.few_references(dataset).ok_or_else(|| problem("none that can be found".into()))?
        } else {
            let fill = vec![0; heap::REFERENCE_BYTES];
            let bytes = ByteArray::open(self, dataset, name, fill.len(), fill, || Ok(Vec::new()))?;
            room.take(self.path(), place, bytes.n_rows() as u64, 0)?;
            let mut references = vec![heap::Reference::default(); bytes.n_rows()];
            bytes.read(0..bytes.n_rows(), &mut references, |bytes, part| {
                for (reference, bytes) in part.iter_mut().zip(bytes.as_chunks().0) {
                    *reference = heap::Reference::parse(bytes);
                }
            })?;
            references
        };
        room.take(self.path(), place, 0, references.iter().map(heap::Reference::length).sum())?;
        let lossy = AtomicUsize::new(0);
        let values = heap::fetch(&self.raw(), self.size(), self.user_block(), &references, |bytes| {
            let (text, valid) = decode_text(bytes);
            lossy.fetch_add(usize::from(!valid), Ordering::Relaxed);
            text
        });
        let values = values.map_err(problem)?;
        note_lossy(name, lossy.into_inner(), notes);
        Ok(values)
    }

    /// References of a single string, or of those in the object header. libhdf5 does not look whether they lead anywhere.
    fn few_references(&self, dataset: &hdf5::Dataset) -> Option<Vec<heap::Reference>> {
        let bytes = if dataset.layout() == hdf5::dataset::Layout::Compact {
            chunk_index::compact_bytes(self, dataset)?
        } else {
            let mut bytes = vec![0; heap::REFERENCE_BYTES];
            // Without a place there is nothing: an empty string.
            if let Some(offset) = dataset.offset() {
                self.raw().read_exact_at(&mut bytes, offset).ok()?;
            }
            bytes
        };
        let references = bytes.as_chunks().0.iter().map(heap::Reference::parse).collect::<Vec<_>>();
        let n_strings = dataset.shape().iter().try_fold(1_usize, |n, &dim| n.checked_mul(dim))?;
        (references.len() == n_strings).then_some(references)
    }

    fn fixed_strings(
        &self,
        dataset: &hdf5::Dataset,
        name: &str,
        size: usize,
        decode: Decode,
        notes: &mut Vec<String>,
    ) -> Result<Vec<String>> {
        if in_header(dataset) {
            let failed = |source| Error::hdf5(self.path(), name, "read its strings", source);
            let text = |bytes: &[u8]| decode(bytes).0;
            // libhdf5 does not convert between its two character sets.
            return if self.descriptor(name)? == TypeDescriptor::FixedAscii(size) {
                Ok(dataset
                    .read_raw::<LongAscii>()
                    .map_err(failed)?
                    .iter()
                    .map(|x| text(x.as_bytes()))
                    .collect())
            } else {
                Ok(dataset
                    .read_raw::<LongUnicode>()
                    .map_err(failed)?
                    .iter()
                    .map(|x| text(x.as_bytes()))
                    .collect())
            };
        }
        let bytes = ByteArray::open(self, dataset, name, size, vec![0; size], || Ok(Vec::new()))?;
        let mut room = self.name_room();
        let place = || name.to_owned();
        room.take(self.path(), place, bytes.n_rows() as u64, 0)?;
        let mut values = vec![String::new(); bytes.n_rows()];
        let lossy = AtomicUsize::new(0);
        let step = (PART_BYTES / size).max(1);
        for (number, part) in values.chunks_mut(step).enumerate() {
            let rows = number * step..number * step + part.len();
            bytes.read(rows, part, |bytes, part| {
                for (value, bytes) in part.iter_mut().zip(bytes.chunks_exact(size)) {
                    let (text, valid) = decode(bytes);
                    *value = text;
                    lossy.fetch_add(usize::from(!valid), Ordering::Relaxed);
                }
            })?;
            room.take(self.path(), place, 0, part.iter().map(|value| value.len() as u64).sum())?;
        }
        note_lossy(name, lossy.into_inner(), notes);
        Ok(values)
    }

    /// A string attribute of the object at `name` (root: "/"); `None` when absent or not a string.
    pub fn string_attribute(&self, name: &str, attribute: &str) -> Result<Option<String>> {
        Ok(self.strings_attribute(name, attribute)?.and_then(|values| values.into_iter().next()))
    }

    /// An attribute of one or several strings.
    pub fn strings_attribute(&self, name: &str, attribute: &str) -> Result<Option<Vec<String>>> {
        let Some(found) = self.attribute(name, attribute)? else { return Ok(None) };
        let failed = |source| Error::hdf5(self.path(), format!("{name}@{attribute}"), "read it", source);
        let text = |bytes: &[u8]| decode_text(bytes).0;
        let values = match found.dtype().and_then(|datatype| datatype.to_descriptor()).map_err(failed)? {
            TypeDescriptor::VarLenUnicode => found
                .read_raw::<VarLenUnicode>()
                .map_err(failed)?
                .iter()
                .map(|x| text(x.as_bytes()))
                .collect(),
            TypeDescriptor::VarLenAscii => {
                found.read_raw::<VarLenAscii>().map_err(failed)?.iter().map(|x| text(x.as_bytes())).collect()
            }
            TypeDescriptor::FixedAscii(_) => {
                found.read_raw::<LongAscii>().map_err(failed)?.iter().map(|x| text(x.as_bytes())).collect()
            }
            TypeDescriptor::FixedUnicode(_) => {
                found.read_raw::<LongUnicode>().map_err(failed)?.iter().map(|x| text(x.as_bytes())).collect()
            }
            _ => return Ok(None),
        };
        Ok(Some(values))
    }

    /// An attribute of integers, of any width; `None` when absent or not integers.
    pub fn integers_attribute(&self, name: &str, attribute: &str) -> Result<Option<Vec<i64>>> {
        let Some(found) = self.attribute(name, attribute)? else { return Ok(None) };
        let failed = |source| Error::hdf5(self.path(), format!("{name}@{attribute}"), "read it", source);
        match found.dtype().and_then(|datatype| datatype.to_descriptor()).map_err(failed)? {
            TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
                Ok(Some(found.read_raw::<i64>().map_err(failed)?))
            }
            _ => Ok(None),
        }
    }

    /// A truth value, stored as HDF5 enumeration or as integer; of a dataset, also as bit field.
    pub fn boolean_attribute(&self, name: &str, attribute: &str) -> Result<Option<bool>> {
        let Some(found) = self.attribute(name, attribute)? else { return Ok(None) };
        let failed = |source| Error::hdf5(self.path(), format!("{name}@{attribute}"), "read it", source);
        match found.dtype().and_then(|datatype| datatype.to_descriptor()) {
            Err(source) => {
                let dataset = self.dataset(name)?;
                match chunk_index::bit_field_attribute(self, &dataset, attribute) {
                    Some(bits) => Ok(Some(bits != 0)),
                    None => Err(failed(source)),
                }
            }
            Ok(TypeDescriptor::Boolean) => Ok(found.read_raw::<bool>().map_err(failed)?.first().copied()),
            Ok(_) => Ok(self
                .integers_attribute(name, attribute)?
                .and_then(|values| values.first().map(|&value| value != 0))),
        }
    }

    fn attribute(&self, name: &str, attribute: &str) -> Result<Option<hdf5::Attribute>> {
        let failed = |source| Error::hdf5(self.path(), format!("{name}@{attribute}"), "read it", source);
        let find = |object: &hdf5::Location| {
            if let Some(damaged) = attributes::damaged(self, object) {
                let expected = "attributes that can be decoded";
                let found = format!("{damaged:?}, which cannot");
                let remedy = "the file is damaged; download or copy it again";
                return Err(Error::input(self.path(), format!("{name}@{damaged}"), expected, found, remedy));
            }
            let names = object.attr_names().map_err(failed)?;
            if names.iter().any(|found| found == attribute) {
                object.attr(attribute).map(Some).map_err(failed)
            } else {
                Ok(None)
            }
        };
        match self.kind(name)? {
            Some(super::Kind::Group) => self.group(name).and_then(|group| find(&group)),
            Some(super::Kind::Dataset) => self.dataset(name).and_then(|dataset| find(&dataset)),
            None => Ok(None),
        }
    }
}

pub(crate) fn is_string(descriptor: &TypeDescriptor) -> bool {
    matches!(
        descriptor,
        TypeDescriptor::VarLenUnicode
            | TypeDescriptor::VarLenAscii
            | TypeDescriptor::FixedAscii(_)
            | TypeDescriptor::FixedUnicode(_)
    )
}

/// Few values, which are stored without filters.
fn in_header(dataset: &hdf5::Dataset) -> bool {
    dataset.is_scalar() || dataset.layout() == hdf5::dataset::Layout::Compact
}

fn note_lossy(name: &str, lossy: usize, notes: &mut Vec<String>) {
    if lossy > 0 {
        notes.push(format!("{name}: {lossy} strings are not valid UTF-8; their invalid bytes were replaced"));
    }
}

#[cfg(test)]
mod tests {
    use super::{decode_latin, decode_text};

    #[test]
    fn padding_goes_and_inner_spaces_stay() {
        assert_eq!(decode_text(b"HLA A\0\0\0"), ("HLA A".to_owned(), true));
        assert_eq!(decode_text(b"\0\0"), (String::new(), true));
        assert!(!decode_text(b"\xff\xfe").1);
        assert_eq!(decode_latin(b"M\xfcller\0"), ("Müller".to_owned(), true));
        assert_eq!(decode_latin("Müller".as_bytes()), ("Müller".to_owned(), true));
    }
}
