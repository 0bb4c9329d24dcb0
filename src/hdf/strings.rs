//! Strings in their many encodings, and attributes.

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};

use super::file::HdfFile;
use super::storage::ByteArray;
use crate::error::{Error, Result};

/// Fixed-length strings in object headers, cut to this length.
type LongAscii = FixedAscii<4096>;
type LongUnicode = FixedUnicode<4096>;
/// The longest fixed-length string taken for a name.
const MAX_FIXED: usize = 1 << 16;
/// Variable-length strings that a file may declare beyond those it stores.
const MAX_UNSTORED: usize = 1 << 16;

/// The text of a string's bytes up to the padding; `None` inside when it is not valid UTF-8.
pub(crate) fn decode_text(bytes: &[u8]) -> (String, bool) {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => (text.to_owned(), true),
        Err(_) => (String::from_utf8_lossy(&bytes[..end]).into_owned(), false),
    }
}

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
        let dataset = self.dataset(name)?;
        if dataset.ndim() > 1 {
            let found = format!("{} dimensions", dataset.ndim());
            return Err(Error::input(self.path(), name, "a list of strings", found, "flatten it"));
        }
        let failed = |source| Error::hdf5(self.path(), name, "read its strings", source);
        let mut lossy = 0;
        let mut decode = |bytes: &[u8]| {
            let (text, valid) = decode_text(bytes);
            lossy += usize::from(!valid);
            text
        };
        let values: Vec<String> = match self.descriptor(name)? {
            TypeDescriptor::VarLenUnicode => {
                self.check_var_len(&dataset, name)?;
                let values = dataset.read_raw::<VarLenUnicode>().map_err(failed)?;
                values.iter().map(|value| decode(value.as_bytes())).collect()
            }
            TypeDescriptor::VarLenAscii => {
                self.check_var_len(&dataset, name)?;
                let values = dataset.read_raw::<VarLenAscii>().map_err(failed)?;
                values.iter().map(|value| decode(value.as_bytes())).collect()
            }
            TypeDescriptor::FixedAscii(size) | TypeDescriptor::FixedUnicode(size)
                if size > 0 && size <= MAX_FIXED =>
            {
                return self.fixed_strings(&dataset, name, size, notes);
            }
            other => {
                let found = other.to_string();
                return Err(Error::input(self.path(), name, "strings", found, "store the names as strings"));
            }
        };
        note_lossy(name, lossy, notes);
        Ok(values)
    }

    fn fixed_strings(
        &self,
        dataset: &hdf5::Dataset,
        name: &str,
        size: usize,
        notes: &mut Vec<String>,
    ) -> Result<Vec<String>> {
        use hdf5::dataset::Layout;
        if dataset.is_scalar() || dataset.layout() == Layout::Compact {
            let failed = |source| Error::hdf5(self.path(), name, "read its strings", source);
            let text = |bytes: &[u8]| decode_text(bytes).0;
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
        let mut values = vec![String::new(); bytes.n_rows()];
        let lossy = std::sync::atomic::AtomicUsize::new(0);
        bytes.read(0..bytes.n_rows(), &mut values, |bytes, part| {
            for (value, bytes) in part.iter_mut().zip(bytes.chunks_exact(size)) {
                let (text, valid) = decode_text(bytes);
                *value = text;
                lossy.fetch_add(usize::from(!valid), std::sync::atomic::Ordering::Relaxed);
            }
        })?;
        note_lossy(name, lossy.into_inner(), notes);
        Ok(values)
    }

    /// libhdf5 reads these strings whole: their number must be backed by stored references.
    fn check_var_len(&self, dataset: &hdf5::Dataset, name: &str) -> Result<()> {
        let declared = dataset.shape().iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim));
        // A reference takes 16 bytes, before compression by at most a factor of about a thousand.
        let bound = if dataset.is_chunked() {
            let chunk = dataset.chunk().unwrap_or_default().iter().product::<usize>();
            dataset.num_chunks().unwrap_or(0).saturating_mul(chunk).min(super::to_usize(self.size()) * 64)
        } else {
            super::to_usize(dataset.storage_size() / 12)
        };
        match declared {
            Some(count) if count <= bound.saturating_add(MAX_UNSTORED) => Ok(()),
            _ => Err(Error::input(
                self.path(),
                name,
                format!("{:?} stored strings", dataset.shape()),
                format!("at most {bound}"),
                "the file is incomplete or damaged; write or download it again",
            )),
        }
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

    /// A truth value, stored as HDF5 enumeration or as integer.
    pub fn boolean_attribute(&self, name: &str, attribute: &str) -> Result<Option<bool>> {
        let Some(found) = self.attribute(name, attribute)? else { return Ok(None) };
        let failed = |source| Error::hdf5(self.path(), format!("{name}@{attribute}"), "read it", source);
        match found.dtype().and_then(|datatype| datatype.to_descriptor()).map_err(failed)? {
            TypeDescriptor::Boolean => Ok(found.read_raw::<bool>().map_err(failed)?.first().copied()),
            _ => Ok(self
                .integers_attribute(name, attribute)?
                .and_then(|values| values.first().map(|&value| value != 0))),
        }
    }

    fn attribute(&self, name: &str, attribute: &str) -> Result<Option<hdf5::Attribute>> {
        let failed = |source| Error::hdf5(self.path(), format!("{name}@{attribute}"), "read it", source);
        let find = |object: &hdf5::Location| {
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

fn note_lossy(name: &str, lossy: usize, notes: &mut Vec<String>) {
    if lossy > 0 {
        notes.push(format!("{name}: {lossy} strings are not valid UTF-8; their invalid bytes were replaced"));
    }
}

#[cfg(test)]
mod tests {
    use super::decode_text;

    #[test]
    fn padding_goes_and_inner_spaces_stay() {
        assert_eq!(decode_text(b"HLA A\0\0\0"), ("HLA A".to_owned(), true));
        assert_eq!(decode_text(b"\0\0"), (String::new(), true));
        assert!(!decode_text(b"\xff\xfe").1);
    }
}
