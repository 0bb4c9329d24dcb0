//! The codecs behind HDF5's registered compression filters. Each expands into a buffer of the size the chunk must have,
//! checks every length it reads, and refuses what does not fill the buffer exactly.

pub(super) mod blosc;
mod blosclz;
pub(super) mod lz4;
pub(super) mod lzf;
pub(super) mod zstd;

/// Decoders with memory of their own, which a thread keeps.
pub(super) struct Decoders {
    pub(super) deflate: libdeflater::Decompressor,
    pub(super) zstd: ruzstd::decoding::FrameDecoder,
}

impl Default for Decoders {
    fn default() -> Self {
        Self { deflate: libdeflater::Decompressor::new(), zstd: ruzstd::decoding::FrameDecoder::new() }
    }
}

/// Appends to what was decoded, `output` up to `to`, `length` bytes from `distance` before its end; `None` when they are
/// not there or do not fit.
fn copy_back(output: &mut [u8], to: &mut usize, distance: usize, length: usize) -> Option<()> {
    let start = to.checked_sub(distance)?;
    let end = to.checked_add(length).filter(|&end| end <= output.len())?;
    // The copy may overlap what it writes: a run repeats itself.
    for position in *to..end {
        output[position] = output[start + (position - *to)];
    }
    *to = end;
    Some(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The stored and the decoded bytes of the chunks of `counts/<name>` in the fixture.
    fn chunks(name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fixtures/filters.h5");
        let bytes = std::fs::read(&path).unwrap();
        let mut builder = hdf5::FileBuilder::new();
        builder.with_access_plist(|access| access.file_locking(false));
        let file = builder.open(&path).unwrap();
        let plain: Vec<i32> = file.dataset("counts/plain").unwrap().read_raw().unwrap();
        let dataset = file.dataset(&format!("counts/{name}")).unwrap();
        let chunk = dataset.chunk().unwrap()[0];
        let stored = |number: usize| {
            let info = dataset.chunk_info(number).unwrap();
            let (start, size) = (usize::try_from(info.addr).unwrap(), usize::try_from(info.size).unwrap());
            bytes[start..start + size].to_vec()
        };
        let decoded = plain.chunks_exact(chunk).map(|values| bytemuck::cast_slice(values).to_vec());
        decoded.enumerate().map(|(number, decoded)| (stored(number), decoded)).collect()
    }

    fn decompress(name: &str, input: &[u8], output: &mut [u8]) -> bool {
        match name.split('-').next() {
            Some("lz4") => lz4::decompress(input, output).is_some(),
            Some("blosc") => blosc::decompress(input, output, &mut Decoders::default()).is_ok(),
            _ => panic!("{name}"),
        }
    }

    /// Whatever the bytes, the outcome is the right length or an error.
    #[test]
    fn damaged_and_cut_chunks_do_no_harm() {
        let names = ["lz4".to_owned(), "lz4-small".to_owned()];
        let names = names.into_iter().chain((0..15).map(|number| format!("blosc-{number}")));
        for name in names {
            let mut refused = 0;
            for (stored, decoded) in chunks(&name) {
                let mut output = vec![0; decoded.len()];
                assert!(decompress(&name, &stored, &mut output) && output == decoded, "{name}");
                for length in 0..stored.len() {
                    assert!(!decompress(&name, &stored[..length], &mut output), "{name} cut at {length}");
                }
                for at in 0..stored.len() {
                    for change in [1_u8, 2, 0x10, 0x80, 0xff] {
                        let mut damaged = stored.clone();
                        damaged[at] ^= change;
                        refused += usize::from(!decompress(&name, &damaged, &mut output));
                    }
                }
                let mut long = vec![0; decoded.len() + 1];
                assert!(!decompress(&name, &stored, &mut long), "{name}");
            }
            assert!(refused > 100, "{name}: only {refused} changes were noticed");
        }
    }
}
