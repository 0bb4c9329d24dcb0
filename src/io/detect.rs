//! Telling input files apart by their content.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::h5ad::H5ad;
use super::loom::Loom;
use super::pandas::Frame;
use super::tenx::TenX;
use super::{ReadOptions, Source};
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, Kind, has_signature};

/// What every group of a 10x v2 file has.
const V2_MEMBERS: [&str; 7] = ["data", "indices", "indptr", "shape", "barcodes", "genes", "gene_names"];
/// What a v3 group has besides `indptr`.
const V3_MEMBERS: [&str; 5] = ["data", "indices", "shape", "barcodes", "features"];
/// A group with this many of those members is meant to be a 10x matrix.
const FEWEST_MEMBERS: usize = 2;
/// Keys of pandas may be paths: groups are searched to this depth, and so many of them.
const KEY_DEPTH: usize = 8;
const MOST_GROUPS: usize = 4096;

/// A layout that [`open`] can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// AnnData `.h5ad`.
    H5ad,
    /// 10x HDF5 of Cell Ranger 3 and later: one group `matrix`.
    TenXV3,
    /// 10x HDF5 of Cell Ranger 1 and 2: these groups, one per genome.
    TenXV2(Vec<String>),
    /// Loom, of any version.
    Loom,
    /// A pandas HDFStore: these groups, one for each of its objects.
    Pandas(Vec<String>),
}

/// Opens an input file, whatever its layout.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Box<dyn Source>> {
    refuse_other_kinds(path)?;
    let file = HdfFile::open(path)?;
    let layout = detect(&file)?;
    let only_for = |given: bool, option: &str, kind: &str| {
        if !given {
            return Ok(());
        }
        let problem = format!("{option} is for {kind} files, which {} is not", path.display());
        Err(Error::Usage { problem, remedy: format!("leave out {option}") })
    };
    if !matches!(layout, Layout::Pandas(_)) {
        only_for(options.orientation.is_some(), "--orientation", "pandas")?;
        only_for(options.nan_as_zero, "--nan-as-zero", "pandas")?;
    }
    if layout != Layout::Loom {
        only_for(options.gene_attr.is_some(), "--gene-attr", "loom")?;
        only_for(options.cell_attr.is_some(), "--cell-attr", "loom")?;
    }
    match layout {
        Layout::Loom => {
            only_for(options.genome.is_some(), "--genome", "10x")?;
            only_for(options.use_raw, "--use-raw", "h5ad")?;
            Ok(Box::new(Loom::open(&file, options)?))
        }
        Layout::Pandas(groups) => {
            only_for(options.genome.is_some(), "--genome", "10x")?;
            only_for(options.layer.is_some(), "--layer", "h5ad and loom")?;
            only_for(options.use_raw, "--use-raw", "h5ad")?;
            Ok(Box::new(Frame::open(&file, &groups, options)?))
        }
        Layout::H5ad => {
            only_for(options.genome.is_some(), "--genome", "10x")?;
            Ok(Box::new(H5ad::open(&file, options)?))
        }
        Layout::TenXV3 | Layout::TenXV2(_) => {
            only_for(options.layer.is_some(), "--layer", "h5ad and loom")?;
            only_for(options.use_raw, "--use-raw", "h5ad")?;
            Ok(Box::new(match layout {
                Layout::TenXV2(groups) => TenX::open_v2(&file, &groups, options)?,
                _ => TenX::open_v3(&file, options)?,
            }))
        }
    }
}

/// Finds out the layout of an HDF5 file.
pub fn detect(file: &HdfFile) -> Result<Layout> {
    let members = file.members("/")?;
    let has = |name: &str| members.iter().any(|member| member == name);
    if file.string_attribute("/", "encoding-type")?.as_deref() == Some("anndata")
        || (has("obs") && has("var"))
    {
        return Ok(Layout::H5ad);
    }
    if let Some(kind) = file.string_attribute("/", "filetype")?.filter(|kind| kind != "matrix") {
        let found = format!("a 10x file of type {kind:?}");
        let remedy = "use the feature-barcode matrix of the same run (filtered_feature_bc_matrix.h5)";
        return Err(Error::input(file.path(), "/@filetype", "\"matrix\"", found, remedy));
    }
    match file.kind("matrix")? {
        Some(Kind::Group) if file.has_dataset("matrix/indptr")? => return Ok(Layout::TenXV3),
        Some(Kind::Group) if count_members(&file.members("matrix")?, &V3_MEMBERS) >= FEWEST_MEMBERS => {
            return Err(missing_dataset(file, "matrix", "indptr"));
        }
        Some(Kind::Dataset) if has("row_attrs") && has("col_attrs") => {
            return Ok(Layout::Loom);
        }
        _ => {}
    }
    if has("molecule_info.json") || (has("barcode_idx") && has("count") && has("umi")) {
        return Err(unsupported(file.path(), "a 10x molecule info file"));
    }
    let mut frames = Vec::new();
    find_pandas(file, &members, KEY_DEPTH, &mut 0, &mut frames)?;
    if !frames.is_empty() {
        return Ok(Layout::Pandas(frames));
    }
    let mut groups = Vec::new();
    for member in &members {
        if file.kind(member)? != Some(Kind::Group) {
            continue;
        }
        let inside = file.members(member)?;
        if count_members(&inside, &V2_MEMBERS) < FEWEST_MEMBERS {
            continue;
        }
        // A damaged genome must not disappear from the others.
        if let Some(missing) = V2_MEMBERS.iter().find(|name| !inside.iter().any(|found| found == *name)) {
            return Err(missing_dataset(file, member, missing));
        }
        groups.push(member.clone());
    }
    if groups.is_empty() {
        let found = if members.is_empty() { "nothing".to_owned() } else { members.join(", ") };
        let expected = "a 10x (\"matrix\"), AnnData (\"X\", \"obs\", \"var\"), loom (\"matrix\", \"row_attrs\", \
                        \"col_attrs\") or pandas layout";
        return Err(Error::input(file.path(), "/", expected, found, "convert it to 10x HDF5 or h5ad"));
    }
    Ok(Layout::TenXV2(groups))
}

/// Finds the groups that pandas wrote among `members` and below them.
fn find_pandas(
    file: &HdfFile,
    members: &[String],
    depth: usize,
    visited: &mut usize,
    found: &mut Vec<String>,
) -> Result<()> {
    for member in members {
        *visited += 1;
        if *visited > MOST_GROUPS {
            break;
        }
        if file.kind(member)? != Some(Kind::Group) {
            continue;
        }
        if file.string_attribute(member, "pandas_type")?.is_some() {
            found.push(member.clone());
        } else if depth > 1 {
            let inside: Vec<_> =
                file.members(member)?.iter().map(|name| format!("{member}/{name}")).collect();
            find_pandas(file, &inside, depth - 1, visited, found)?;
        }
    }
    Ok(())
}

fn count_members(inside: &[String], known: &[&str]) -> usize {
    inside.iter().filter(|member| known.contains(&member.as_str())).count()
}

fn missing_dataset(file: &HdfFile, group: &str, name: &str) -> Error {
    let found = format!("missing dataset {group}/{name}");
    let remedy = "the file is incomplete or its writer has a bug; write or download it again";
    Error::input(file.path(), group, "a whole 10x matrix", found, remedy)
}

/// Directories, archives and text get a word of their own.
fn refuse_other_kinds(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, "open", source))?;
    if metadata.is_dir() {
        let has = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
        return Err(if has(&[".zgroup", ".zarray", ".zattrs", "zarr.json"]) {
            unsupported(path, "a Zarr directory")
        } else if has(&["matrix.mtx", "matrix.mtx.gz"]) {
            unsupported(path, "a Matrix Market directory")
        } else {
            unsupported(path, "a directory")
        });
    }
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    if has_signature(&file, metadata.len()) {
        return Ok(());
    }
    let mut head = [0; 512];
    let length = file.read_at(&mut head, 0).map_err(|source| Error::io(path, "read", source))?;
    let head = &head[..length];
    let kind = match head {
        [] => return Ok(()), // HdfFile::open has the words for it.
        [0x1f, 0x8b, ..] => "a gzip file",
        [b'P', b'K', 3 | 5, ..] => "a zip archive",
        _ if head.starts_with(b"%%MatrixMarket") => "a Matrix Market file",
        _ if is_text(head) && head.contains(&b'\t') => "a text file with tabs (tsv)",
        _ if is_text(head) && head.contains(&b',') => "a text file with commas (csv)",
        _ if is_text(head) => "a text file",
        _ => return Ok(()),
    };
    Err(unsupported(path, kind))
}

fn is_text(head: &[u8]) -> bool {
    let printable = |&byte: &u8| byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t');
    head.iter().all(printable)
}

fn unsupported(path: &Path, kind: &str) -> Error {
    let remedy = "convert to 10x HDF5 or h5ad";
    Error::input(path, "file", "10x HDF5 or AnnData h5ad", format!("{kind}, not supported yet"), remedy)
}
