//! BloscLZ, the codec that PyTables and pandas choose by default.

use super::copy_back;

/// Distances from here on take two more bytes.
const FAR: usize = 8191;

/// Expands `input` into exactly `output`; `None` when the stream is damaged.
pub(super) fn decompress(input: &[u8], output: &mut [u8]) -> Option<()> {
    let (mut from, mut to) = (0, 0);
    let byte = |from: &mut usize| -> Option<usize> {
        let value = *input.get(*from)?;
        *from += 1;
        Some(usize::from(value))
    };
    // The first byte always starts a run of literals.
    let mut control = byte(&mut from)? & 31;
    loop {
        if control < 32 {
            let length = control + 1;
            output.get_mut(to..to + length)?.copy_from_slice(input.get(from..from + length)?);
            from += length;
            to += length;
        } else {
            let mut length = (control >> 5) - 1;
            if length == 6 {
                loop {
                    let more = byte(&mut from)?;
                    length += more;
                    if more != 255 {
                        break;
                    }
                }
            }
            length += 3;
            let high = (control & 31) << 8;
            let low = byte(&mut from)?;
            let mut distance = high + low;
            if low == 255 && high == 31 << 8 {
                let far = byte(&mut from)? << 8;
                distance = far + byte(&mut from)? + FAR;
            }
            copy_back(output, &mut to, distance + 1, length)?;
        }
        if from >= input.len() {
            return (to == output.len()).then_some(());
        }
        control = byte(&mut from)?;
    }
}

#[cfg(test)]
mod tests {
    use super::decompress;

    #[test]
    fn literals_and_overlapping_references_expand() {
        let mut output = [0; 12];
        // "ab" literally, then 7 + 3 bytes from two back: lengths from 9 on go on in further bytes.
        assert!(decompress(&[1, b'a', b'b', 0b1110_0000, 1, 1], &mut output).is_some());
        assert_eq!(&output, b"abababababab");
    }

    #[test]
    fn damaged_streams_are_refused() {
        for input in [
            &[][..],
            &[1, b'a'],
            &[0, b'a', 0b0010_0000],
            &[0, b'a', 0b0010_0000, 9],
            &[0, b'a', 0b1110_0000, 255],
            &[0, b'a', 0b0011_1111, 255, 0],
            &[0, b'a'],
            &[3, 1, 2, 3, 4, 0, 5],
        ] {
            assert!(decompress(input, &mut [0; 4]).is_none(), "{input:?}");
        }
    }
}
