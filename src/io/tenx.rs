//! 10x Genomics HDF5 feature-barcode matrices, v2 and v3, and what other tools write like them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::features::{count_values, keep_gene_expression, list_counts, position_map, strings_of};
use super::stream::{Compressed, DROPPED, Names, plan_blocks, stream};
use super::{Head, InPlace, ReadOptions, Source, Tally, Values};
use crate::error::{Error, Result};
use crate::h5ad::read_column;
use crate::hdf::{HdfFile, NumericArray};
use crate::matrix::{Axis, Block, Column, Major, RowBlock};

const NEGATIVE_REMEDY: &str = "10x matrices hold counts; take the file of the counting tool";

/// Bytes of `&#x10FFFF;`. Looking further for the end takes quadratic time in hostile names.
const LONGEST_REFERENCE: usize = 10;

type Lines = Vec<(String, String)>;

/// A 10x matrix: one group of the file, or several merged ones.
pub(super) struct TenX {
    head: Head,
    parts: Vec<Part>,
    details: Vec<(String, String)>,
}

/// One group of the file.
struct Part {
    matrix: Compressed,
    /// Names of the group's rows; empty when they are the cells of the result.
    barcodes: Vec<String>,
    /// All features of the group, before filtering.
    features: Vec<String>,
    /// New position of each feature; `None` when nothing changes.
    map: Option<Vec<u32>>,
    /// Row of the group for each cell of the result; `None` when they are the same.
    rows: Option<Vec<Option<usize>>>,
}

impl Part {
    fn names<'a>(&'a self, cells: &'a Axis) -> Names<'a> {
        let rows = if self.rows.is_none() { &cells.names } else { &self.barcodes };
        Names {
            major: Major::Cells,
            rows,
            columns: &self.features,
            remedy: NEGATIVE_REMEDY,
            values: Values::Expression,
        }
    }

    fn row_of(&self, cell: usize) -> Option<usize> {
        self.rows.as_ref().map_or(Some(cell), |rows| rows[cell])
    }
}

impl TenX {
    /// Opens the layout of Cell Ranger 3 and later.
    pub(super) fn open_v3(file: &HdfFile, options: &ReadOptions) -> Result<Self> {
        let mut notes = Vec::new();
        let barcodes = strings(file, "matrix/barcodes", &mut notes)?;
        let names = strings(file, "matrix/features/name", &mut notes)?;
        let mut all_genes = Axis::from_names(names);
        read_feature_columns(file, &mut all_genes, &mut notes)?;
        let mut part = open_part(file, "matrix", barcodes, all_genes.names.clone())?;
        let (keep, details) = choose_features(file, &all_genes, options, &mut notes)?;
        let mut cells = Axis::from_names(std::mem::take(&mut part.barcodes));
        read_cell_columns(file, &mut cells, &mut notes)?;
        let genes = if keep.len() == all_genes.len() { all_genes } else { all_genes.select(&keep) };
        let map = (keep.len() < part.features.len()).then(|| position_map(&keep, part.features.len()));
        let layout = "10x HDF5 v3".to_owned();
        Ok(Self::new(file, layout, cells, genes, vec![Part { map, ..part }], notes, details))
    }

    /// Opens the layout of Cell Ranger 1 and 2, where `groups` are the genomes.
    pub(super) fn open_v2(file: &HdfFile, groups: &[String], options: &ReadOptions) -> Result<Self> {
        let chosen = choose_groups(file, groups, options)?;
        let mut notes = Vec::new();
        let mut parts = Vec::new();
        let mut genes = Axis::default();
        let (mut ids, mut genomes) = (Vec::new(), Vec::new());
        for group in &chosen {
            let barcodes = strings(file, &format!("{group}/barcodes"), &mut notes)?;
            let symbols = strings(file, &format!("{group}/gene_names"), &mut notes)?;
            let mut group_ids = strings(file, &format!("{group}/genes"), &mut notes)?;
            if group_ids.len() != symbols.len() {
                let found = symbols.len().to_string();
                let object = format!("{group}/gene_names");
                return Err(Error::input(file.path(), object, group_ids.len().to_string(), found, REWRITE));
            }
            let first = genes.len();
            genes.names.extend_from_slice(&symbols);
            genomes.resize(genes.len(), group.clone());
            ids.append(&mut group_ids);
            let mut part = open_part(file, group, barcodes, symbols)?;
            if chosen.len() > 1 {
                let positions = first..genes.len();
                let positions = positions.map(|gene| u32::try_from(gene).unwrap_or(DROPPED));
                part.map = Some(positions.collect());
            }
            parts.push(part);
        }
        genes.columns.push(("gene_ids".to_owned(), Column::Strings(ids)));
        if chosen.len() > 1 {
            genes.columns.push(("genome".to_owned(), Column::Strings(genomes)));
        }
        let cells = Axis::from_names(merge_barcodes(file, &chosen, &mut parts)?);
        let layout = format!("10x HDF5 v2 ({})", chosen.join(" + "));
        let details = vec![("genomes".to_owned(), groups.join(", "))];
        let genome = if let [genome] = &chosen[..] { Some(genome.clone()) } else { None };
        let mut source = Self::new(file, layout, cells, genes, parts, notes, details);
        source.head.genome = genome;
        Ok(source)
    }

    fn new(
        file: &HdfFile,
        layout: String,
        cells: Axis,
        genes: Axis,
        parts: Vec<Part>,
        mut notes: Vec<String>,
        details: Vec<(String, String)>,
    ) -> Self {
        let empty = (0..cells.len())
            .filter(|&cell| {
                parts.iter().all(|part| part.row_of(cell).is_none_or(|row| part.matrix.row_len(row) == 0))
            })
            .count();
        if empty * 2 > cells.len() {
            notes.push(format!(
                "{empty} of {} cells are empty: this looks like a raw matrix; use the filtered one",
                cells.len()
            ));
        }
        Self { head: Head::new(file.path(), layout, Major::Cells, [cells, genes], notes), parts, details }
    }

    /// Cells of several groups: each group's rows side by side.
    fn read_merged(&self, cells: Range<usize>) -> Result<(Block, Tally)> {
        let mut tally = Tally::default();
        let mut blocks = Vec::new();
        for part in &self.parts {
            let rows: Vec<Option<usize>> = cells.clone().map(|cell| part.row_of(cell)).collect();
            let present: Vec<usize> = rows.iter().copied().flatten().collect();
            let mut pieces: HashMap<usize, (usize, usize)> = HashMap::new();
            let mut read = Vec::new();
            for run in runs(&present) {
                let (block, counted) =
                    part.matrix.read_rows(run.clone(), part.map.as_deref(), &part.names(&self.head.cells))?;
                tally.add(&counted);
                for row in run.clone() {
                    pieces.insert(row, (read.len(), row - run.start));
                }
                read.push(block.into_reals());
            }
            blocks.push((rows, pieces, read));
        }
        let mut merged = RowBlock { indptr: vec![0], ..RowBlock::default() };
        for cell in 0..cells.len() {
            for (rows, pieces, read) in &blocks {
                if let Some((block, row)) = rows[cell].and_then(|row| pieces.get(&row)) {
                    let (indices, values) = read[*block].row(*row);
                    merged.indices.extend_from_slice(indices);
                    merged.values.extend_from_slice(values);
                }
            }
            merged.indptr.push(merged.indices.len());
        }
        Ok((Block::Reals(merged), tally))
    }
}

impl Source for TenX {
    fn head(&self) -> &Head {
        &self.head
    }

    fn declared_nnz(&self) -> u64 {
        self.parts.iter().map(|part| part.matrix.nnz()).sum()
    }

    fn sample(&self) -> Option<Vec<f64>> {
        let drops = |part: &Part| part.map.as_ref().is_some_and(|map| map.contains(&DROPPED));
        let complete = !self.parts.iter().any(drops);
        complete.then(|| self.parts.iter().flat_map(|part| part.matrix.sample()).collect())
    }

    fn for_each_block(&self, consume: &mut dyn FnMut(Block, &Tally) -> Result<()>) -> Result<Tally> {
        let row_len = |cell: usize| {
            let of_part = |part: &Part| part.row_of(cell).map_or(0, |row| part.matrix.row_len(row));
            self.parts.iter().map(of_part).sum()
        };
        let blocks = plan_blocks(self.head.cells.len(), row_len);
        match &self.parts[..] {
            [part] if part.rows.is_none() => {
                let read =
                    |rows| part.matrix.read_rows(rows, part.map.as_deref(), &part.names(&self.head.cells));
                stream(&blocks, read, consume)
            }
            _ => stream(&blocks, |cells| self.read_merged(cells), consume),
        }
    }

    fn in_place(&self) -> Option<InPlace> {
        match &self.parts[..] {
            [part] if part.map.is_none() && part.rows.is_none() => part.matrix.in_place(),
            _ => None,
        }
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut lines = self.details.clone();
        lines.extend(self.parts.iter().flat_map(|part| part.matrix.describe()));
        lines
    }
}

/// Reads strings and replaces the XML references that 10x puts for characters outside ASCII.
fn strings(file: &HdfFile, name: &str, notes: &mut Vec<String>) -> Result<Vec<String>> {
    Ok(file.strings(name, notes)?.into_iter().map(decode_owned).collect())
}

fn decode_owned(text: String) -> String {
    match decode_references(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(decoded) => decoded,
    }
}

/// Replaces `&#946;` and `&#x3b2;`.
pub(super) fn decode_references(text: &str) -> Cow<'_, str> {
    if !text.contains("&#") {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("&#") {
        decoded.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let end = rest.bytes().take(LONGEST_REFERENCE).position(|byte| byte == b';');
        let reference = end.and_then(|end| {
            let digits = &rest[2..end];
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            code.ok().and_then(char::from_u32).map(|character| (character, end + 1))
        });
        let (character, length) = reference.unwrap_or(('&', 1));
        decoded.push(character);
        rest = &rest[length..];
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

fn open_part(file: &HdfFile, group: &str, barcodes: Vec<String>, features: Vec<String>) -> Result<Part> {
    let shape_name = format!("{group}/shape");
    let shape = NumericArray::open(file, &shape_name)?;
    let shape_values = if shape.dims() == [2] { shape.read_all::<u64>()? } else { Vec::new() };
    if shape_values != [features.len() as u64, barcodes.len() as u64] {
        let expected =
            format!("[{}, {}], the numbers of features and barcodes", features.len(), barcodes.len());
        return Err(shape.problem(expected, format!("{shape_values:?}"), REWRITE));
    }
    let names = Names {
        major: Major::Cells,
        rows: &barcodes,
        columns: &features,
        remedy: NEGATIVE_REMEDY,
        values: Values::Expression,
    };
    let matrix = Compressed::open(file, group, barcodes.len(), features.len(), &names)?;
    Ok(Part { matrix, barcodes, features, map: None, rows: None })
}

/// Reads `id`, `feature_type`, `genome` and whatever else stands once per feature.
fn read_feature_columns(file: &HdfFile, genes: &mut Axis, notes: &mut Vec<String>) -> Result<()> {
    let members = file.members("matrix/features")?;
    // In probe matrices `id` is the probe and `gene_id` the gene.
    let mut first = if members.iter().any(|member| member == "gene_id") {
        vec![("gene_id", "gene_ids"), ("id", "probe_ids")]
    } else {
        vec![("id", "gene_ids")]
    };
    first.push(("feature_type", "feature_types"));
    let is_first = |member: &str| first.iter().any(|(known, _)| *known == member);
    let rest = members
        .iter()
        .map(String::as_str)
        .filter(|&member| !member.starts_with('_') && member != "name" && !is_first(member))
        .map(|member| (member, member));
    for (member, column_name) in first.iter().copied().chain(rest) {
        let path = format!("matrix/features/{member}");
        if !file.has_dataset(&path)? || file.dataset(&path)?.shape() != [genes.len()] {
            if is_first(member) && file.has_dataset(&path)? {
                let found = format!("shape {:?}", file.dataset(&path)?.shape());
                return Err(Error::input(file.path(), path, genes.len().to_string(), found, REWRITE));
            }
            continue;
        }
        match read_column(file, &path, genes.len(), notes)? {
            Ok(Column::Strings(values)) => {
                let values = values.into_iter().map(decode_owned).collect();
                genes.columns.push((column_name.to_owned(), Column::Strings(values)));
            }
            Ok(column) => genes.columns.push((column_name.to_owned(), column)),
            Err(reason) => notes.push(format!("{path}: skipped, {reason}")),
        }
    }
    if genes.column("gene_ids").is_none() {
        return Err(Error::input(file.path(), "matrix/features/id", "the feature ids", "nothing", REWRITE));
    }
    Ok(())
}

/// Probe matrices tell which barcodes lie under tissue.
fn read_cell_columns(file: &HdfFile, cells: &mut Axis, notes: &mut Vec<String>) -> Result<()> {
    let path = "matrix/filtered_barcodes";
    if file.has_dataset(path)?
        && let Ok(column) = read_column(file, path, cells.len(), notes)?
    {
        cells.columns.push(("filtered_barcodes".to_owned(), column));
    }
    Ok(())
}

/// The features to keep, with notes on what is left out, and the lines for `inspect`.
fn choose_features(
    file: &HdfFile,
    genes: &Axis,
    options: &ReadOptions,
    notes: &mut Vec<String>,
) -> Result<(Vec<usize>, Lines)> {
    let mut keep: Vec<usize> = (0..genes.len()).collect();
    let mut details = Vec::new();
    let genomes = strings_of(genes, "genome");
    if let Some(values) = &genomes {
        details.push(("genomes".to_owned(), list_counts(&count_values(values, &keep))));
    }
    if let Some(wanted) = options.genome.as_deref().filter(|&genome| genome != "all") {
        let values = genomes.unwrap_or_default();
        let all = count_values(&values, &keep);
        keep.retain(|&gene| values.get(gene) == Some(&wanted));
        if keep.is_empty() {
            return Err(no_such_genome(file, wanted, &list_counts(&all)));
        }
    }
    details.extend(keep_gene_expression(
        file.path(),
        "matrix/features/feature_type",
        genes,
        &mut keep,
        notes,
    )?);
    Ok((keep, details))
}

fn choose_groups(file: &HdfFile, groups: &[String], options: &ReadOptions) -> Result<Vec<String>> {
    match options.genome.as_deref() {
        Some(genome) if groups.iter().any(|group| group == genome) => Ok(vec![genome.to_owned()]),
        Some("all") => Ok(groups.to_vec()),
        Some(genome) => Err(no_such_genome(file, genome, &groups.join(", "))),
        None if groups.len() == 1 => Ok(groups.to_vec()),
        None => Err(Error::Usage {
            problem: format!("{} holds several genomes: {}", file.path().display(), groups.join(", ")),
            remedy: "choose one with --genome NAME, or merge them with --genome all".to_owned(),
        }),
    }
}

fn no_such_genome(file: &HdfFile, wanted: &str, found: &str) -> Error {
    let found = if found.is_empty() { "no genomes named" } else { found };
    let remedy = "give one of these to --genome, or none";
    Error::input(file.path(), "genome", format!("{wanted:?}"), found, remedy)
}

/// The union of the groups' barcodes, in group order, and each group's row for every cell.
fn merge_barcodes(file: &HdfFile, groups: &[String], parts: &mut [Part]) -> Result<Vec<String>> {
    if let [part] = parts {
        return Ok(std::mem::take(&mut part.barcodes));
    }
    let mut position_of: HashMap<String, usize> = HashMap::new();
    let mut merged = Vec::new();
    let mut positions = Vec::new();
    for (part, group) in parts.iter().zip(groups) {
        let mut own = Vec::with_capacity(part.barcodes.len());
        let mut seen = std::collections::HashSet::new();
        for barcode in &part.barcodes {
            if !seen.insert(barcode.as_str()) {
                let object = format!("{group}/barcodes");
                let found = format!("{barcode:?} twice");
                let remedy = "read one genome alone with --genome NAME";
                return Err(Error::input(file.path(), object, "each barcode once", found, remedy));
            }
            own.push(*position_of.entry(barcode.clone()).or_insert_with(|| {
                merged.push(barcode.clone());
                merged.len() - 1
            }));
        }
        positions.push(own);
    }
    for (part, own) in parts.iter_mut().zip(positions) {
        let mut rows = vec![None; merged.len()];
        for (row, cell) in own.into_iter().enumerate() {
            rows[cell] = Some(row);
        }
        part.rows = Some(rows);
    }
    Ok(merged)
}

/// The consecutive runs in `rows`.
fn runs(rows: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &row in rows {
        match runs.last_mut() {
            Some(last) if row == last.end => last.end = row + 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

const REWRITE: &str = "the file is incomplete or its writer has a bug; write or download it again";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_references_are_decoded_and_stray_ampersands_stay() {
        assert_eq!(decode_references("TNF-&#945;"), "TNF-α");
        assert_eq!(decode_references("&#x3B2;-actin &#946;"), "β-actin β");
        assert_eq!(decode_references("A&#;B&#12"), "A&#;B&#12");
        assert_eq!(decode_references("A & B"), "A & B");
        assert_eq!(decode_references("&#x10FFFF;&#1114111;"), "\u{10ffff}\u{10ffff}");
        assert_eq!(decode_references("&#ααααα;&#αααα"), "&#ααααα;&#αααα");
    }

    #[test]
    fn references_without_end_take_linear_time() {
        let text = "&#".repeat(1 << 20);
        assert_eq!(decode_references(&text), text);
        let text = text + ";";
        assert_eq!(decode_references(&text), text);
    }

    #[test]
    fn runs_are_consecutive_rows() {
        assert_eq!(runs(&[0, 1, 2, 10, 11, 3]), [0..3, 10..12, 3..4]);
        assert!(runs(&[]).is_empty());
    }
}
