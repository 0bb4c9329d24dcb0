//! A text file as blocks of whole lines.
//!
//! Inflating is sequential and takes as long as parsing: it has a thread of its own, which is never more than a few
//! blocks ahead.

use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use memchr::{memchr, memchr_iter, memrchr};
use rayon::prelude::*;

use super::inflate::open_counting;
use crate::error::{Error, Result};
use crate::parallel;

/// Bytes of a block; longer lines are blocks of their own.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes of text that a task parses.
const PIECE_BYTES: usize = 1 << 16;
/// Blocks that wait to be parsed.
const BLOCKS_AHEAD: usize = 2;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Consecutive whole lines. Only the last one of a file may lack its line feed.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The text, line feeds included.
    pub(crate) bytes: Vec<u8>,
    /// Number of the first line; the file's first is 1.
    pub(crate) first: u64,
}

impl Lines {
    /// Takes the first line off, without its line feed.
    pub(crate) fn take_first(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        let end = memchr(b'\n', &self.bytes).map_or(self.bytes.len(), |end| end + 1);
        let rest = self.bytes.split_off(end);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        self.first += 1;
        line.truncate(trim_end(&line).len());
        Some(line)
    }

    /// Drops the lines before number `line`.
    fn drop_before(&mut self, line: u64) {
        let n = usize::try_from(line.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if n == 0 {
            return;
        }
        let last = memchr_iter(b'\n', &self.bytes).take(n).enumerate().last();
        let (dropped, end) = match last {
            Some((place, end)) if place + 1 == n => (n, end + 1),
            // The last line may lack its line feed.
            last => {
                let whole = last.map_or(0, |(place, _)| place + 1);
                let ends_whole = self.bytes.last().is_none_or(|byte| *byte == b'\n');
                (whole + usize::from(!ends_whole), self.bytes.len())
            }
        };
        self.bytes.drain(..end);
        self.first += dropped as u64;
    }

    /// Cuts the block into pieces of about `size` bytes, each with the number of its first line.
    fn pieces(&self, size: usize) -> Vec<(u64, &[u8])> {
        let mut pieces = Vec::new();
        let (mut rest, mut line) = (&self.bytes[..], self.first);
        while !rest.is_empty() {
            let from = size.min(rest.len());
            let end = memchr(b'\n', &rest[from..]).map_or(rest.len(), |end| from + end + 1);
            let (piece, after) = rest.split_at(end);
            pieces.push((line, piece));
            line += memchr_iter(b'\n', piece).count() as u64;
            rest = after;
        }
        pieces
    }

    /// The lines of a piece that starts with line `first`: their numbers and what is on them.
    pub(crate) fn of(first: u64, piece: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = piece;
        let lines = std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (line, after) = rest.split_at(end);
            rest = after;
            Some(trim_end(line))
        });
        (first..).zip(lines)
    }
}

/// The line without line feed and carriage return.
fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Hands the blocks of a text file to `consume`, without a byte order mark. No line may be longer than `longest` bytes. `progress` is told the bytes of the file,
/// as they are on disk, since it was called last.
///
/// # Errors
/// Those of `consume`; and through the blocks: when the file cannot be read, is cut off or damaged, or has a line that
/// is too long.
pub(crate) fn read_lines<T>(
    path: &Path,
    longest: usize,
    progress: &dyn Fn(u64),
    consume: impl FnOnce(&mut dyn Iterator<Item = Result<Lines>>) -> Result<T>,
) -> Result<T> {
    let read = AtomicU64::new(0);
    let mut input = open_counting(path, Some(&read))?;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
        std::thread::Builder::new()
            .name("late-fast-text".into())
            .spawn_scoped(scope, move || {
                if let Err(error) = send_blocks(path, longest, &mut *input, &sender) {
                    // Nobody listens any more when the consumer has failed, too.
                    let _ = sender.send(Err(error));
                }
            })
            .map_err(|e| Error::io(path, "start a thread to read", e))?;
        let mut told = 0;
        let mut blocks = receiver.into_iter().inspect(|_| {
            let now = read.load(Ordering::Relaxed);
            progress(now - told);
            told = now;
        });
        consume(&mut blocks)
    })
}

/// Parses the lines from number `first` on, in pieces on all threads, and hands what comes of them to `consume` in their order,
/// while the next block is parsed. `parse` is given the number of a piece's first line.
///
/// # Errors
/// The first one, of the blocks, `parse` or `consume`.
pub(crate) fn parse_lines<T: Send>(
    blocks: impl Iterator<Item = Result<Lines>>,
    first: u64,
    parse: impl Fn(u64, &[u8]) -> Result<T> + Sync,
    mut consume: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let parse_block = |block: Result<Lines>| {
        let mut block = block?;
        block.drop_before(first);
        let pieces = block.pieces(PIECE_BYTES).into_par_iter();
        Ok(pieces.map(|(line, piece)| parse(line, piece)).collect::<Vec<Result<T>>>())
    };
    parallel::ahead(blocks, parse_block, |parts: Result<Vec<_>>| {
        parts?.into_iter().try_for_each(|part| consume(part?))
    })
}

fn send_blocks(
    path: &Path,
    longest: usize,
    input: &mut dyn BufRead,
    sender: &SyncSender<Result<Lines>>,
) -> Result<()> {
    let mut carry = Vec::new();
    let mut first = 1;
    let mut is_begin = true;
    loop {
        let mut bytes = std::mem::take(&mut carry);
        let old = bytes.len();
        bytes.reserve(BLOCK_BYTES);
        let n = (&mut *input).take(BLOCK_BYTES as u64).read_to_end(&mut bytes);
        let is_end = n.map_err(|e| read_problem(path, e))? < BLOCK_BYTES;
        if is_begin && bytes.starts_with(UTF8_MARK) {
            bytes.drain(..UTF8_MARK.len());
        }
        let old = if std::mem::take(&mut is_begin) { 0 } else { old };
        if !is_end {
            match memrchr(b'\n', &bytes[old..]) {
                Some(end) => {
                    // A block's worth: what is left over of it fits without growing again.
                    carry = Vec::with_capacity(BLOCK_BYTES * 2);
                    carry.extend_from_slice(&bytes[old + end + 1..]);
                    bytes.truncate(old + end + 1);
                }
                None if bytes.len() > longest => {
                    let (line, expected) = (format!("line {first}"), format!("at most {longest} bytes"));
                    let remedy = "take another file if this is no table of numbers, or allow more memory with --memory";
                    return Err(Error::input(path, line, expected, "a longer one", remedy));
                }
                None => {
                    carry = bytes;
                    continue;
                }
            }
        }
        let n_lines = memchr_iter(b'\n', &bytes).count() as u64;
        if !bytes.is_empty() && sender.send(Ok(Lines { bytes, first })).is_err() {
            return Ok(());
        }
        if is_end {
            return Ok(());
        }
        first += n_lines;
    }
}

/// What is wrong when a text file cannot be read on.
pub(crate) fn read_problem(path: &Path, error: std::io::Error) -> Error {
    use std::io::ErrorKind;
    let remedy = "the file is incomplete or damaged; download or write it again";
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            Error::input(path, "compressed data", "a whole gzip file", "its end is missing", remedy)
        }
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Error::input(path, "compressed data", "a whole gzip file", error.to_string(), remedy)
        }
        _ => Error::io(path, "read", error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn blocks_of(content: &[u8]) -> Vec<Lines> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let told = std::cell::Cell::new(0);
        let blocks = read_lines(file.path(), 1 << 30, &|n| told.set(told.get() + n), |blocks| {
            blocks.collect::<Result<Vec<_>>>()
        });
        assert_eq!(told.get(), content.len() as u64);
        blocks.unwrap()
    }

    #[test]
    fn blocks_are_whole_lines_that_are_counted() {
        let mut text = Vec::new();
        for line in 1..=40_000_u64 {
            text.extend(format!("{line} {}\r\n", "x".repeat(usize::try_from(line % 100).unwrap())).bytes());
        }
        text.extend(b"end".repeat(1 << 19));
        let blocks = blocks_of(&text);
        assert!(blocks.len() > 2);
        assert_eq!(blocks.iter().flat_map(|block| block.bytes.clone()).collect::<Vec<_>>(), text);
        let mut next = 1;
        for block in &blocks {
            for (first, piece) in block.pieces(1000) {
                for (number, line) in Lines::of(first, piece) {
                    assert_eq!(number, next);
                    next += 1;
                    assert!(number > 40_000 || line.starts_with(format!("{number} ").as_bytes()));
                    assert!(!line.ends_with(b"\r"));
                }
            }
        }
        assert_eq!(next, 40_002);
    }

    #[test]
    fn marks_and_single_lines_are_taken_off() {
        let mut blocks = blocks_of(b"\xef\xbb\xbfone\r\n\ntwo");
        assert_eq!(blocks[0].take_first().unwrap(), b"one");
        assert_eq!(blocks[0].first, 2);
        blocks[0].drop_before(3);
        assert_eq!(blocks[0].take_first().unwrap(), b"two");
        assert!(blocks[0].take_first().is_none());
        assert!(blocks_of(b"").is_empty());
    }

    #[test]
    fn lines_are_dropped_all_at_once() {
        let of = |text: &[u8]| Lines { bytes: text.to_vec(), first: 5 };
        for (line, first, rest) in
            [(1, 5, "a\nb\nc"), (5, 5, "a\nb\nc"), (6, 6, "b\nc"), (7, 7, "c"), (8, 8, ""), (99, 8, "")]
        {
            let mut lines = of(b"a\nb\nc");
            lines.drop_before(line);
            assert_eq!((lines.first, &lines.bytes[..]), (first, rest.as_bytes()), "{line}");
        }
        let mut lines = of(b"a\n");
        lines.drop_before(9);
        assert_eq!((lines.first, lines.bytes.len()), (6, 0));
        // One after the other, they would be moved five million times: hours.
        let mut many = of(&b"%\n".repeat(5_000_000));
        many.drop_before(5_000_000);
        assert_eq!((many.first, &many.bytes[..]), (5_000_000, &b"%\n%\n%\n%\n%\n"[..]));
    }
}
