//! Strings as 10x files hold them: of fixed length, ASCII, all else as XML character references.

use std::borrow::Cow;
use std::path::Path;

use hdf5::types::{FixedAscii, TypeDescriptor};
use hdf5::{Group, SimpleExtents};

use crate::error::{Error, Result};
use crate::hdf;

/// The longest string that Cell Ranger writes.
const MAX_BYTES: usize = 256;
/// Strings are converted and compressed this many at a time.
const CHUNK: usize = 1024;

/// Writes strings as one dataset, as wide as the longest of them and never held all at once.
///
/// # Errors
/// When a string is longer than 256 bytes, or writing fails.
pub(super) fn write_texts<I>(path: &Path, group: &Group, name: &str, texts: I, level: u8) -> Result<()>
where
    I: ExactSizeIterator<Item: AsRef<str>> + Clone,
{
    let failed = |e| Error::hdf5(path, format!("{}/{name}", group.name()), "write", e);
    let mut width = 1;
    for text in texts.clone() {
        let bytes = encode(text.as_ref()).len();
        if bytes > MAX_BYTES {
            return Err(Error::input(
                path,
                format!("{}/{name}", group.name()),
                format!("names of at most {MAX_BYTES} bytes"),
                format!("{:?} of {bytes} bytes", text.as_ref()),
                "shorten it",
            ));
        }
        width = width.max(bytes);
    }
    let n_texts = texts.len();
    let builder = group.new_dataset_builder();
    // Datasets of no elements cannot be chunked, unless they may grow.
    let builder = match n_texts {
        0 => builder,
        _ => builder.chunk(CHUNK.min(n_texts)).shuffle().deflate(level),
    };
    let dataset = builder
        .empty_as(TypeDescriptor::FixedAscii(width))
        .shape(SimpleExtents::fixed([n_texts]))
        .create(name)
        .map_err(failed)?;
    let mut block: Vec<FixedAscii<MAX_BYTES>> = Vec::with_capacity(CHUNK.min(n_texts));
    let mut done = 0;
    for text in texts {
        let text = FixedAscii::from_ascii(encode(text.as_ref()).as_bytes());
        block.push(text.map_err(|e| failed(hdf5::Error::Internal(e.to_string())))?);
        if block.len() == CHUNK || done + block.len() == n_texts {
            dataset.write_slice(&block[..], done..done + block.len()).map_err(failed)?;
            done += block.len();
            block.clear();
        }
    }
    hdf::flush(&dataset)
}

/// The text in ASCII without NUL: other characters become XML's decimal references, as 10x writes them.
fn encode(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii() && c != '\0';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            ascii.push(c);
        } else if c != '\0' {
            ascii += &format!("&#{};", u32::from(c));
        }
    }
    Cow::Owned(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_letters_become_references() {
        assert_eq!(encode("TNF-beta"), "TNF-beta");
        assert_eq!(encode("TNF-β\0!"), "TNF-&#946;!");
    }
}
