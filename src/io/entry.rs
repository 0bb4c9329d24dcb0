//! Which values a matrix may hold.

use crate::hdf::FromElement;
use crate::matrix::{Block, Number, RowBlock};

/// From here on an f64 no longer holds every integer.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A count that f64 holds exactly.
    Count,
    /// A normal f32, zero or more.
    Real,
    /// Any finite number.
    Finite,
}

/// Types that blocks are read as. Nothing here exits early, so that loops over it vectorise.
///
/// Real numbers below the normal ones of their type are zeros: the pool's threads compute with them as such, and other threads
/// must not find anything else.
pub(super) trait Entry: Number + FromElement + std::fmt::Display {
    /// Whether the value is an entry, not zero, that the rule allows: for training a normal f32, or a count that f64 holds
    /// exactly.
    fn is_clean(self, rule: Rule) -> bool;
    fn is_zero(self) -> bool;
    /// The rows as a block.
    fn block(rows: RowBlock<Self>) -> Block;
}

impl Entry for f64 {
    #[inline]
    fn is_clean(self, rule: Rule) -> bool {
        if rule == Rule::Finite {
            return self.is_finite() & !self.is_zero();
        }
        #[expect(clippy::cast_possible_truncation, reason = "whether it fits is the question")]
        let single = self as f32;
        let limit = if rule == Rule::Real { f64::INFINITY } else { MAX_COUNT };
        // NaN fails all comparisons.
        (f32::MIN_POSITIVE..f32::INFINITY).contains(&single) & (self < limit)
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.abs() < Self::MIN_POSITIVE
    }

    fn block(rows: RowBlock<Self>) -> Block {
        Block::Reals(rows)
    }
}

impl Entry for f32 {
    #[inline]
    fn is_clean(self, rule: Rule) -> bool {
        let size = if rule == Rule::Finite { self.abs() } else { self };
        (Self::MIN_POSITIVE..Self::INFINITY).contains(&size)
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.abs() < Self::MIN_POSITIVE
    }

    fn block(rows: RowBlock<Self>) -> Block {
        Block::Singles(rows)
    }
}

/// `u32::MAX` stands for what does not fit.
impl Entry for u32 {
    #[inline]
    fn is_clean(self, _: Rule) -> bool {
        self.wrapping_sub(1) < Self::MAX - 1
    }

    #[inline]
    fn is_zero(self) -> bool {
        self == 0
    }

    fn block(rows: RowBlock<Self>) -> Block {
        Block::Counts(rows)
    }
}

/// What was expected in place of a value that no expression matrix has, or that f32 cannot hold.
pub(super) fn value_fault<V: Entry>(value: V, rule: Rule) -> Option<&'static str> {
    if value.is_zero() || value.is_clean(rule) {
        return None;
    }
    let value = value.to_f64();
    Some(match rule {
        Rule::Finite => "a finite number",
        _ if value.is_nan() || value < 0.0 || value.is_infinite() => "a finite number, zero or more",
        Rule::Real => "zero or a number in the range of 32-bit reals, 1.2e-38 to 3.4e38",
        Rule::Count => "a count below 2^53",
    })
}
