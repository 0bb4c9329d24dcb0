//! The content of a report: plain data, without any drawing.

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The page's title.
    pub title: String,
    /// What was looked at, as (label, value): files, sizes, command.
    pub facts: Vec<(String, String)>,
    /// What readers must not overlook.
    pub caution: String,
    /// The parts of the page, in order.
    pub sections: Vec<Section>,
}

/// A part of a page.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What is to be seen, a paragraph each; plain text.
    pub text: Vec<String>,
    /// Tables, before the figures.
    pub tables: Vec<Table>,
    /// Figures, side by side where the page is wide enough.
    pub figures: Vec<Figure>,
}

/// A table, sortable by every column.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The stem of its CSV file, unique in the report: lower case, digits and `-`.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// The columns' headings.
    pub columns: Vec<String>,
    /// Rows, each with one field for every column.
    pub rows: Vec<Vec<Field>>,
}

/// What stands in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Text.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number, shown with some digits and written with all; a missing one is NaN.
    Number(f64),
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The stem of its SVG and CSV files, unique in the report: lower case, digits and `-`.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// What is shown and how to read it; plain text.
    pub caption: String,
    /// What is drawn.
    pub chart: Chart,
}

/// A line with a name.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// (x, y), in order of x.
    pub points: Vec<(f64, f64)>,
}

/// A named place on an axis.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    /// Where.
    pub at: f64,
    /// What stands there.
    pub label: String,
}

/// The distribution of one group of values.
#[derive(Clone, Debug, Default)]
pub struct Violin {
    /// The group's name.
    pub name: String,
    /// Groups of the same kind have the same colour; its number.
    pub kind: usize,
    /// How many values there are.
    pub n: u64,
    /// (value, density), in order of value.
    pub density: Vec<(f64, f64)>,
    /// The quartiles.
    pub quartiles: [f64; 3],
    /// The mean.
    pub mean: f64,
}

/// A point of a scatter plot.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// Where.
    pub y: f64,
    /// Which of the categories it is of.
    pub category: usize,
    /// What the tooltip calls it.
    pub name: String,
}

/// What is drawn. Axes' names include the unit or scale.
#[derive(Clone, Debug)]
pub enum Chart {
    /// Lines over a common axis, such as learning curves.
    Lines {
        /// Name of the horizontal axis.
        x: String,
        /// Name of the vertical axis.
        y: String,
        /// The lines.
        series: Vec<Series>,
        /// A vertical line with a name, such as the best epoch.
        mark: Option<Tick>,
        /// Whether the vertical axis is logarithmic.
        log_y: bool,
    },
    /// Distributions side by side.
    Violins {
        /// Name of the vertical axis.
        y: String,
        /// The groups, from left to right.
        groups: Vec<Violin>,
        /// The names of the kinds, for the legend.
        kinds: Vec<String>,
    },
    /// Histograms over common bins, overlaid as steps.
    Histogram {
        /// Name of the horizontal axis.
        x: String,
        /// Name of the vertical axis.
        y: String,
        /// Edges of the bins, increasing, one more than bins.
        edges: Vec<f64>,
        /// For every series the name and a count a bin.
        series: Vec<(String, Vec<f64>)>,
    },
    /// How many values fall into the cells of a grid, shaded by the logarithm of their number.
    Density {
        /// Name of the horizontal axis.
        x: String,
        /// Name of the vertical axis.
        y: String,
        /// Edges of the columns, increasing.
        x_edges: Vec<f64>,
        /// Edges of the rows, increasing.
        y_edges: Vec<f64>,
        /// Values in each cell, `rows x columns`, row-major, the lowest row first.
        counts: Vec<f64>,
        /// Whether the line y = x is drawn.
        diagonal: bool,
    },
    /// Points, coloured by category.
    Scatter {
        /// Name of the horizontal axis.
        x: String,
        /// Name of the vertical axis.
        y: String,
        /// The points.
        points: Vec<Point>,
        /// The categories, for the legend; a legend is drawn where there is more than one.
        categories: Vec<String>,
        /// Whether the axes have no meaning of their own (tSNE): no ticks are drawn.
        bare: bool,
        /// Whether the line y = x is drawn.
        diagonal: bool,
    },
}
