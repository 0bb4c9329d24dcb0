//! Large arrays, aligned for the kernels.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use bytemuck::Pod;
use memmap2::MmapMut;

use crate::error::{Error, Result};
use crate::store::map_unnamed;

/// Where large arrays are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement<'a> {
    /// In memory.
    #[default]
    Memory,
    /// In unnamed files in this directory, mapped: the system keeps in memory what it has room for.
    File(&'a Path),
}

/// Zero-initialised values at a page boundary.
///
/// Rows of a width that is a multiple of 16 then never straddle cache lines, and the kernel may back
/// the array with huge pages, which measured 13% more bandwidth than 4 KiB ones.
#[derive(Debug)]
pub struct Buffer<W = f32> {
    map: Option<MmapMut>,
    len: usize,
    words: PhantomData<W>,
}

impl<W: Pod> Buffer<W> {
    fn empty() -> Self {
        Self { map: None, len: 0, words: PhantomData }
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn zeros(len: usize) -> Result<Self> {
        Self::zeros_in(len, Placement::Memory)
    }

    /// `len` zeros, kept at `place`.
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it.
    pub fn zeros_in(len: usize, place: Placement<'_>) -> Result<Self> {
        if len == 0 {
            return Ok(Self::empty());
        }
        if let Placement::File(dir) = place {
            let map = map_unnamed(dir, len * size_of::<W>());
            let map = map.map_err(|e| Error::io(dir, "keep the network's arrays in a file there", e))?;
            return Ok(Self { map: Some(map), len, words: PhantomData });
        }
        let out_of_memory = |e: std::io::Error| Error::Resources {
            problem: format!("cannot get {len} x {} bytes of memory: {e}", size_of::<W>()),
            remedy: "use a smaller network (--hidden) or a smaller --batch-size".into(),
        };
        let map = MmapMut::map_anon(len * size_of::<W>()).map_err(out_of_memory)?;
        // Advice only: small pages work as well.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map: Some(map), len, words: PhantomData })
    }

    /// A copy, kept at `place`.
    ///
    /// # Errors
    /// When the system has no memory, or the disk no space, for it.
    pub fn duplicate(&self, place: Placement<'_>) -> Result<Self> {
        let mut copy = Self::zeros_in(self.len, place)?;
        copy.copy_from_slice(self);
        Ok(copy)
    }

    /// Makes room for at least `len` values; the content is unspecified afterwards.
    ///
    /// # Errors
    /// When the system has no memory for it.
    pub fn reserve(&mut self, len: usize) -> Result<()> {
        if len > self.len {
            *self = Self::zeros(len)?;
        }
        Ok(())
    }
}

impl<W: Pod> Default for Buffer<W> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<W: Pod> Deref for Buffer<W> {
    type Target = [W];

    fn deref(&self) -> &[W] {
        self.map.as_ref().map_or(&[], |map| bytemuck::cast_slice(map))
    }
}

impl<W: Pod> DerefMut for Buffer<W> {
    fn deref_mut(&mut self) -> &mut [W] {
        self.map.as_mut().map_or(&mut [], |map| bytemuck::cast_slice_mut(map))
    }
}
