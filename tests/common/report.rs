//! A report with every chart, as an evaluation would make it, and one of everything that could break it.

use late_fast::report::{Chart, Field, Figure, Point, Report, Section, Series, Table, Tick, Violin};

/// Numbers that look random and are always the same.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `n`.
    pub fn below(&mut self, n: u64) -> usize {
        usize::try_from((self.uniform() * 1e9).to_bits() % n).unwrap()
    }

    /// About normal, with mean 0 and deviation 1.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Awkward names, as some file may have them.
pub const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"quoted\" & 'so'",
    "tab\tnull\0bell\u{7}",
    "単一細胞 ✓ é",
    "a name of sixty letters that does not end anywhere at all, no",
];

fn figure(id: &str, title: &str, caption: &str, chart: Chart) -> Figure {
    Figure { id: id.into(), title: title.into(), caption: caption.into(), chart }
}

fn curve(name: &str, from: f64, to: f64, speed: f64, dice: &mut Dice) -> Series {
    let loss = |epoch: f64, noise: f64| {
        to + (from - to) * (-epoch / speed).exp() * (1.0 + 0.03 * noise) + 0.0004 * noise
    };
    let points = (0..120).map(|epoch| (f64::from(epoch), loss(f64::from(epoch), dice.normal()))).collect();
    Series { name: name.into(), points }
}

fn violin(name: &str, kind: usize, n: u64, mean: f64, deviation: f64) -> Violin {
    let density = |value: f64| {
        let z = (value - mean) / deviation;
        (value, (-z * z / 2.0).exp() + 0.3 * (-(z - 1.6) * (z - 1.6) * 2.0).exp())
    };
    let values = (-40..=40).map(|i| mean + deviation * f64::from(i) / 12.0);
    Violin {
        name: name.into(),
        kind,
        n,
        density: values.map(density).collect(),
        quartiles: [mean - 0.65 * deviation, mean + 0.02, mean + 0.75 * deviation],
        mean: mean + 0.06 * deviation,
    }
}

fn histogram(n: usize, mean: f64, deviation: f64, edges: &[f64], dice: &mut Dice) -> Vec<f64> {
    let mut counts = vec![0.0; edges.len() - 1];
    for _ in 0..n {
        let value = mean + deviation * dice.normal();
        if let Some(bin) = edges.windows(2).position(|bin| bin[0] <= value && value < bin[1]) {
            counts[bin] += 1.0;
        }
    }
    counts
}

fn density(dice: &mut Dice) -> Chart {
    let edges: Vec<f64> = (0..=60).map(|i| f64::from(i) * 0.05).collect();
    let mut counts = vec![0.0; 3600];
    for _ in 0..60_000 {
        let truth = (dice.uniform() * dice.uniform() * 3.2).max(0.3 * dice.uniform());
        let imputed = (truth * 0.86 + 0.15 + 0.16 * dice.normal()).max(0.0);
        let [row, column] = [imputed, truth].map(|value| (0..60).rfind(|&i| edges[i] <= value).unwrap());
        counts[row * 60 + column] += 1.0;
    }
    Chart::Density {
        x: "truth, log10(count + 1)".into(),
        y: "imputed, log10(count + 1)".into(),
        x_edges: edges.clone(),
        y_edges: edges,
        counts,
        diagonal: true,
    }
}

const TYPES: [&str; 8] = [
    "CD14+ monocytes",
    "CD4 T cells",
    "B cells",
    "CD8 T cells",
    "NK cells",
    "Dendritic cells",
    "Megakaryocytes",
    "unlabelled",
];

fn clusters(n: usize, spread: f64, names: &[String], dice: &mut Dice) -> Vec<Point> {
    let centres: Vec<(f64, f64)> = (0..names.len())
        .map(|i| {
            let angle = i as f64 * 2.4;
            let far = 12.0 + 30.0 * ((i as f64 + 0.5) / names.len() as f64).sqrt();
            (far * angle.cos(), far * angle.sin())
        })
        .collect();
    let point = |i: usize| {
        let category = dice.below(names.len() as u64).min(dice.below(names.len() as u64));
        let (x, y) = centres[category];
        Point {
            x: x + spread * dice.normal(),
            y: y + spread * dice.normal(),
            category,
            name: format!("AAACATTGCA{i:04}-1"),
        }
    };
    (0..n).map(point).collect()
}

fn embedding(method: &str, what: &str, n: usize, spread: f64, dice: &mut Dice) -> Figure {
    let categories = TYPES.map(String::from).to_vec();
    figure(
        &format!("{}-{}", method.to_lowercase(), what.to_lowercase()),
        &format!("{method} of the {}", what.to_lowercase()),
        &format!(
            "{method} of {n} cells drawn at random; each point is a cell. Distances between groups mean little."
        ),
        Chart::Scatter {
            x: format!("{method} 1"),
            y: format!("{method} 2"),
            points: clusters(n, spread, &categories, dice),
            categories,
            bare: method == "tSNE",
            diagonal: false,
        },
    )
}

/// A report like that of an evaluation, with up to `n` points in a scatter plot.
pub fn demo(n: usize) -> Report {
    let mut dice = Dice::new(7);
    Report {
        title: "Imputation of kang_G949_C10000.h5, evaluated against its truth".into(),
        facts: [
            ("Input", "kang_G949_C10000.h5"),
            ("Truth", "kang_G949_C10000_truth.h5"),
            ("Imputed", "kang.late/combined.h5ad, layers/late"),
            ("Cells and genes", "10,000 × 949"),
            ("Non-zero entries", "10.0% of the input, 32.4% of the truth"),
            ("Scale", "log10(count + 1)"),
            ("Model", "genes as features, 949-800-400-800-949, seed 2"),
            ("Command", "late-fast evaluate --input kang_G949_C10000.h5 --truth kang_G949_C10000_truth.h5 --imputed kang.late/combined.h5ad --out kang.evaluation"),
        ]
        .map(|(label, value)| (label.into(), value.into()))
        .to_vec(),
        caution: "Imputed values are estimates: do not use them unexamined for differential expression or clustering.".into(),
        sections: vec![
            summary(),
            errors(&mut dice),
            correlations(&mut dice),
            structure(n, &mut dice),
            genes(&mut dice),
        ],
    }
}

fn summary() -> Section {
    let rows = [
        ("imputed", 2_130_412, 0.0206, 0.8723),
        ("observed", 949_000, 0.0178, 0.9012),
        ("all non-zero", 3_079_412, 0.0197, 0.8815),
        ("zero in the truth", 6_410_588, f64::NAN, f64::NAN),
    ];
    Section {
        title: "Summary".into(),
        text: vec!["Errors are differences between imputed values and the truth. Imputed entries are those that are zero in the input and not in the truth; the network never saw them.".into()],
        tables: vec![Table {
            id: "errors".into(),
            title: "Errors by group of entries".into(),
            columns: ["Entries", "Number", "MSE", "RMSE", "Pearson"].map(String::from).to_vec(),
            rows: rows
                .map(|(name, n, mse, r): (&str, u64, f64, f64)| {
                    vec![
                        Field::Text(name.into()),
                        Field::Count(n),
                        Field::Number(mse),
                        Field::Number(mse.sqrt()),
                        Field::Number(r),
                    ]
                })
                .to_vec(),
        }],
        figures: vec![],
    }
}

fn errors(dice: &mut Dice) -> Section {
    let curves = Chart::Lines {
        x: "epoch".into(),
        y: "mean squared error of observed entries".into(),
        series: vec![
            curve("training", 0.26, 0.0215, 9.0, dice),
            curve("validation", 0.24, 0.0236, 9.5, dice),
        ],
        mark: Some(Tick { at: 97.0, label: "best epoch: 97".into() }),
        log_y: true,
    };
    let groups = vec![
        violin("training, observed", 0, 664_300, 0.01, 0.12),
        violin("training, imputed", 1, 1_491_288, -0.04, 0.15),
        violin("validation, observed", 0, 284_700, 0.0, 0.13),
        violin("validation, imputed", 1, 639_124, -0.05, 0.16),
    ];
    let by_type = TYPES
        .iter()
        .enumerate()
        .map(|(i, name)| violin(name, i, 120 * (i as u64 + 1) * 7, -0.02 * i as f64, 0.1 + 0.015 * i as f64));
    Section {
        title: "Training and errors".into(),
        text: vec!["Both curves are computed without dropout.".into()],
        tables: vec![],
        figures: vec![
            figure(
                "learning-curves",
                "Learning curves",
                "Loss of the training and the held-out entries after each epoch.",
                curves,
            ),
            figure(
                "violins",
                "Errors of observed and imputed entries",
                "Distribution of imputed value minus truth. A violin around zero is unbiased.",
                Chart::Violins {
                    y: "imputed − truth, log10(count + 1)".into(),
                    groups,
                    kinds: vec!["observed".into(), "imputed".into()],
                },
            ),
            figure(
                "density",
                "Truth and imputed values",
                "Imputed entries by their truth; the dashed line is equality.",
                density(dice),
            ),
            figure(
                "violins-by-type",
                "Errors by cell type",
                "Distribution of imputed value minus truth for the cells of each type.",
                Chart::Violins {
                    y: "imputed − truth, log10(count + 1)".into(),
                    groups: by_type.collect(),
                    kinds: vec![],
                },
            ),
        ],
    }
}

fn correlations(dice: &mut Dice) -> Section {
    let edges: Vec<f64> = (0..=50).map(|i| f64::from(i) * 0.04 - 1.0).collect();
    let chart = |axis: &str, series: Vec<(String, Vec<f64>)>| Chart::Histogram {
        x: "Pearson correlation with the truth".into(),
        y: axis.into(),
        edges: edges.clone(),
        series,
    };
    let per_gene = vec![
        ("input".into(), histogram(949, 0.31, 0.14, &edges, dice)),
        ("imputed".into(), histogram(949, 0.62, 0.17, &edges, dice)),
    ];
    let per_cell = vec![
        ("input".into(), histogram(10_000, 0.52, 0.07, &edges, dice)),
        ("imputed".into(), histogram(10_000, 0.88, 0.035, &edges, dice)),
    ];
    let rates = (0..949).map(|i| {
        let mean = 10f64.powf(-2.0 + 2.6 * dice.uniform());
        let zeros = ((-mean * 1.5).exp() + 0.03 * dice.normal()).clamp(0.0, 1.0);
        Point { x: mean.log10(), y: zeros, category: 0, name: format!("GENE{i}") }
    });
    Section {
        title: "Genes and cells".into(),
        text: vec![],
        tables: vec![],
        figures: vec![
            figure(
                "gene-correlation",
                "Correlation by gene",
                "Genes by their correlation with the truth over all cells; constant genes are not counted.",
                chart("genes", per_gene),
            ),
            figure(
                "cell-correlation",
                "Correlation by cell",
                "Cells by their correlation with the truth over all genes.",
                chart("cells", per_cell),
            ),
            figure(
                "dropout",
                "Zeros by mean expression",
                "Each point is a gene.",
                Chart::Scatter {
                    x: "mean of the truth, log10".into(),
                    y: "share of zeros".into(),
                    points: rates.collect(),
                    categories: vec!["genes".into()],
                    bare: false,
                    diagonal: false,
                },
            ),
        ],
    }
}

fn structure(n: usize, dice: &mut Dice) -> Section {
    let mut figures = Vec::new();
    for method in ["PCA", "tSNE"] {
        for (what, spread) in [("Input", 9.0), ("Imputed", 3.2), ("Code", 4.5)] {
            figures.push(embedding(method, what, n, spread, dice));
        }
    }
    Section {
        title: "Structure".into(),
        text: vec!["Cell types are those of the labels file.".into()],
        tables: vec![],
        figures,
    }
}

fn genes(dice: &mut Dice) -> Section {
    let pairs = [("CD3D", "CD3E"), ("LYZ", "S100A9"), ("MS4A1", "CD79A")].map(|(a, b)| {
        let types = TYPES[..3].iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let points = (0..800).map(|i| {
            let base = dice.uniform() * 2.0;
            let (x, y) = (base + 0.2 * dice.normal(), base * 0.8 + 0.25 * dice.normal());
            Point {
                x: x.max(0.0),
                y: y.max(0.0),
                category: usize::from(base > 0.7) + usize::from(base > 1.4),
                name: format!("cell {i}"),
            }
        });
        let name = format!("{}-{}", a.to_lowercase(), b.to_lowercase());
        let chart = Chart::Scatter {
            x: format!("{a}, log10(count + 1)"),
            y: format!("{b}, log10(count + 1)"),
            points: points.collect(),
            categories: types,
            bare: false,
            diagonal: true,
        };
        figure(&name, &format!("{a} and {b}"), "Imputed values; each point is a cell.", chart)
    });
    let rows = (0..10_000).map(|i| {
        let r = if i % 97 == 0 { f64::NAN } else { 0.6 + 0.2 * dice.normal() };
        vec![
            Field::Text(format!("GENE{i}")),
            Field::Number(10f64.powf(dice.normal())),
            Field::Number(r),
            Field::Count(dice.below(10_000) as u64),
        ]
    });
    Section {
        title: "Single genes".into(),
        text: vec![],
        tables: vec![Table {
            id: "genes".into(),
            title: "Every gene".into(),
            columns: ["Gene", "Mean of the truth", "Correlation", "Cells with it"].map(String::from).to_vec(),
            rows: rows.collect(),
        }],
        figures: pairs.to_vec(),
    }
}

/// Charts of data that nobody wants, and names that would break a page that trusts them.
pub fn awkward() -> Report {
    let hostile: Vec<String> = HOSTILE.map(String::from).to_vec();
    let long = HOSTILE[5];
    let forty: Vec<String> = (0..40)
        .map(|i| format!("category {i}{}", if i % 9 == 4 { " with a long name" } else { "" }))
        .collect();
    let mut dice = Dice::new(3);
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let series = |name: &str, points: &[(f64, f64)]| Series { name: name.into(), points: points.to_vec() };
    let lines = |series: Vec<Series>, mark: Option<Tick>, log_y: bool| Chart::Lines {
        x: long.into(),
        y: long.into(),
        series,
        mark,
        log_y,
    };
    let scatter = |points: Vec<Point>, categories: &[String], bare: bool| Chart::Scatter {
        x: HOSTILE[0].into(),
        y: HOSTILE[2].into(),
        points,
        categories: categories.to_vec(),
        bare,
        diagonal: !bare,
    };
    let point =
        |x: f64, y: f64, category: usize| Point { x, y, category, name: HOSTILE[category % 6].into() };
    let violins = |groups: Vec<Violin>, kinds: &[String]| Chart::Violins {
        y: long.into(),
        groups,
        kinds: kinds.to_vec(),
    };
    let grid = |x_edges: &[f64], y_edges: &[f64], counts: &[f64]| Chart::Density {
        x: "x".into(),
        y: long.into(),
        x_edges: x_edges.to_vec(),
        y_edges: y_edges.to_vec(),
        counts: counts.to_vec(),
        diagonal: true,
    };
    let histogram = |edges: &[f64], series: &[(&str, &[f64])]| Chart::Histogram {
        x: "x".into(),
        y: "count".into(),
        edges: edges.to_vec(),
        series: series.iter().map(|(name, counts)| ((*name).into(), counts.to_vec())).collect(),
    };
    let empty = Violin { name: "nothing".into(), quartiles: [nan; 3], mean: nan, ..Violin::default() };
    let single = Violin {
        name: "one".into(),
        n: 1,
        density: vec![(5.0, 1.0)],
        quartiles: [5.0; 3],
        mean: 5.0,
        kind: 1,
    };
    let forty_curves = (0..40)
        .map(|i| curve(&forty[i], 0.2 + 0.01 * i as f64, 0.02 + 0.003 * i as f64, 9.0 + i as f64, &mut dice))
        .collect();
    let forty_violins =
        (0..40).map(|i| violin(&forty[i], i, i as u64, (i as f64 / 6.0).sin(), 0.3)).collect();
    let charts = vec![
        ("lines-none", lines(vec![], None, false)),
        ("lines-empty", lines(vec![series("empty", &[])], None, true)),
        (
            "lines-one",
            lines(vec![series(HOSTILE[0], &[(1.0, 2.0)])], Some(Tick { at: 1.0, label: long.into() }), true),
        ),
        (
            "lines-gaps",
            lines(
                vec![
                    series(long, &[(0.0, 1.0), (1.0, nan), (2.0, 3.0), (3.0, inf), (4.0, -1.0), (5.0, 2e-7)]),
                    series(HOSTILE[4], &[(0.0, 0.0), (nan, 1.0), (3.0, 1e9)]),
                ],
                Some(Tick { at: -3.0, label: HOSTILE[1].into() }),
                true,
            ),
        ),
        (
            "lines-equal",
            lines(vec![series("a", &[(2.0, 7.0), (2.0, 7.0)]), series("b", &[(2.0, 7.0)])], None, false),
        ),
        (
            "lines-extreme",
            lines(
                vec![series("a", &[(-1e300, 1e300), (1e300, -1e300), (inf, 1.0)])],
                Some(Tick { at: nan, label: "no".into() }),
                false,
            ),
        ),
        ("lines-forty", lines(forty_curves, None, true)),
        ("violins-none", violins(vec![], &[])),
        ("violins-odd", violins(vec![empty.clone(), single, violin(HOSTILE[0], 2, 12, -3.0, 1.0)], &hostile)),
        ("violins-empty", violins(vec![empty], &[])),
        (
            "violins-long",
            violins(
                vec![violin(long, 0, 1_306_127, 0.0, 1e-4), violin(HOSTILE[4], 1, 5, 0.0, 2e-4)],
                &hostile,
            ),
        ),
        ("violins-forty", violins(forty_violins, &forty)),
        ("histogram-none", histogram(&[], &[])),
        ("histogram-zero", histogram(&[0.0, 1.0, 2.0], &[("zero", &[0.0, 0.0]), (HOSTILE[1], &[0.0, 0.0])])),
        (
            "histogram-odd",
            histogram(&[-5.0, -1.0, 0.0, 100.0], &[(long, &[1.0, nan, 3e6]), ("short", &[-1.0])]),
        ),
        ("histogram-edges", histogram(&[0.0, nan, 2.0], &[("a", &[1.0, 2.0])])),
        ("density-none", grid(&[], &[], &[])),
        ("density-zero", grid(&[0.0, 1.0, 2.0], &[0.0, 1.0], &[0.0, 0.0])),
        ("density-one", grid(&[0.0, 1.0, 2.0], &[-1.0, 1.0], &[0.0, 1.0])),
        ("density-odd", grid(&[0.0, 1.0, 5.0], &[-2e-7, 0.0, 1e-7], &[1e9, nan, 3.0, -1.0])),
        ("density-wrong", grid(&[0.0, 1.0], &[0.0, 1.0], &[1.0, 2.0])),
        ("scatter-none", scatter(vec![], &[], false)),
        ("scatter-one", scatter(vec![point(3.0, 3.0, 1)], &hostile, true)),
        (
            "scatter-odd",
            scatter(
                (0..6)
                    .map(|i| point(f64::from(i) - 2.5, -1e6 * f64::from(i), i as usize))
                    .chain([point(nan, 1.0, 0), point(1.0, inf, 99)])
                    .collect(),
                &hostile,
                false,
            ),
        ),
        ("scatter-unnamed", scatter(vec![point(0.0, 0.0, usize::MAX), point(1.0, 1.0, 2)], &[], false)),
        ("scatter-forty", scatter(clusters(1200, 2.0, &forty, &mut dice), &forty, true)),
    ];
    let figures =
        charts.into_iter().map(|(id, chart)| figure(id, &format!("{id} {}", HOSTILE[0]), HOSTILE[1], chart));
    let fields = HOSTILE.iter().enumerate().map(|(i, name)| {
        vec![
            Field::Text((*name).into()),
            Field::Number([nan, inf, -inf, -0.0, 1e-300, 0.1 + 0.2][i]),
            Field::Count(u64::MAX),
        ]
    });
    Report {
        title: HOSTILE[0].into(),
        facts: HOSTILE.iter().map(|name| ((*name).into(), (*name).into())).collect(),
        caution: HOSTILE[1].into(),
        sections: vec![
            Section {
                title: HOSTILE[0].into(),
                text: hostile.clone(),
                tables: vec![],
                figures: figures.collect(),
            },
            Section {
                title: long.into(),
                text: vec![],
                tables: vec![
                    Table {
                        id: "hostile".into(),
                        title: HOSTILE[1].into(),
                        columns: vec![HOSTILE[0].into(), long.into(), "n".into()],
                        rows: fields.collect(),
                    },
                    Table {
                        id: "empty".into(),
                        title: String::new(),
                        columns: vec!["a".into(), "b".into()],
                        rows: vec![],
                    },
                ],
                figures: vec![],
            },
        ],
    }
}
