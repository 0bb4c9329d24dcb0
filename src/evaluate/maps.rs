//! The cells of every matrix by their principal components: agreement with labels, and maps.

use ndarray::{Array2, Axis};

use super::components::{
    self, agreement, chosen_genes, components_of_rows, draw_cells, highest, variable_genes,
};
use super::gram::{Centred, Gram, Sampled, Wanted, Which, correlations, grams, sample};
use super::join::ABSENT;
use super::labels::Labels;
use super::metrics::{ClusterScores, GeneCorrelations};
use super::moments::finite;
use super::pass::Gene;
use super::pca::{self, Axes};
use super::rows::Matrices;
use super::{Options, tsne};
use crate::error::{Error, Result};
use crate::parallel;

/// Cells of a map.
const MAP_CELLS: usize = 5000;
/// Pairs of genes that are shown when none is asked for.
pub(super) const SHOWN_PAIRS: usize = 3;

/// One matrix's cells.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Such as "input".
    pub(super) name: &'static str,
    /// Sampled cells x components.
    pub(super) components: Array2<f64>,
    /// The share of variance in them.
    pub(super) variance: Option<f64>,
    pub(super) scores: Option<ClusterScores>,
    /// Of the cells of [`Cells::mapped`]; empty where no map was made.
    pub(super) map: Vec<(f64, f64)>,
}

/// Cells and genes of all matrices beyond sums.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    /// Joint cells that are looked at.
    pub(super) sampled: Vec<u32>,
    /// Places in `sampled` of the cells that maps show.
    pub(super) mapped: Vec<u32>,
    /// Labels of `sampled`.
    pub(super) labels: Vec<u32>,
    pub(super) views: Vec<View>,
    /// Whether maps were to be made.
    pub(super) with_maps: bool,
    pub(super) correlations: Option<GeneCorrelations>,
    /// Pairs of joint genes to be shown.
    pub(super) pairs: Vec<(u32, u32)>,
    /// The matrices and genes of `values`.
    pub(super) shown: (Vec<Which>, Vec<u32>),
    /// For every matrix sampled cells x genes.
    pub(super) values: Vec<Array2<f64>>,
    /// Genes that components were computed of.
    pub(super) n_variable: usize,
}

/// Tells how far a step is: its name, cells done since the last call, and all of them.
pub(super) type Progress<'a> = &'a dyn Fn(&'static str, u64, u64);

/// What is looked at, as far as it does not depend on what the matrices hold.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// Joint cells.
    pub(super) sampled: Vec<u32>,
    /// Pairs of joint genes that were asked for.
    pub(super) pairs: Vec<(u32, u32)>,
    /// The latent code of the sampled cells, if there is one.
    pub(super) latent: Option<Array2<f64>>,
}

/// Reads the matrices twice more.
pub(super) fn look(
    matrices: &Matrices<'_>,
    genes: &[Gene],
    labels: Option<&Labels>,
    Drawn { sampled, pairs, latent }: Drawn,
    options: &Options,
    progress: Progress<'_>,
) -> Result<Cells> {
    let which: Vec<Which> = [Some(Which::Input), matrices.truth.map(|_| Which::Truth), Some(Which::Imputed)]
        .into_iter()
        .flatten()
        .collect();
    let reference = if matrices.truth.is_some() { Which::Truth } else { Which::Input };
    let means: Vec<f64> = genes.iter().map(|gene| gene.imputed.means()[1]).collect();
    let correlated = highest(&means, options.correlated_genes);
    let mut sets: Vec<Centred> = which.iter().map(|&which| variable_genes(which, genes)).collect();
    sets.push(chosen_genes(reference, &correlated, genes));
    if matrices.truth.is_some() {
        sets.extend([Which::Imputed, Which::Input].map(|which| chosen_genes(which, &correlated, genes)));
    }
    let n_cells = matrices.cells.len();
    let all = n_cells as u64;
    progress("covariances", 0, all);
    let mut grams = grams(matrices, sets, &|n| progress("covariances", n, all))?;
    let of_correlations = grams.split_off(which.len());
    let (correlations, likely) = compare_correlations(&of_correlations);
    drop(of_correlations);
    let pairs = match options.gene_pairs.is_empty() {
        true => likely.into_iter().map(|(a, b)| (correlated[a], correlated[b])).collect(),
        false => pairs,
    };
    let n_variable = grams.first().map_or(0, |gram| gram.centred.width());
    let of_all = all * grams.len() as u64;
    progress("axes", 0, of_all);
    let axes = find_axes(grams, n_cells, options.components)?;
    progress("axes", of_all, of_all);
    let mut shown: Vec<u32> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
    shown.sort_unstable();
    shown.dedup();
    let wanted = Wanted { cells: &sampled, axes: &axes, genes: &shown, of: &which };
    progress("components", 0, all);
    let Sampled { components, values } = sample(matrices, &wanted, &|n| progress("components", n, all))?;
    let mut views: Vec<View> = axes
        .iter()
        .zip(components)
        .map(|((centred, axes), components)| view(name(centred.which), components, components::share(axes)))
        .collect();
    if let Some(code) = latent {
        let (components, axes) = components_of_rows(code, options.components)?;
        views.push(view("latent", components, components::share(&axes)));
    }
    let labels: Vec<u32> = match labels {
        Some(labels) => sampled.iter().map(|&cell| labels.of[cell as usize]).collect(),
        None => vec![ABSENT; sampled.len()],
    };
    let mut cells = Cells {
        mapped: draw_cells(
            &(0..super::join::to_u32(sampled.len())).collect::<Vec<_>>(),
            MAP_CELLS,
            options.seed,
        ),
        sampled,
        labels,
        views,
        with_maps: options.tsne,
        correlations,
        pairs,
        shown: (which, shown),
        values,
        n_variable,
    };
    cells.compare(options, progress)?;
    Ok(cells)
}

fn name(which: Which) -> &'static str {
    match which {
        Which::Input => "input",
        Which::Truth => "truth",
        Which::Imputed => "imputed",
    }
}

fn view(name: &'static str, components: Array2<f64>, variance: Option<f64>) -> View {
    View { name, components, variance, scores: None, map: Vec::new() }
}

impl Cells {
    /// Agreement with labels, and maps.
    fn compare(&mut self, options: &Options, progress: Progress<'_>) -> Result<()> {
        if components::distinct(&self.labels) > 0 {
            let n_cells = self.sampled.len() as u64;
            let all = n_cells * self.views.len() as u64;
            progress("clustering", 0, all);
            for view in &mut self.views {
                view.scores = Some(agreement(&view.components, &self.labels, options.seed));
                progress("clustering", n_cells, all);
            }
        }
        if options.tsne {
            let mapped: Vec<usize> = self.mapped.iter().map(|&place| place as usize).collect();
            let mut shown: Vec<&mut View> =
                self.views.iter_mut().filter(|view| view.name != "truth").collect();
            let points: Vec<Array2<f64>> =
                shown.iter().map(|view| view.components.select(Axis(0), &mapped)).collect();
            let all = (points.len() * mapped.len()) as u64;
            progress("tSNE", 0, all);
            let maps = tsne::maps(&points.iter().collect::<Vec<_>>())?;
            for (view, map) in shown.iter_mut().zip(maps) {
                view.map = map;
            }
            progress("tSNE", all, all);
        }
        Ok(())
    }

    /// What is known of one matrix.
    pub(super) fn view(&self, name: &str) -> Option<&View> {
        self.views.iter().find(|view| view.name == name)
    }
}

/// The axes of every matrix; as many at a time as there are threads.
fn find_axes(grams: Vec<Gram>, n_cells: usize, n_components: usize) -> Result<Vec<(Centred, Axes)>> {
    let found = parallel::map(grams, |gram| {
        let axes = pca::axes(&gram.products, n_cells, n_components)?;
        Ok((gram.centred, axes))
    });
    found.into_iter().collect()
}

/// Compares the correlations of the second and third set of genes, imputed and input, with those of the first, and
/// finds the pairs of the first that are correlated most.
fn compare_correlations(grams: &[Gram]) -> (Option<GeneCorrelations>, Vec<(usize, usize)>) {
    let all: Vec<Array2<f64>> = grams.iter().map(correlations).collect();
    let Some((reference, others)) = all.split_first() else { return (None, Vec::new()) };
    let n = reference.nrows();
    let error = |matrix: &Array2<f64>| {
        let (mut squares, mut pairs) = (0.0, 0_u64);
        for a in 0..n {
            for b in a + 1..n {
                let difference = matrix[[a, b]] - reference[[a, b]];
                if difference.is_finite() {
                    squares += difference * difference;
                    pairs += 1;
                }
            }
        }
        (finite((squares / pairs as f64).sqrt()), pairs)
    };
    let compared = match others {
        [imputed, input] => {
            let ((rmse_imputed, pairs_imputed), (rmse_input, pairs_input)) = (error(imputed), error(input));
            Some(GeneCorrelations { genes: n as u64, rmse_imputed, rmse_input, pairs_imputed, pairs_input })
        }
        _ => None,
    };
    (compared, most_correlated(reference))
}

/// Pairs of different genes, the most correlated first.
fn most_correlated(matrix: &Array2<f64>) -> Vec<(usize, usize)> {
    let n = matrix.nrows();
    let mut pairs: Vec<(usize, usize)> = (0..n)
        .flat_map(|a| (a + 1..n).map(move |b| (a, b)))
        .filter(|&pair| matrix[pair].is_finite())
        .collect();
    pairs.sort_by(|&a, &b| matrix[b].abs().total_cmp(&matrix[a].abs()));
    let mut chosen: Vec<(usize, usize)> = Vec::new();
    for (a, b) in pairs {
        if chosen.iter().all(|&(c, d)| ![c, d].contains(&a) && ![c, d].contains(&b)) {
            chosen.push((a, b));
        }
        if chosen.len() == SHOWN_PAIRS {
            break;
        }
    }
    chosen
}

/// The joint genes of the given names.
///
/// # Errors
/// When there is none of a name.
pub(super) fn find_pairs(pairs: &[(String, String)], names: &[String]) -> Result<Vec<(u32, u32)>> {
    let find = |name: &String| {
        names.iter().position(|other| other == name).map(super::join::to_u32).ok_or_else(|| Error::Usage {
            problem: format!("--gene-pairs: {name:?} is no gene that all files have"),
            remedy: "give names of genes, such as CD3D:CD3E; `late-fast inspect` shows what they are called"
                .into(),
        })
    };
    pairs.iter().map(|(a, b)| Ok((find(a)?, find(b)?))).collect()
}
