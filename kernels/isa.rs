//! Which instruction set runs, chosen once and forceable; the flush-to-zero switch.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Name of the environment variable that forces an [`Isa`].
pub const ISA_VARIABLE: &str = "LATE_FAST_ISA";

/// An instruction set. An operation without a kernel for one runs its best kernel below it: the f32 operations
/// under [`Isa::Amx`] are those of [`Isa::Avx512`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain loops with f64 sums: the oracle of the tests.
    Reference,
    /// Baseline of the target: SSE2 on x86-64, elsewhere arrays that the compiler vectorises.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512F.
    Avx512,
    /// AMX tiles with bf16 factors beside AVX-512 (F, BW, VL), where the operating system grants the tiles.
    Amx,
}

/// Why [`Isa::chosen`] failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsaError {
    /// The name is not one of [`Isa::ALL`].
    Unknown(String),
    /// This CPU cannot run it.
    Unavailable(Isa),
}

impl Isa {
    /// Every instruction set, slowest first.
    pub const ALL: [Self; 5] = [Self::Reference, Self::Portable, Self::Avx2, Self::Avx512, Self::Amx];

    /// The fastest one this CPU has.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().unwrap_or(Self::Portable)
    }

    /// Those this CPU has, slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// Whether this CPU (and build) can run it. The first question about [`Isa::Amx`] asks Linux for the tiles.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Reference | Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => crate::amx::is_usable(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 | Self::Amx => false,
        }
    }

    /// The one this process uses: [`ISA_VARIABLE`] if set, else [`Isa::detect`]. Read once.
    ///
    /// # Errors
    /// The variable names an instruction set that does not exist or that this CPU lacks.
    pub fn chosen() -> Result<Self, IsaError> {
        static CHOSEN: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
        CHOSEN.get_or_init(|| Self::from_variable(std::env::var_os(ISA_VARIABLE))).clone()
    }

    fn from_variable(value: Option<std::ffi::OsString>) -> Result<Self, IsaError> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Ok(Self::detect()) };
        let isa: Self = value.to_string_lossy().parse()?;
        if isa.is_available() { Ok(isa) } else { Err(IsaError::Unavailable(isa)) }
    }

    /// The name accepted by [`ISA_VARIABLE`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(text: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| IsaError::Unknown(text.to_owned()))
    }
}

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => {
                write!(f, "{ISA_VARIABLE}: unknown instruction set {text:?}, expected one of")?;
                Isa::ALL.into_iter().try_for_each(|isa| write!(f, " {isa}"))
            }
            Self::Unavailable(isa) => {
                write!(f, "{ISA_VARIABLE}: this CPU has no {isa}, it has")?;
                Isa::available().try_for_each(|isa| write!(f, " {isa}"))
            }
        }
    }
}

impl std::error::Error for IsaError {}

/// Makes the calling thread read and write denormal numbers as zero, until it ends.
///
/// Adam's first moment decays by 0.9 a step, so a feature unseen for 830 steps holds denormals, and the update
/// becomes nine times slower. Call it in every worker thread. Does nothing where the CPU has no such switch.
pub fn flush_denormals() {
    #[cfg(target_arch = "x86_64")]
    {
        const FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO: u32 = 0x8040;
        let mut mxcsr = 0_u32;
        // SAFETY: reads the control word into a live u32.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags));
        }
        mxcsr |= FLUSH_TO_ZERO_AND_DENORMALS_ARE_ZERO;
        // SAFETY: the word just read with two documented bits added; exceptions and rounding stay as they were.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        const FLUSH_TO_ZERO: u64 = 1 << 24;
        // SAFETY: sets one documented bit of the thread's floating-point control register.
        unsafe {
            std::arch::asm!(
                "mrs {word}, fpcr", "orr {word}, {word}, {bit}", "msr fpcr, {word}",
                word = out(reg) _, bit = in(reg) FLUSH_TO_ZERO, options(nomem, nostack, preserves_flags)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn names_round_trip_and_the_variable_is_checked() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
            let forced = Isa::from_variable(Some(isa.name().into()));
            if isa.is_available() {
                assert_eq!(forced, Ok(isa));
            } else {
                println!("SKIPPED {isa}");
                assert_eq!(forced, Err(IsaError::Unavailable(isa)));
            }
        }
        assert_eq!(Isa::from_variable(None), Ok(Isa::detect()));
        let error = Isa::from_variable(Some("sse9".into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "LATE_FAST_ISA: unknown instruction set \"sse9\", expected one of reference portable avx2 avx512 amx"
        );
    }

    #[test]
    fn detection_prefers_the_fastest() {
        assert_eq!(Isa::detect(), Isa::available().max().unwrap());
        // What `select` relies on when it falls back: there is no gap below.
        let best = Isa::ALL.iter().position(|&isa| isa == Isa::detect()).unwrap();
        assert!(Isa::ALL[..=best].iter().all(|isa| isa.is_available()));
    }

    #[test]
    fn flushing_makes_denormals_zero_in_this_thread_only() {
        let half_the_smallest = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        std::thread::Builder::new()
            .spawn(move || {
                flush_denormals();
                let flushes = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
                assert_eq!(half_the_smallest() == 0.0, flushes);
            })
            .unwrap()
            .join()
            .unwrap();
        assert!(half_the_smallest() > 0.0);
    }
}
