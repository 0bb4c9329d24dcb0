/// Loss of one stored entry: the only thing the decoder's pass knows about the likelihood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryLoss {
    /// `(y - x)²`, over stored entries only.
    #[default]
    MaskedSquare,
}

impl EntryLoss {
    /// Value and derivative at the output `y` for the target `x`.
    #[inline(always)]
    #[must_use]
    pub fn at(self, y: f32, x: f32) -> (f64, f32) {
        match self {
            Self::MaskedSquare => {
                let error = y - x;
                (f64::from(error) * f64::from(error), 2.0 * error)
            }
        }
    }

    /// [`EntryLoss::at`] in f64, for the reference.
    #[must_use]
    pub(crate) fn at_f64(self, y: f64, x: f64) -> (f64, f64) {
        match self {
            Self::MaskedSquare => ((y - x) * (y - x), 2.0 * (y - x)),
        }
    }
}
