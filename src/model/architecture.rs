//! The shape of the network.

use late_fast_kernels::Storage;

/// Widths of all layers: `n_features -> hidden... -> latent -> ...hidden -> n_features`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Architecture {
    /// Width of input and output.
    pub n_features: usize,
    /// Widths from the first hidden layer to the latent one; the way out mirrors them.
    pub hidden: Vec<usize>,
}

impl Architecture {
    /// Widths of the hidden layers from input to output, mirrored around the latent one:
    /// `[800, 400]` gives `[800, 400, 800]`.
    pub fn hidden_widths(&self) -> impl Iterator<Item = usize> + Clone {
        self.hidden.iter().chain(self.hidden.iter().rev().skip(1)).copied()
    }

    /// The number of hidden layers.
    pub fn n_hidden(&self) -> usize {
        (2 * self.hidden.len()).saturating_sub(1)
    }

    /// The width of hidden layer `k`, which is below [`Architecture::n_hidden`].
    pub fn hidden_width(&self, k: usize) -> usize {
        self.hidden[k.min(self.n_hidden() - 1 - k)]
    }

    /// The position of the latent layer among [`Architecture::hidden_widths`].
    pub fn latent_index(&self) -> usize {
        self.hidden.len().saturating_sub(1)
    }

    /// The width of the latent layer.
    pub fn n_latent(&self) -> usize {
        self.hidden[self.latent_index()]
    }

    /// The width of the first and of the last hidden layer.
    pub fn wide(&self) -> usize {
        self.hidden[0]
    }

    /// The number of weights and biases.
    pub fn n_parameters(&self) -> u64 {
        let ends = 2 * self.n_features as u64 * self.wide() as u64 + self.n_features as u64;
        let pairs = self.hidden_widths().zip(self.hidden_widths().skip(1));
        let middle: u64 = pairs.map(|(a, b)| a as u64 * b as u64).sum();
        ends + middle + self.hidden_widths().map(|w| w as u64).sum::<u64>()
    }

    /// Bytes of all weights and biases with the wide layers stored as `S`.
    pub fn value_bytes<S: Storage>(&self) -> u64 {
        let wide = 2 * self.n_features as u64;
        let others = self.n_parameters() - wide * self.wide() as u64;
        wide * (S::row_words(self.wide()) * size_of::<S::Word>()) as u64 + others * size_of::<f32>() as u64
    }

    /// Names of the parameter arrays, layer by layer, as in model files.
    pub fn value_names(&self) -> impl Iterator<Item = String> {
        (0..=self.n_hidden()).flat_map(|k| [format!("layers.{k}.weight"), format!("layers.{k}.bias")])
    }

    /// Their shapes: `n_in x n_out` and `n_out`; the last layer's weight is `n_out x n_in`.
    pub fn value_shapes(&self) -> impl Iterator<Item = Vec<usize>> {
        let n = self.n_features;
        let last = self.n_hidden();
        (0..=last).flat_map(move |k| {
            let n_in = if k == 0 { n } else { self.hidden_width(k - 1) };
            let n_out = if k == last { n } else { self.hidden_width(k) };
            let weight = if k == last { vec![n_out, n_in] } else { vec![n_in, n_out] };
            [weight, vec![n_out]]
        })
    }

    /// "20000 -> 800 -> 400 -> 800 -> 20000"
    pub fn describe(&self) -> String {
        let mut widths = vec![self.n_features];
        widths.extend(self.hidden_widths());
        widths.push(self.n_features);
        widths.iter().map(usize::to_string).collect::<Vec<_>>().join(" -> ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_five_and_seven_layers() {
        let widths = |hidden: &[usize]| {
            Architecture { n_features: 9, hidden: hidden.to_vec() }.hidden_widths().collect::<Vec<_>>()
        };
        assert_eq!(widths(&[4]), [4]);
        assert_eq!(widths(&[800, 400]), [800, 400, 800]);
        assert_eq!(widths(&[5, 4, 3]), [5, 4, 3, 4, 5]);
        let arch = Architecture { n_features: 10, hidden: vec![4, 2] };
        assert_eq!(arch.n_parameters(), (10 * 4 + 4) + (4 * 2 + 2) + (2 * 4 + 4) + (4 * 10 + 10));
    }
}
