use super::Adam;

pub(super) fn adam_f32__reference(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], adam: &Adam) {
    for at in 0..w.len() {
        adam.update_f64(&mut w[at], &mut m[at], &mut v[at], f64::from(g[at]));
    }
}
