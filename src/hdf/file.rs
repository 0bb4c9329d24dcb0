//! Opening HDF5 files read-only, without locks, and finding objects in them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hdf5::dataset::Layout;
use hdf5::{IndexType, IterationOrder, LinkType, LocationType};

use crate::budget::NameRoom;
use crate::error::{Error, Result};

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Where the search for a signature behind a user block ends.
const MAX_USER_BLOCK: u64 = 1 << 30;
/// Where the search for links to other files ends.
const MOST_OBJECTS: usize = 4096;
/// Filters that are part of libhdf5 have lower numbers; for others it loads plugins.
const FIRST_PLUGIN: i32 = 256;

/// An HDF5 file open for reading.
pub struct HdfFile {
    path: PathBuf,
    hdf: hdf5::File,
    raw: Arc<File>,
    size: u64,
    user_block: u64,
    /// Bytes that the whole run may take, where names are to be held against it.
    memory: Option<u64>,
}

/// What stands at a path inside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group.
    Group,
    /// A dataset.
    Dataset,
}

/// Whether the file carries HDF5's signature, at its start or behind a user block.
pub fn has_signature(file: &File, size: u64) -> bool {
    signature_offset(file, size).is_some()
}

fn signature_offset(file: &File, size: u64) -> Option<u64> {
    let mut offset = 0_u64;
    while offset + 8 <= size && offset <= MAX_USER_BLOCK {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, offset).ok()?;
        if bytes == SIGNATURE {
            return Some(offset);
        }
        offset = if offset == 0 { 512 } else { offset * 2 };
    }
    None
}

impl HdfFile {
    /// Opens `path` for reading and tells apart what can be wrong with it.
    pub fn open(path: &Path) -> Result<Self> {
        let raw = File::open(path).map_err(|source| Error::io(path, "open", source))?;
        let size = raw.metadata().map_err(|source| Error::io(path, "examine", source))?.len();
        let Some(user_block) = signature_offset(&raw, size) else {
            let found = if size == 0 { "an empty file".to_owned() } else { "not an HDF5 file".to_owned() };
            return Err(Error::input(path, "file", "an HDF5 file", found, "check the path"));
        };
        let hdf = hdf5::FileBuilder::new()
            .with_access_plist(|plist| plist.file_locking(false))
            .open(openable(path, &raw))
            .map_err(|source| classify(path, size, source))?;
        Ok(Self { path: path.to_owned(), hdf, raw: Arc::new(raw), size, user_block, memory: None })
    }

    /// Refuses lists of names that do not fit in `memory`, of bytes for the whole run.
    #[must_use]
    pub(crate) fn within(self, memory: Option<u64>) -> Self {
        Self { memory, ..self }
    }

    pub(super) fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Room for a list of names.
    pub(super) fn name_room(&self) -> NameRoom {
        NameRoom::new(self.memory)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn raw(&self) -> Arc<File> {
        Arc::clone(&self.raw)
    }

    pub(super) fn user_block(&self) -> u64 {
        self.user_block
    }

    /// Our own parsing of addresses takes the usual 8 bytes for granted.
    pub(super) fn require_wide_addresses(&self) -> Result<()> {
        let mut superblock = [0; 16];
        self.raw
            .read_exact_at(&mut superblock, self.user_block)
            .map_err(|source| Error::io(&self.path, "read", source))?;
        let size = if superblock[8] < 2 { superblock[13] } else { superblock[9] };
        if size == 8 {
            return Ok(());
        }
        let found = format!("{size} bytes");
        Err(Error::input(
            &self.path,
            "superblock",
            "addresses of 8 bytes",
            found,
            "copy the file with h5repack",
        ))
    }

    /// What stands at `name`, or `None`. External links are an error, they are not followed.
    pub fn kind(&self, name: &str) -> Result<Option<Kind>> {
        let failed = |source| Error::hdf5(&self.path, name, "look it up", source);
        let mut group = self.hdf.group("/").map_err(failed)?;
        let mut kind = Some(Kind::Group);
        self.require_built_in(&group, "/")?;
        for part in name.split('/').filter(|part| !part.is_empty()) {
            if kind != Some(Kind::Group) {
                return Ok(None);
            }
            let link = group
                .find_link(IndexType::Name, IterationOrder::Native, |member, info| {
                    Ok((member == part).then_some(info.link_type))
                })
                .map_err(failed)?;
            match link {
                None => return Ok(None),
                Some(LinkType::External) => return Err(self.links_elsewhere(name)),
                // Looking where it leads would open what an external link on the way names.
                Some(LinkType::Soft) if self.has_external_links()? => return Err(self.links_elsewhere(name)),
                Some(LinkType::Hard | LinkType::Soft) => {}
            }
            kind = match group.loc_type_by_name(part) {
                Ok(LocationType::Group) => Some(Kind::Group),
                Ok(LocationType::Dataset) => Some(Kind::Dataset),
                // What a hard link leads to is there: this is an error of reading, not an absent object.
                Err(source) if link == Some(LinkType::Hard) => return Err(failed(source)),
                _ => return Ok(None),
            };
            if kind == Some(Kind::Group) {
                group = group.group(part).map_err(failed)?;
                self.require_built_in(&group, name)?;
            }
        }
        Ok(kind)
    }

    /// Whether a group of the file has a link to another file.
    fn has_external_links(&self) -> Result<bool> {
        let failed = |source| Error::hdf5(&self.path, "/", "look for links to other files", source);
        let mut groups = vec![self.hdf.group("/").map_err(failed)?];
        let mut visited = 0;
        while let Some(group) = groups.pop() {
            let name = group.name();
            self.require_built_in(&group, &name)?;
            let mut links = Vec::new();
            let listed = group.iter_visit_default(|member, info| {
                links.push((member.to_owned(), info.link_type));
                Ok(())
            });
            listed.map_err(failed)?;
            visited += links.len();
            if visited > MOST_OBJECTS || links.iter().any(|(_, kind)| *kind == LinkType::External) {
                return Ok(true);
            }
            for (member, _) in links.iter().filter(|(_, kind)| *kind == LinkType::Hard) {
                if matches!(group.loc_type_by_name(member), Ok(LocationType::Group)) {
                    groups.push(group.group(member).map_err(failed)?);
                }
            }
        }
        Ok(false)
    }

    /// Refuses a group whose list of names went through a filter that libhdf5 would look for among plugins.
    fn require_built_in(&self, group: &hdf5::Group, name: &str) -> Result<()> {
        let filters = group.create_plist().and_then(|plist| plist.get_filters());
        let filters =
            filters.map_err(|source| Error::hdf5(&self.path, name, "read the group's filters", source))?;
        match filters.iter().find(|filter| filter.id() >= FIRST_PLUGIN) {
            None => Ok(()),
            Some(filter) => Err(Error::input(
                &self.path,
                name,
                "a group without filters of plugins",
                format!("HDF5 filter {}", filter.id()),
                "copy the file with h5repack where the plugin is installed",
            )),
        }
    }

    /// Whether there is a group at `name`.
    pub fn has_group(&self, name: &str) -> Result<bool> {
        Ok(self.kind(name)? == Some(Kind::Group))
    }

    /// Whether there is a dataset at `name`.
    pub fn has_dataset(&self, name: &str) -> Result<bool> {
        Ok(self.kind(name)? == Some(Kind::Dataset))
    }

    /// The names in a group.
    pub fn members(&self, name: &str) -> Result<Vec<String>> {
        let group = self.group(name)?;
        group.member_names().map_err(|source| Error::hdf5(&self.path, name, "list the group", source))
    }

    pub(crate) fn group(&self, name: &str) -> Result<hdf5::Group> {
        match self.kind(name)? {
            Some(Kind::Group) => {
                let absolute = format!("/{}", name.trim_start_matches('/'));
                self.hdf
                    .group(&absolute)
                    .map_err(|source| Error::hdf5(&self.path, name, "open the group", source))
            }
            found => Err(self.absent(name, "a group", found)),
        }
    }

    pub(crate) fn dataset(&self, name: &str) -> Result<hdf5::Dataset> {
        match self.kind(name)? {
            Some(Kind::Dataset) => {
                let dataset = self
                    .hdf
                    .dataset(name)
                    .map_err(|source| Error::hdf5(&self.path, name, "open the dataset", source))?;
                self.require_stored_here(&dataset, name)?;
                Ok(dataset)
            }
            found => Err(self.absent(name, "a dataset", found)),
        }
    }

    /// A dataset that libhdf5 is to read: none of its filters may be a plugin.
    pub(crate) fn plain_dataset(&self, name: &str) -> Result<hdf5::Dataset> {
        let dataset = self.dataset(name)?;
        let filters = dataset.create_plist().and_then(|plist| plist.get_filters());
        let filters = filters.map_err(|source| Error::hdf5(&self.path, name, "read its filters", source))?;
        match filters.iter().find(|filter| filter.id() >= FIRST_PLUGIN) {
            None => Ok(dataset),
            Some(filter) => Err(Error::input(
                &self.path,
                name,
                "no compression, or gzip",
                format!("HDF5 filter {}", filter.id()),
                "write the file again with late-fast",
            )),
        }
    }

    fn absent(&self, name: &str, expected: &str, found: Option<Kind>) -> Error {
        let found = match found {
            None => "nothing",
            Some(Kind::Group) => "a group",
            Some(Kind::Dataset) => "a dataset",
        };
        Error::input(&self.path, name, expected, found, "write the file again with the tool that made it")
    }

    /// Refuses data that libhdf5 would look for in other files, before it is asked for the shape: that of a virtual
    /// dataset depends on those.
    fn require_stored_here(&self, dataset: &hdf5::Dataset, name: &str) -> Result<()> {
        let plist = dataset
            .create_plist()
            .map_err(|source| Error::hdf5(&self.path, name, "read its properties", source))?;
        let found = if plist.layout() == Layout::Virtual {
            "a virtual dataset"
        } else if !plist.external().is_empty() {
            "data in an external file"
        } else {
            return Ok(());
        };
        let remedy = "data elsewhere is not followed; copy everything into one file";
        Err(Error::input(&self.path, name, "data stored in this file", found, remedy))
    }

    fn links_elsewhere(&self, name: &str) -> Error {
        Error::input(
            &self.path,
            name,
            "an object of this file",
            "a link to another file",
            "links are not followed; copy the data into one file",
        )
    }
}

/// libhdf5's binding takes UTF-8 names only; on Linux any open file has one.
fn openable(path: &Path, raw: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    if path.to_str().is_some() || !cfg!(target_os = "linux") {
        path.to_owned()
    } else {
        PathBuf::from(format!("/proc/self/fd/{}", raw.as_raw_fd()))
    }
}

/// Says in people's words why libhdf5 did not open the file.
fn classify(path: &Path, size: u64, source: hdf5::Error) -> Error {
    let words: Vec<String> = source
        .stack()
        .map(|stack| stack.iter().map(|frame| frame.desc().to_owned()).collect())
        .unwrap_or_default();
    let find = |needle: &str| words.iter().find(|text| text.contains(needle));
    if let Some(text) = find("truncated file") {
        let expected = text.rsplit("stored_eof = ").next().unwrap_or_default().trim_end_matches(')').trim();
        return Error::input(
            path,
            "file",
            format!("{expected} bytes"),
            format!("{size} bytes"),
            "the file is incomplete; download or copy it again",
        );
    }
    if find("already open for write").is_some() {
        return Error::input(
            path,
            "file",
            "a closed file",
            "a file that is open for writing, or whose writer crashed",
            "wait for the writer; if it crashed, run `h5clear -s` on a copy",
        );
    }
    Error::hdf5(path, "file", "open it (it may be damaged or incomplete; download or copy it again)", source)
}
