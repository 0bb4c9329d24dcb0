//! LZF, the light compression that h5py offers as `compression="lzf"`.

use super::copy_back;

/// Expands `input` into exactly `output`; `None` when the stream is damaged.
pub(in crate::hdf) fn decompress(input: &[u8], output: &mut [u8]) -> Option<()> {
    let (mut from, mut to) = (0, 0);
    while from < input.len() {
        let control = usize::from(input[from]);
        from += 1;
        if control < 32 {
            let length = control + 1;
            output.get_mut(to..to + length)?.copy_from_slice(input.get(from..from + length)?);
            from += length;
            to += length;
            continue;
        }
        let mut length = control >> 5;
        if length == 7 {
            length += usize::from(*input.get(from)?);
            from += 1;
        }
        length += 2;
        let distance = ((control & 31) << 8) + usize::from(*input.get(from)?) + 1;
        from += 1;
        copy_back(output, &mut to, distance, length)?;
    }
    (to == output.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::decompress;

    #[test]
    fn literals_and_overlapping_references_expand() {
        let mut output = [0; 9];
        // "ab" literally, then 7 bytes from two back.
        assert!(decompress(&[1, b'a', b'b', 0b1010_0000, 1], &mut output).is_some());
        assert_eq!(&output, b"ababababa");
    }

    #[test]
    fn damaged_streams_are_refused() {
        for input in [&[1, b'a'][..], &[0b1010_0000, 9], &[0b1110_0000], &[0, b'a']] {
            assert!(decompress(input, &mut [0; 4]).is_none(), "{input:?}");
        }
    }
}
