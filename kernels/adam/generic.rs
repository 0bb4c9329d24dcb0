use super::Adam;
use crate::lanes::Lanes;

/// [`Adam`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct AdamLanes<V> {
    beta1: V,
    rest1: V,
    beta2: V,
    rest2: V,
    rate: V,
    unbias2: V,
    eps: V,
}

impl<V: Lanes> AdamLanes<V> {
    /// # Safety
    /// The CPU has the instruction set of `V`.
    #[inline(always)]
    pub(crate) unsafe fn new(adam: &Adam) -> Self {
        // SAFETY: passed on.
        unsafe {
            Self {
                beta1: V::splat(adam.beta1),
                rest1: V::splat(adam.rest1),
                beta2: V::splat(adam.beta2),
                rest2: V::splat(adam.rest2),
                rate: V::splat(adam.rate),
                unbias2: V::splat(adam.unbias2),
                eps: V::splat(adam.eps),
            }
        }
    }

    /// New `w`, `m`, `v`.
    ///
    /// True square root and division: the pass waits for memory anyway (33.1 ms against 33.2
    /// with approximations and a Newton step).
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`.
    #[inline(always)]
    pub(crate) unsafe fn updated(&self, w: V, m: V, v: V, g: V) -> (V, V, V) {
        // SAFETY: passed on.
        unsafe {
            let m = self.beta1.mul_add(m, self.rest1.mul(g));
            let v = self.beta2.mul_add(v, self.rest2.mul(g).mul(g));
            let step = self.rate.mul(m).div(v.sqrt().mul_add(self.unbias2, self.eps));
            (w.sub(step), m, v)
        }
    }

    /// Updates `V::WIDTH` values in place.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the pointers are valid for `V::WIDTH` values.
    #[inline(always)]
    pub(crate) unsafe fn update(&self, w: *mut f32, m: *mut f32, v: *mut f32, g: V) {
        // SAFETY: passed on.
        unsafe {
            let (new_w, new_m, new_v) = self.updated(V::load(w), V::load(m), V::load(v), g);
            new_w.store(w);
            new_m.store(m);
            new_v.store(v);
        }
    }

    /// Updates the first `lanes` values in place.
    ///
    /// # Safety
    /// The CPU has the instruction set of `V`; the pointers are valid for `lanes < V::WIDTH` values.
    #[inline(always)]
    pub(crate) unsafe fn update_head(&self, w: *mut f32, m: *mut f32, v: *mut f32, g: V, lanes: usize) {
        // SAFETY: passed on.
        unsafe {
            let (old_w, old_m, old_v) =
                (V::load_head(w, lanes), V::load_head(m, lanes), V::load_head(v, lanes));
            let (new_w, new_m, new_v) = self.updated(old_w, old_m, old_v, g);
            new_w.store_head(w, lanes);
            new_m.store_head(m, lanes);
            new_v.store_head(v, lanes);
        }
    }
}

/// # Safety
/// The CPU has the instruction set of `V`; the slices have one length.
#[inline(always)]
pub(super) unsafe fn adam<V: Lanes, const N: usize>(
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
    adam: &Adam,
) {
    let len = w.len();
    let whole = len - len % V::WIDTH;
    let (w, m, v, g) = (w.as_mut_ptr(), m.as_mut_ptr(), v.as_mut_ptr(), g.as_ptr());
    // SAFETY: `at + WIDTH <= whole <= len`, and `len - whole` values are left for the tail.
    unsafe {
        let adam = AdamLanes::<V>::new(adam);
        for at in (0..whole).step_by(V::WIDTH) {
            adam.update(w.add(at), m.add(at), v.add(at), V::load(g.add(at)));
        }
        if whole < len {
            let g = V::load_head(g.add(whole), len - whole);
            adam.update_head(w.add(whole), m.add(whole), v.add(whole), g, len - whole);
        }
    }
}
