//! Turning the bytes of a numeric dataset into numbers.

use crate::io::Dtype;

/// A number that elements of any numeric dataset can be read as.
///
/// What does not fit becomes the type's largest value, which every caller refuses as out of range.
pub trait FromElement: Copy + Default + Send + Sync {
    /// From a signed integer.
    fn from_signed(value: i64) -> Self;
    /// From an unsigned integer.
    fn from_unsigned(value: u64) -> Self;
    /// From a real number.
    fn from_real(value: f64) -> Self;
    /// From a short real number.
    #[inline]
    fn from_single(value: f32) -> Self {
        Self::from_real(value.into())
    }
}

impl FromElement for f64 {
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "readers refuse counts from 2^53 on")]
    fn from_signed(value: i64) -> Self {
        value as f64
    }
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "readers refuse counts from 2^53 on")]
    fn from_unsigned(value: u64) -> Self {
        value as f64
    }
    #[inline]
    fn from_real(value: f64) -> Self {
        value
    }
    /// Numbers below the normal ones become 0, as they do on threads that flush them.
    #[inline]
    fn from_single(value: f32) -> Self {
        if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value.into() }
    }
}

/// Only short reals are read so, bit for bit.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "nothing else is read so")]
impl FromElement for f32 {
    #[inline]
    fn from_signed(value: i64) -> Self {
        value as f32
    }
    #[inline]
    fn from_unsigned(value: u64) -> Self {
        value as f32
    }
    #[inline]
    fn from_real(value: f64) -> Self {
        value as f32
    }
    #[inline]
    fn from_single(value: f32) -> Self {
        value
    }
}

macro_rules! from_element_for_integer {
    ($($target:ty),*) => {$(
        impl FromElement for $target {
            #[inline]
            fn from_signed(value: i64) -> Self {
                Self::try_from(value).unwrap_or(Self::MAX)
            }
            #[inline]
            fn from_unsigned(value: u64) -> Self {
                Self::try_from(value).unwrap_or(Self::MAX)
            }
            #[inline]
            #[expect(clippy::cast_possible_truncation, reason = "saturates; integers are not read from reals")]
            fn from_real(value: f64) -> Self {
                value as Self
            }
        }
    )*};
}
from_element_for_integer!(u32, u64, i64);

/// Converts as many elements as `output` holds.
pub(crate) fn convert<T: FromElement>(bytes: &[u8], dtype: Dtype, big_endian: bool, output: &mut [T]) {
    macro_rules! each {
        ($source:ty, $constructor:ident, $wide:ty) => {{
            let (elements, _) = bytes.as_chunks::<{ size_of::<$source>() }>();
            let pairs = output.iter_mut().zip(elements);
            if big_endian {
                pairs.for_each(|(to, from)| {
                    *to = T::$constructor(<$wide>::from(<$source>::from_be_bytes(*from)));
                });
            } else {
                pairs.for_each(|(to, from)| {
                    *to = T::$constructor(<$wide>::from(<$source>::from_le_bytes(*from)));
                });
            }
        }};
    }
    match dtype {
        Dtype::I8 => each!(i8, from_signed, i64),
        Dtype::I16 => each!(i16, from_signed, i64),
        Dtype::I32 => each!(i32, from_signed, i64),
        Dtype::I64 => each!(i64, from_signed, i64),
        Dtype::U8 => each!(u8, from_unsigned, u64),
        Dtype::U16 => each!(u16, from_unsigned, u64),
        Dtype::U32 => each!(u32, from_unsigned, u64),
        Dtype::U64 => each!(u64, from_unsigned, u64),
        Dtype::F16 => each!(half::f16, from_single, f32),
        Dtype::F32 => each!(f32, from_single, f32),
        Dtype::F64 => each!(f64, from_real, f64),
    }
}

/// The bytes of `value` as an element of this type.
pub(super) fn encode(value: hdf5::types::dyn_value::DynScalar, big_endian: bool) -> Vec<u8> {
    use hdf5::types::dyn_value::{DynFloat, DynInteger, DynScalar};
    let mut bytes = match value {
        DynScalar::Integer(DynInteger::Int8(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::Int16(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::Int32(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::Int64(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::UInt8(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::UInt16(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::UInt32(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Integer(DynInteger::UInt64(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Float(DynFloat::Float16(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Float(DynFloat::Float32(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Float(DynFloat::Float64(x)) => x.to_le_bytes().to_vec(),
        DynScalar::Boolean(x) => vec![u8::from(x)],
    };
    if big_endian {
        bytes.reverse();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromElement>(bytes: &[u8], dtype: Dtype, big_endian: bool) -> T {
        let mut output = [T::default()];
        convert(bytes, dtype, big_endian, &mut output);
        output[0]
    }

    #[test]
    fn both_byte_orders_are_read() {
        assert_eq!(read::<f64>(&(-7_i16).to_be_bytes(), Dtype::I16, true), -7.0);
        assert_eq!(read::<u32>(&70_000_u64.to_le_bytes(), Dtype::U64, false), 70_000);
        assert_eq!(read::<f64>(&1.5_f32.to_be_bytes(), Dtype::F32, true), 1.5);
        assert_eq!(read::<f64>(&half::f16::from_f32(0.25).to_le_bytes(), Dtype::F16, false), 0.25);
    }

    #[test]
    fn what_does_not_fit_saturates() {
        assert_eq!(read::<u32>(&(-1_i32).to_le_bytes(), Dtype::I32, false), u32::MAX);
        assert_eq!(read::<u64>(&i64::MIN.to_le_bytes(), Dtype::I64, false), u64::MAX);
        assert_eq!(read::<u32>(&(1_i64 << 40).to_le_bytes(), Dtype::I64, false), u32::MAX);
    }
}
