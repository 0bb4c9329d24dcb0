//! Telling input files apart by their content.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::csv::Table;
use super::h5ad::H5ad;
use super::loom::Loom;
use super::mtx::Mtx;
use super::pandas::Frame;
use super::tenx::TenX;
use super::{ReadOptions, Source};
use crate::error::{Error, Result};
use crate::hdf::{HdfFile, Kind, has_signature};
use crate::text::{is_gzip, open_text, read_problem};

/// What every group of a 10x v2 file has.
const V2_MEMBERS: [&str; 7] = ["data", "indices", "indptr", "shape", "barcodes", "genes", "gene_names"];
/// What a v3 group has besides `indptr`.
const V3_MEMBERS: [&str; 5] = ["data", "indices", "shape", "barcodes", "features"];
/// Bytes of a file that are looked at.
const HEAD: usize = 512;
const BANNER: &[u8] = b"%%MatrixMarket";
const HDF5: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Where a tar archive says that it is one.
const TAR: (usize, &[u8]) = (257, b"ustar");
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

/// How the bytes of an input are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Hdf5,
    /// A directory, or the file of the entries.
    MatrixMarket,
    Text,
}

/// Opens an input file, whatever its layout.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Box<dyn Source>> {
    open_with(path, options, &|_| {})
}

/// [`open`]; `progress` is told the bytes of a file that has to be read as a whole for its names.
pub fn open_with(path: &Path, options: &ReadOptions, progress: &dyn Fn(u64)) -> Result<Box<dyn Source>> {
    let container = container(path)?;
    match container {
        Container::MatrixMarket => {
            check_options(path, Kinds::MATRIX_MARKET, options)?;
            return Ok(Box::new(Mtx::open(path, options)?));
        }
        Container::Text => {
            check_options(path, Kinds::TEXT, options)?;
            return Ok(Box::new(Table::open(path, options, progress)?));
        }
        Container::Hdf5 => {}
    }
    let file = HdfFile::open(path)?.within(options.memory);
    let layout = detect(&file)?;
    let kind = match layout {
        Layout::Loom => Kinds::LOOM,
        Layout::Pandas(_) => Kinds::PANDAS,
        Layout::H5ad => Kinds::H5AD,
        Layout::TenXV3 | Layout::TenXV2(_) => Kinds::TENX,
    };
    check_options(path, kind, options)?;
    Ok(match layout {
        Layout::Loom => Box::new(Loom::open(&file, options)?),
        Layout::Pandas(groups) => Box::new(Frame::open(&file, &groups, options)?),
        Layout::H5ad => Box::new(H5ad::open(&file, options)?),
        Layout::TenXV2(groups) => Box::new(TenX::open_v2(&file, &groups, options)?),
        Layout::TenXV3 => Box::new(TenX::open_v3(&file, options)?),
    })
}

/// Kinds of input, as a set.
#[derive(Clone, Copy)]
struct Kinds(u8);

impl Kinds {
    const MATRIX_MARKET: Self = Self(1);
    const TEXT: Self = Self(1 << 1);
    const LOOM: Self = Self(1 << 2);
    const PANDAS: Self = Self(1 << 3);
    const H5AD: Self = Self(1 << 4);
    const TENX: Self = Self(1 << 5);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Refuses options that are for inputs of other kinds than that of `path`.
fn check_options(path: &Path, kind: Kinds, options: &ReadOptions) -> Result<()> {
    /// 10x directories of several genomes are chosen from with `--genome`, too, and say themselves what they lack.
    const GENOMES: Kinds = Kinds::TENX.or(Kinds::MATRIX_MARKET);
    const TABLES: Kinds = Kinds::TEXT.or(Kinds::PANDAS);
    let ReadOptions {
        genome, layer, use_raw, orientation, nan_as_zero, gene_attr, cell_attr, prefix, ..
    } = options;
    let table = [
        (genome.is_some(), "--genome", GENOMES, "10x files"),
        (layer.is_some(), "--layer", Kinds::H5AD.or(Kinds::LOOM), "h5ad and loom files"),
        (*use_raw, "--use-raw", Kinds::H5AD, "h5ad files"),
        (orientation.is_some(), "--orientation", TABLES, "csv, tsv and pandas files"),
        (*nan_as_zero, "--nan-as-zero", Kinds::PANDAS, "pandas files"),
        (gene_attr.is_some(), "--gene-attr", Kinds::LOOM, "loom files"),
        (cell_attr.is_some(), "--cell-attr", Kinds::LOOM, "loom files"),
        (prefix.is_some(), "--prefix", Kinds::MATRIX_MARKET, "Matrix Market directories"),
    ];
    for (is_given, option, kinds, words) in table {
        if is_given && kinds.0 & kind.0 == 0 {
            let problem = format!("{option} is for {words}, which {} is not", path.display());
            return Err(Error::Usage { problem, remedy: format!("leave out {option}") });
        }
    }
    Ok(())
}

/// The files that [`open`] would read the matrix from.
///
/// # Errors
/// When there is none, or it is of a kind that is not read.
pub fn files(path: &Path, options: &ReadOptions) -> Result<Vec<PathBuf>> {
    match container(path)? {
        Container::MatrixMarket => super::mtx::files(path, options),
        Container::Hdf5 | Container::Text => Ok(vec![path.to_owned()]),
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
        return Err(unsupported(file.path(), "a 10x molecule info file", "convert it to 10x HDF5 or h5ad"));
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

/// Finds out how an input is put together; what cannot be read gets a word of its own.
fn container(path: &Path) -> Result<Container> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io(path, "open", source))?;
    if metadata.is_dir() {
        let is_zarr =
            [".zgroup", ".zarray", ".zattrs", "zarr.json"].iter().any(|name| path.join(name).exists());
        let remedy = "read it with anndata.read_zarr and write it with write_h5ad";
        return if is_zarr {
            Err(unsupported(path, "a Zarr directory", remedy))
        } else {
            Ok(Container::MatrixMarket)
        };
    }
    if !metadata.is_file() {
        return Err(unsupported(path, "a pipe or device", "write it to a file first"));
    }
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    if has_signature(&file, metadata.len()) {
        return Ok(Container::Hdf5);
    }
    let mut head = [0; HEAD];
    let length = file.read_at(&mut head, 0).map_err(|source| Error::io(path, "read", source))?;
    if is_gzip(&head[..length]) {
        let mut inflated = Vec::new();
        let head = open_text(path)?.take(HEAD as u64).read_to_end(&mut inflated);
        head.map_err(|error| read_problem(path, error))?;
        return match &inflated[..] {
            [] => Err(unsupported(path, "a compressed file with nothing in it", "download it again")),
            inner => container_of(path, inner, true),
        };
    }
    container_of(path, &head[..length], false)
}

/// What a file is that begins with `head`, which was inside gzip or not.
fn container_of(path: &Path, head: &[u8], is_compressed: bool) -> Result<Container> {
    let unpack = "unpack it first";
    let kind = match head {
        // HdfFile::open has the words for it.
        [] => return Ok(Container::Hdf5),
        [b'P', b'K', 3 | 5, ..] => "a zip archive, as npz files are",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            return Err(unsupported(path, "a text file in UTF-16", "save it as UTF-8"));
        }
        _ if head.trim_ascii_start().starts_with(b"<") => {
            let remedy = "the download gave a page instead of the file; download it again";
            return Err(unsupported(path, "a web page (HTML or XML)", remedy));
        }
        _ if head.get(TAR.0).is_some_and(|_| head[TAR.0..].starts_with(TAR.1)) => "a tar archive",
        _ if is_compressed && head.starts_with(HDF5) => "a compressed HDF5 file",
        _ if is_compressed && is_gzip(head) => "a file that was compressed twice",
        _ => {
            let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
            let banner = &start[..start.len().min(BANNER.len())];
            return if banner.eq_ignore_ascii_case(BANNER) {
                Ok(Container::MatrixMarket)
            } else if is_text(head) {
                Ok(Container::Text)
            } else if is_compressed {
                Err(unsupported(path, "a compressed file of another kind", unpack))
            } else {
                Ok(Container::Hdf5)
            };
        }
    };
    Err(unsupported(path, kind, unpack))
}

fn is_text(head: &[u8]) -> bool {
    let printable = |&byte: &u8| byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t');
    head.iter().all(printable)
}

fn unsupported(path: &Path, kind: &str, remedy: &str) -> Error {
    let expected = "10x HDF5 or Matrix Market, AnnData h5ad, csv or tsv";
    Error::input(path, "file", expected, format!("{kind}, which is not read"), remedy)
}
