//! How the wide layers are stored: single precision, or bf16 in half the memory.

use late_fast_kernels::paired::{pack_rows, unpack_rows};
use late_fast_kernels::{Bf16, F32, Isa, Storage, adam, decoder, encoder, sddmm, spmm};

use super::buffer::Buffer;
use super::products::Products;
use crate::error::Result;

/// A storage of the wide layers with all that a network needs of it. Matrices have rows of `k` values.
pub trait Precision:
    Storage<Word: bytemuck::Pod>
    + spmm::Kernels
    + sddmm::Kernels
    + decoder::Kernels
    + encoder::Kernels
    + adam::RowKernels
{
    /// How the hidden layers are multiplied.
    fn products(isa: Isa) -> Products;

    /// Stores f32 values, rounding them to nearest.
    ///
    /// # Errors
    /// When the system has no memory for it.
    fn from_f32(values: Buffer, k: usize) -> Result<Buffer<Self::Word>>;

    /// The stored values.
    ///
    /// # Errors
    /// When the system has no memory for it.
    fn into_f32(rows: Buffer<Self::Word>, k: usize) -> Result<Buffer>;

    /// Some rows of f32 as this storage: themselves, or rounded into `scratch`.
    fn as_rows<'a>(isa: Isa, x: &'a [f32], k: usize, scratch: &'a mut [Self::Word]) -> &'a [Self::Word];

    /// Some stored rows as f32: themselves, or converted into `scratch`.
    fn as_f32<'a>(isa: Isa, rows: &'a [Self::Word], k: usize, scratch: &'a mut [f32]) -> &'a [f32];
}

impl Precision for F32 {
    fn products(_: Isa) -> Products {
        Products::F32
    }

    fn from_f32(values: Buffer, _: usize) -> Result<Buffer> {
        Ok(values)
    }

    fn into_f32(rows: Buffer, _: usize) -> Result<Buffer> {
        Ok(rows)
    }

    fn as_rows<'a>(_: Isa, x: &'a [f32], _: usize, _: &'a mut [f32]) -> &'a [f32] {
        x
    }

    fn as_f32<'a>(_: Isa, rows: &'a [f32], _: usize, _: &'a mut [f32]) -> &'a [f32] {
        rows
    }
}

impl Precision for Bf16 {
    /// Half precision saves nothing here but where the CPU multiplies it faster.
    fn products(isa: Isa) -> Products {
        if isa == Isa::Amx { Products::Bf16 } else { Products::F32 }
    }

    fn from_f32(values: Buffer, k: usize) -> Result<Buffer<u32>> {
        let n_rows = values.len() / k;
        let mut out = Buffer::zeros(n_rows * Self::row_words(k))?;
        pack_rows(Isa::detect(), &mut out, &values, n_rows, k);
        Ok(out)
    }

    fn into_f32(rows: Buffer<u32>, k: usize) -> Result<Buffer> {
        let n_rows = rows.len() / Self::row_words(k);
        let mut out = Buffer::zeros(n_rows * k)?;
        unpack_rows(Isa::detect(), &mut out, &rows, n_rows, k);
        Ok(out)
    }

    fn as_rows<'a>(isa: Isa, x: &'a [f32], k: usize, scratch: &'a mut [u32]) -> &'a [u32] {
        let n_rows = x.len() / k;
        let out = &mut scratch[..n_rows * Self::row_words(k)];
        pack_rows(isa, out, x, n_rows, k);
        out
    }

    fn as_f32<'a>(isa: Isa, rows: &'a [u32], k: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let n_rows = rows.len() / Self::row_words(k);
        let out = &mut scratch[..n_rows * k];
        unpack_rows(isa, out, rows, n_rows, k);
        out
    }
}
