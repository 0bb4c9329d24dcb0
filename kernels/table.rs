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

/// Groups of 32 values per register block: 26 of 32 zmm, 12 of 16 ymm, 8 of 16 xmm. Thirteen because the default
/// hidden widths 800 and 400 are a block of 13 and one of 12, and one of 12.
pub(crate) const AVX512_BLOCK: usize = 13;
pub(crate) const AVX2_BLOCK: usize = 3;
pub(crate) const PORTABLE_BLOCK: usize = 1;

/// Instantiates `generic::<op>` for every instruction set and lists the results beside the reference.
macro_rules! kernels {
    ($reference:ident $portable:ident $avx2:ident $avx512:ident = $op:ident
     ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        /// Signature shared by the kernels of this operation.
        pub type Run = unsafe fn($($type),*) $(-> $result)?;

        /// Every kernel of this operation.
        pub static KERNELS: &[$crate::Kernel<Run>] = {
            instances! {
                $portable $avx2 $avx512 = generic::$op[]($($arg: $type),*) $(-> $result)?
            }
            table!(reference::$reference; $reference $portable $avx2 $avx512)
        };
    };
}

/// As [`kernels!`], for both [`Storage`](crate::Storage)s of the wide layers; types may name it as `S`.
macro_rules! kernels_by_storage {
    ($f32:tt $bf16:tt = $op:ident ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        /// Signature shared by the kernels of this operation for a storage.
        pub type Run<S> = unsafe fn($($type),*) $(-> $result)?;

        /// Storages that this operation has kernels for.
        pub trait Kernels: $crate::Storage {
            /// Every kernel of this operation for this storage.
            fn kernels() -> &'static [$crate::Kernel<Run<Self>>];
        }

        kernels_of_storage!(F32 $f32 = $op ($($arg: $type),*) $(-> $result)?);
        kernels_of_storage!(Bf16 $bf16 = $op ($($arg: $type),*) $(-> $result)?);
    };
}

/// One storage of [`kernels_by_storage!`].
macro_rules! kernels_of_storage {
    ($storage:ident [$reference:ident $portable:ident $avx2:ident $avx512:ident] = $op:ident
     ($($arg:ident: $type:ty),*) $(-> $result:ty)?) => {
        impl Kernels for $crate::$storage {
            fn kernels() -> &'static [$crate::Kernel<Run<Self>>] {
                type S = $crate::$storage;
                instances! {
                    $portable $avx2 $avx512 = generic::$op[S,]($($arg: $type),*) $(-> $result)?
                }
                static TABLE: &[$crate::Kernel<Run<S>>] =
                    table!(reference::$op::<S>; $reference $portable $avx2 $avx512);
                TABLE
            }
        }
    };
}

/// The rows of a table.
macro_rules! table {
    ($run:expr; $reference:ident $portable:ident $avx2:ident $avx512:ident) => {
        &[
            $crate::Kernel::new($crate::Isa::Reference, stringify!($reference), $run),
            $crate::Kernel::new($crate::Isa::Portable, stringify!($portable), $portable),
            #[cfg(target_arch = "x86_64")]
            $crate::Kernel::new($crate::Isa::Avx2, stringify!($avx2), $avx2),
            #[cfg(target_arch = "x86_64")]
            $crate::Kernel::new($crate::Isa::Avx512, stringify!($avx512), $avx512),
        ]
    };
}

/// One generic body compiled for each instruction set; `[S,]` comes before its lanes and block.
macro_rules! instances {
    ($portable:ident $avx2:ident $avx512:ident = generic::$op:ident[$($storage:tt)*]
     ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?) => {
        /// # Safety
        /// The lengths are those asserted by the safe entry.
        unsafe fn $portable($($arg: $type),*) $(-> $result)? {
            use $crate::table::PORTABLE_BLOCK;
            // SAFETY: the caller vouches for the lengths; portable lanes need nothing from the CPU.
            unsafe { generic::$op::<$($storage)* $crate::lanes::Portable, PORTABLE_BLOCK>($($arg),*) }
        }

        /// # Safety
        /// The CPU has AVX2 and FMA; the lengths are those asserted by the safe entry.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn $avx2($($arg: $type),*) $(-> $result)? {
            use $crate::table::AVX2_BLOCK;
            // SAFETY: the caller vouches for the lengths, this function's features for the instructions.
            unsafe { generic::$op::<$($storage)* $crate::lanes::Avx2, AVX2_BLOCK>($($arg),*) }
        }

        /// # Safety
        /// The CPU has AVX-512F; the lengths are those asserted by the safe entry.
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        unsafe fn $avx512($($arg: $type),*) $(-> $result)? {
            use $crate::table::AVX512_BLOCK;
            // SAFETY: the caller vouches for the lengths, this function's features for the instructions.
            unsafe { generic::$op::<$($storage)* $crate::lanes::Avx512, AVX512_BLOCK>($($arg),*) }
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
