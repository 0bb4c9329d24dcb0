//! Numbers in text.

/// This many digits never exceed what f64 holds exactly.
const EXACT_DIGITS: usize = 15;

/// Reads a decimal number, with or without a sign, a point and an exponent; spaces around it are ignored. It is not
/// necessarily finite.
#[inline]
pub(crate) fn parse_number(text: &[u8]) -> Option<f64> {
    if let 1..=EXACT_DIGITS = text.len() {
        let mut value = 0_u64;
        let mut all_digits = true;
        for &byte in text {
            let digit = byte.wrapping_sub(b'0');
            all_digits &= digit < 10;
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        if all_digits {
            return Some(value as f64);
        }
    }
    parse_any(text)
}

fn parse_any(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_kind_are_read() {
        for (text, value) in [
            ("0", 0.0),
            ("007", 7.0),
            ("999999999999999", 999_999_999_999_999.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            (" 5 ", 5.0),
            ("1e+05", 1e5),
            ("-1.5", -1.5),
            (".5", 0.5),
            ("+3", 3.0),
        ] {
            assert_eq!(parse_number(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_number(b"nan").is_some_and(f64::is_nan));
        assert!(parse_number(b"-inf").is_some_and(f64::is_infinite));
        for text in ["", " ", "NA", "1,5", "0x10", "1e", "--1", "1 2", "\u{663}"] {
            assert_eq!(parse_number(text.as_bytes()), None, "{text}");
        }
    }
}
