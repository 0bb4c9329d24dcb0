//! Text files, compressed or not.

use std::fs::File;
use std::io::{BufRead, BufReader, Error as IoError, ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;

use crate::error::{Error, Result};

/// Bytes that are read from the file at a time.
const BUFFER_BYTES: usize = 1 << 17;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Deflate makes at most so many bytes of one.
pub(crate) const MAX_EXPANSION: u64 = 1032;

/// Whether a file that begins with `head` is compressed.
pub(crate) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&GZIP)
}

/// Whether the file is compressed.
pub(crate) fn is_compressed(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
    file.take(GZIP.len() as u64).read_to_end(&mut head).map_err(|e| Error::io(path, "read", e))?;
    Ok(is_gzip(&head))
}

/// Opens a text file, compressed or not, all members of it.
pub(crate) fn open_text(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    open_counting(path, None)
}

/// As [`open_text`]; the bytes of the file that were read are added to `read`.
pub(super) fn open_counting<'a>(
    path: &Path,
    read: Option<&'a AtomicU64>,
) -> Result<Box<dyn BufRead + Send + 'a>> {
    let failed = |e| Error::io(path, "open", e);
    let file = File::open(path).map_err(failed)?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, Counting { file, read });
    let head = input.fill_buf().map_err(|e| Error::io(path, "read", e))?;
    if is_gzip(head) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, Members(Some(GzDecoder::new(input))))));
    }
    Ok(Box::new(input))
}

/// A file of which is known how much was read.
struct Counting<'a> {
    file: File,
    read: Option<&'a AtomicU64>,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        if let Some(read) = self.read {
            read.fetch_add(n as u64, Ordering::Relaxed);
        }
        Ok(n)
    }
}

/// All members of a gzip file, one after the other; zeros behind the last one, with which tapes and block devices fill up,
/// are ignored, as gzip does. `None` behind the end.
struct Members<R: BufRead>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            if let Some(member) = self.0.take() {
                self.0 = next_member(member.into_inner())?;
            }
        }
        Ok(0)
    }
}

/// The member that follows, if one does.
fn next_member<R: BufRead>(mut input: R) -> std::io::Result<Option<GzDecoder<R>>> {
    if input.fill_buf()?.first().is_some_and(|byte| *byte != 0) {
        return Ok(Some(GzDecoder::new(input)));
    }
    loop {
        let rest = input.fill_buf()?;
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.iter().any(|byte| *byte != 0) {
            return Err(IoError::new(ErrorKind::InvalidData, "other data behind its end"));
        }
        let n = rest.len();
        input.consume(n);
    }
}
