//! One table of kernels per operation: the safe entry, the tests and the benches walk it.

use crate::Isa;

/// A row of an operation's `KERNELS` table.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<F: 'static> {
    isa: Isa,
    name: &'static str,
    run: F,
}

impl<F: Copy> Kernel<F> {
    pub(crate) const fn new(isa: Isa, name: &'static str, run: F) -> Self {
        Self { isa, name, run }
    }

    /// The instruction set the kernel needs.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `<op>_<dtype>__<isa>`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The kernel of `isa`, or the best of those below it: not every operation has one of its own for each.
///
/// # Panics
/// If this CPU cannot run `isa`, so that what is returned is always safe to run as far as the CPU goes: who has
/// an instruction set has those below it.
pub(crate) fn select<F: Copy>(table: &[Kernel<F>], isa: Isa) -> F {
    assert!(isa.is_available(), "this CPU cannot run {isa} kernels");
    let kernel = table.iter().filter(|kernel| kernel.isa <= isa).max_by_key(|kernel| kernel.isa);
    kernel.unwrap_or_else(|| panic!("no kernel for {isa} or below in the table")).run
}

/// `rows × cols`, the length of a matrix.
///
/// # Panics
/// If it overflows.
#[track_caller]
pub(crate) fn size(rows: usize, cols: usize) -> usize {
    rows.checked_mul(cols).unwrap_or_else(|| panic!("{rows} × {cols} overflows"))
}

/// Instantiates `generic::<op>` for every instruction set and lists the results beside the reference.
/// The numbers are accumulators per register block: 25 of 32 zmm, 12 of 16 ymm, 4 pairs of 16 xmm. Twenty-five
/// because the default hidden widths 800 and 400 are two blocks and one.
macro_rules! kernels {
    ($reference:ident $portable:ident $avx2:ident $avx512:ident = $op:ident
     ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        /// Signature shared by the kernels of this operation.
        pub type Run = unsafe fn($($type),*) $(-> $result)?;

        /// Every kernel of this operation.
        pub static KERNELS: &[$crate::Kernel<Run>] = &[
            $crate::Kernel::new($crate::Isa::Reference, stringify!($reference), reference::$reference),
            $crate::Kernel::new($crate::Isa::Portable, stringify!($portable), $portable),
            #[cfg(target_arch = "x86_64")]
            $crate::Kernel::new($crate::Isa::Avx2, stringify!($avx2), $avx2),
            #[cfg(target_arch = "x86_64")]
            $crate::Kernel::new($crate::Isa::Avx512, stringify!($avx512), $avx512),
        ];

        /// # Safety
        /// The lengths are those asserted by the safe entry.
        unsafe fn $portable($($arg: $type),*) $(-> $result)? {
            // SAFETY: the caller vouches for the lengths; portable lanes need nothing from the CPU.
            unsafe { generic::$op::<$crate::lanes::Portable, 4>($($arg),*) }
        }

        /// # Safety
        /// The CPU has AVX2 and FMA; the lengths are those asserted by the safe entry.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $avx2($($arg: $type),*) $(-> $result)? {
            // SAFETY: the caller vouches for the lengths, this function's features for the instructions.
            unsafe { generic::$op::<$crate::lanes::Avx2, 12>($($arg),*) }
        }

        /// # Safety
        /// The CPU has AVX-512F; the lengths are those asserted by the safe entry.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn $avx512($($arg: $type),*) $(-> $result)? {
            // SAFETY: the caller vouches for the lengths, this function's features for the instructions.
            unsafe { generic::$op::<$crate::lanes::Avx512, 25>($($arg),*) }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_without_a_kernel_for_an_isa_runs_its_best_below() {
        let table = [Kernel::new(Isa::Portable, "portable", 1), Kernel::new(Isa::Reference, "reference", 0)];
        for isa in Isa::available() {
            assert_eq!(select(&table, isa), i32::from(isa != Isa::Reference), "{isa}");
        }
    }

    #[test]
    #[should_panic(expected = "no kernel for reference or below")]
    fn a_kernel_above_is_never_taken() {
        let _ = select(&[Kernel::new(Isa::Portable, "portable", 1)], Isa::Reference);
    }
}
