//! Words and numbers: how wide they are, how they are broken, how they are written.

use super::axis::exponent;

/// Digits that people read; files have them all.
const DIGITS: i32 = 4;

/// An upper estimate of a text's width in units of the font's size. Which font will be used is not known: these
/// are the widths of DejaVu Sans, the widest of those that systems have as their sans-serif.
pub(super) fn width(text: &str) -> f64 {
    text.chars().map(character_width).sum()
}

fn character_width(c: char) -> f64 {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0.0,
        '\'' | 'i' | 'j' | 'l' | 'I' | 'J' => 0.3,
        ' ' | ',' | '.' | '/' | ':' | ';' | '\\' | '|' | '·' | 'f' => 0.36,
        '-' | '(' | ')' | '[' | ']' | 't' | '!' | 'r' => 0.42,
        '⁰' | '¹' | '²' | '³' | '⁴'..='⁹' => 0.42,
        '"' | '*' | '_' | '`' | 's' | 'z' | '?' | 'c' | 'L' | '⁻' => 0.56,
        '#' | '+' | '<' | '=' | '>' | '^' | '~' | 'w' | 'M' | '−' | '×' => 0.86,
        '%' | 'm' | 'W' | '@' | '…' => 1.0,
        'A'..='Z' | '&' => 0.76,
        ' '..='~' => 0.65,
        '\u{a0}'..='\u{24f}' => 0.8,
        '\u{250}'..='\u{10ff}' => 0.85,
        _ => 1.1,
    }
}

/// `text` in lines of at most `limit` units of the font's size each, and at most `max_lines` of them: broken
/// after spaces and signs, inside of words where there is no other way, the rest left out behind an ellipsis.
pub(super) fn wrap(text: &str, limit: f64, max_lines: usize) -> Vec<String> {
    let mut lines = break_lines(text, limit);
    if lines.len() <= max_lines {
        // About equally long lines, not a last one of a single word.
        let longest_word = words(text).iter().map(|word| width(word.trim_end())).fold(0.0, f64::max);
        let shares = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
        let balanced = shares
            .iter()
            .map(|share| limit * share)
            .filter(|&limit| limit >= longest_word)
            .map(|limit| break_lines(text, limit))
            .find(|balanced| balanced.len() == lines.len());
        return balanced.unwrap_or(lines);
    }
    lines.truncate(max_lines);
    if let Some(last) = lines.last_mut() {
        while !last.is_empty() && width(last) + width("…") > limit {
            last.pop();
        }
        last.push('…');
    }
    lines
}

fn break_lines(text: &str, limit: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(text) {
        let fits = |line: &str, word: &str| width(line) + width(word.trim_end()) <= limit;
        if lines.last().is_some_and(|line| fits(line, &word)) {
            push(&mut lines, &word);
        } else if fits("", &word) {
            lines.push(word);
        } else {
            for c in word.chars() {
                if !lines.last().is_some_and(|line| line.is_empty() || fits(line, c.encode_utf8(&mut [0; 4])))
                {
                    lines.push(String::new());
                }
                push(&mut lines, c.encode_utf8(&mut [0; 4]));
            }
        }
    }
    lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
    lines.retain(|line| !line.is_empty());
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

/// The pieces between which a line may end.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars() {
        let c = if c.is_whitespace() { ' ' } else { c };
        push(&mut words, c.encode_utf8(&mut [0; 4]));
        if matches!(c, ' ' | '-' | '/' | '_' | ',' | ';' | '|') {
            words.push(String::new());
        }
    }
    words
}

/// A number for people: four digits, `1,234`, `1.2×10⁷`; `–` for what is missing.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "∞".into() } else { "−∞".into() };
    }
    let value = rounded(value);
    if value == 0.0 {
        return "0".into();
    }
    let power = exponent(value);
    if (-4..6).contains(&power) {
        let text = fixed(value, DIGITS - 1 - power);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else {
        let text = fixed(value / 10f64.powi(power), DIGITS - 1);
        format!("{}×10{}", text.trim_end_matches('0').trim_end_matches('.'), superscript(power))
    }
}

/// The number that [`number`] shows.
pub(super) fn rounded(value: f64) -> f64 {
    // A formatted number can always be read.
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// A whole number with its thousands apart.
pub(super) fn count(value: u64) -> String {
    thousands(&value.to_string())
}

/// Names of places `step` apart on an axis, all with the same number of digits.
pub(super) fn tick_labels(ticks: &[f64], step: f64) -> Vec<String> {
    let largest = ticks.iter().fold(0.0, |largest: f64, tick| largest.max(tick.abs()));
    let power = exponent(largest);
    let label = |&tick: &f64| {
        if (-3..6).contains(&power) {
            return fixed(tick, -exponent(step));
        }
        if tick == 0.0 {
            return "0".into();
        }
        let mantissa = fixed(tick / 10f64.powi(power), power - exponent(step));
        format!("{mantissa}×10{}", superscript(power))
    };
    ticks.iter().map(label).collect()
}

/// A power of ten.
pub(super) fn power_of_ten(power: i32) -> String {
    match power {
        0..=4 => count(10u64.pow(power.unsigned_abs())),
        -3..=-1 => fixed(10f64.powi(power), -power),
        _ => format!("10{}", superscript(power)),
    }
}

fn fixed(value: f64, decimals: i32) -> String {
    let text = format!("{:.*}", usize::try_from(decimals).unwrap_or(0).min(15), value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", thousands(whole))
}

fn thousands(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn superscript(power: i32) -> String {
    power
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            // The others follow each other from U+2070 on.
            _ => char::from_u32(0x2070 + c.to_digit(10).unwrap_or(0)).unwrap_or(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        for (value, text) in [
            (0.1 + 0.2, "0.3"),
            (0.0, "0"),
            (-0.0, "0"),
            (1234.5678, "1,235"),
            (99_999.6, "100,000"),
            (-0.012_345_6, "−0.01235"),
            (1_234_567.0, "1.235×10⁶"),
            (2e-300, "2×10⁻³⁰⁰"),
            (f64::NAN, "–"),
            (f64::NEG_INFINITY, "−∞"),
        ] {
            assert_eq!(number(value), text, "{value:e}");
        }
        assert_eq!(count(1_306_127), "1,306,127");
    }

    #[test]
    fn labels_of_an_axis_have_equal_digits() {
        assert_eq!(tick_labels(&[0.0, 0.1, 0.2, 0.1 * 3.0], 0.1), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(tick_labels(&[-20_000.0, 0.0, 20_000.0], 20_000.0), ["−20,000", "0", "20,000"]);
        assert_eq!(tick_labels(&[0.0, 5e5, 1e6], 5e5), ["0", "0.5×10⁶", "1.0×10⁶"]);
        assert_eq!(tick_labels(&[0.0, 1e-7, 1.5e-7], 5e-8), ["0", "1.0×10⁻⁷", "1.5×10⁻⁷"]);
        assert_eq!([-4, -2, 0, 3, 5].map(power_of_ten), ["10⁻⁴", "0.01", "1", "1,000", "10⁵"]);
    }

    #[test]
    fn lines_are_no_wider_than_allowed() {
        for text in
            ["CD14+ monocytes, stimulated", &"x".repeat(60), "ポリメラーゼ連鎖反応による単一細胞", "", " \t"]
        {
            for limit in [3.0, 8.0, 20.0] {
                let lines = wrap(text, limit, 3);
                assert!(lines.len() <= 3 && lines.iter().all(|line| width(line) <= limit), "{lines:?}");
            }
        }
        assert_eq!(wrap("Training, observed", 8.0, 3), ["Training,", "observed"]);
        assert_eq!(wrap("a mean that is long, by far", 14.0, 2), ["a mean that", "is long, by far"]);
        assert_eq!(wrap("abcdef abcdef", 4.9, 1), ["abcdef…"]);
    }
}
