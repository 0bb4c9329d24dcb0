//! Changes to an HDF5 file that only a broken or hostile writer would make: every object and attribute in it can be
//! changed in every way.

use std::path::Path;

use hdf5::dataset::DatasetBuilder;
use hdf5::types::{
    CompoundField, CompoundType, EnumMember, EnumType, FloatSize, IntSize, Reference, TypeDescriptor,
    VarLenUnicode,
};
use hdf5::{Dataset, File, Group, Hyperslab, Location, LocationType, Selection, SimpleExtents, SliceOrIndex};

/// What can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Group(String),
    Dataset(String),
    /// Of the object, the attribute.
    Attribute(String, String),
}

/// How it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Delete,
    /// A group instead of a dataset or the other way round.
    OtherKind,
    SoftLoop,
    Dangling,
    External,
    /// A soft link through an external one.
    SoftExternal,
    ExternalData,
    Virtual,
    /// A virtual dataset of unlimited extent.
    VirtualUnlimited,
    /// Filters on the names of a group.
    Filtered,
    /// A filter that nobody has: see [`patch_filters`].
    UnknownFilter,
    Compact,
    Rank(usize),
    /// With so many elements more.
    Length(isize),
    /// As long as this, without anything stored.
    Huge(usize),
    /// As one of [`types`].
    Type(usize),
    /// One value becomes one of [`VALUES`], or a random one of strings.
    Value(usize),
    Filters,
}

pub const N_TYPES: usize = 20;
pub const VALUES: [f64; 12] = [
    -1.0,
    0.0,
    1.0,
    2.5,
    300.0,
    70_000.0,
    2_147_483_648.0,
    4_294_967_296.0,
    9.3e18,
    1e300,
    f64::NAN,
    f64::INFINITY,
];
/// The filter that [`patch_filters`] puts in.
pub const NO_FILTER: u16 = 31_999;

/// Datasets that are longer hold nothing that is read before they are changed again.
const MOST_ELEMENTS: usize = 1 << 20;

/// All changes that make sense somewhere.
pub fn changes() -> Vec<Change> {
    let mut out = vec![
        Change::Delete,
        Change::OtherKind,
        Change::SoftLoop,
        Change::Dangling,
        Change::External,
        Change::SoftExternal,
        Change::ExternalData,
        Change::Virtual,
        Change::VirtualUnlimited,
        Change::Filtered,
        Change::UnknownFilter,
        Change::Compact,
        Change::Filters,
    ];
    out.extend([0, 1, 2, 3].map(Change::Rank));
    out.extend([-1_000_000, -1, 0, 1].map(Change::Length));
    out.extend([1 << 31, 1 << 40].map(Change::Huge));
    out.extend((0..N_TYPES).map(Change::Type));
    out.extend((0..VALUES.len()).map(Change::Value));
    out
}

fn types(number: usize) -> TypeDescriptor {
    let integer = |size| TypeDescriptor::Integer(size);
    let field = |name: &str, ty, offset, index| CompoundField { name: name.into(), ty, offset, index };
    match number {
        0 => integer(IntSize::U1),
        1 => integer(IntSize::U2),
        2 => integer(IntSize::U4),
        3 => integer(IntSize::U8),
        4 => TypeDescriptor::Unsigned(IntSize::U1),
        5 => TypeDescriptor::Unsigned(IntSize::U2),
        6 => TypeDescriptor::Unsigned(IntSize::U4),
        7 => TypeDescriptor::Unsigned(IntSize::U8),
        8 => TypeDescriptor::Float(FloatSize::U2),
        9 => TypeDescriptor::Float(FloatSize::U4),
        10 => TypeDescriptor::Float(FloatSize::U8),
        11 => TypeDescriptor::Boolean,
        12 => TypeDescriptor::Enum(EnumType {
            size: IntSize::U2,
            signed: true,
            members: vec![EnumMember { name: "only".into(), value: 7 }],
        }),
        13 => TypeDescriptor::Compound(CompoundType {
            fields: vec![
                field("index", TypeDescriptor::FixedAscii(3), 0, 0),
                field("x", integer(IntSize::U4), 8, 1),
            ],
            size: 16,
        }),
        14 => TypeDescriptor::FixedAscii(5),
        15 => TypeDescriptor::FixedUnicode(70_000),
        16 => TypeDescriptor::VarLenUnicode,
        17 => TypeDescriptor::VarLenArray(Box::new(integer(IntSize::U4))),
        18 => TypeDescriptor::FixedArray(Box::new(integer(IntSize::U1)), 3),
        _ => TypeDescriptor::Reference(Reference::Object),
    }
}

/// Everything in the file that can be changed.
pub fn places(file: &File) -> Vec<Place> {
    fn visit(group: &Group, path: &str, out: &mut Vec<Place>) {
        attributes(group, path, out);
        for name in group.member_names().unwrap_or_default() {
            let inside = format!("{path}/{name}");
            match group.loc_type_by_name(&name) {
                Ok(LocationType::Group) => {
                    out.push(Place::Group(inside.clone()));
                    if let Ok(group) = group.group(&name) {
                        visit(&group, &inside, out);
                    }
                }
                Ok(LocationType::Dataset) => {
                    out.push(Place::Dataset(inside.clone()));
                    if let Ok(dataset) = group.dataset(&name) {
                        attributes(&dataset, &inside, out);
                    }
                }
                _ => {}
            }
        }
    }
    fn attributes(object: &Location, path: &str, out: &mut Vec<Place>) {
        let names = object.attr_names().unwrap_or_default();
        out.extend(names.into_iter().map(|name| Place::Attribute(path.to_owned(), name)));
    }
    let mut out = Vec::new();
    if let Ok(root) = file.group("/") {
        visit(&root, "", &mut out);
    }
    out
}

/// Changes `place`; what leads elsewhere leads to `elsewhere`. `random` gives a number below its argument. Whether the change
/// makes sense there.
pub fn apply(
    file: &File,
    place: &Place,
    change: Change,
    elsewhere: &Path,
    random: &mut dyn FnMut(usize) -> usize,
) -> bool {
    let done = match place {
        Place::Attribute(object, name) => change_attribute(file, object, name, change, random),
        Place::Group(path) | Place::Dataset(path) => {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let Ok(parent) = file.group(if parent.is_empty() { "/" } else { parent }) else { return false };
            match (place, change) {
                (Place::Dataset(_), change) if !is_of_links(change) => {
                    change_dataset(&parent, name, change, elsewhere, random)
                }
                _ => change_link(&parent, name, matches!(place, Place::Group(_)), change, elsewhere),
            }
        }
    };
    done.unwrap_or(false)
}

fn is_of_links(change: Change) -> bool {
    use Change::{Dangling, Delete, External, OtherKind, SoftExternal, SoftLoop};
    matches!(change, Delete | OtherKind | SoftLoop | Dangling | External | SoftExternal)
}

fn change_link(
    parent: &Group,
    name: &str,
    is_group: bool,
    change: Change,
    elsewhere: &Path,
) -> hdf5::Result<bool> {
    let target = elsewhere.to_str().unwrap_or_default();
    if !(is_of_links(change) || is_group && change == Change::Filtered) {
        return Ok(false);
    }
    parent.unlink(name)?;
    match change {
        Change::OtherKind if is_group => {
            parent.new_dataset_builder().with_data(&[1_i32, 2, 3]).create(name)?;
        }
        Change::OtherKind => {
            parent.create_group(name)?;
        }
        Change::SoftLoop => {
            parent.link_soft("late_fast_loop", name)?;
            parent.link_soft(name, "late_fast_loop")?;
        }
        Change::Dangling => parent.link_soft("/nowhere/at/all", name)?,
        Change::External => parent.link_external(target, "/data", name)?,
        Change::SoftExternal => {
            parent.link_external(target, "/", "late_fast_elsewhere")?;
            parent.link_soft("late_fast_elsewhere/data", name)?;
        }
        Change::Filtered => {
            let group = parent
                .create_group_builder()
                .with_create_plist(|plist| {
                    plist
                        .link_phase_change(hdf5::plist::group_create::LinkPhaseChange {
                            max_compact: 0,
                            min_dense: 0,
                        })
                        .deflate(1)
                })
                .create(name)?;
            for number in 0..40 {
                group
                    .new_dataset_builder()
                    .with_data(&[number])
                    .create(format!("member {number}").as_str())?;
            }
        }
        _ => {}
    }
    Ok(true)
}

fn n_elements(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &length| product.saturating_mul(length))
}

/// What a dataset holds, as far as it matters here.
enum Content {
    Numbers(TypeDescriptor, Vec<f64>),
    Texts(Vec<String>),
    Other(TypeDescriptor),
}

impl Content {
    fn of(dataset: &Dataset) -> hdf5::Result<Self> {
        let descriptor = dataset.dtype()?.to_descriptor()?;
        Ok(match descriptor {
            // An earlier change made it longer than anything that can be held.
            other if n_elements(&dataset.shape()) > MOST_ELEMENTS => Self::Other(other),
            TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_) => {
                Self::Numbers(descriptor, dataset.read_raw::<f64>()?)
            }
            TypeDescriptor::VarLenUnicode
            | TypeDescriptor::VarLenAscii
            | TypeDescriptor::FixedAscii(_)
            | TypeDescriptor::FixedUnicode(_) => {
                Self::Texts((0..dataset.size()).map(|number| format!("name{number}")).collect())
            }
            other => Self::Other(other),
        })
    }

    fn descriptor(&self) -> TypeDescriptor {
        match self {
            Self::Numbers(descriptor, _) | Self::Other(descriptor) => descriptor.clone(),
            Self::Texts(_) => TypeDescriptor::VarLenUnicode,
        }
    }

    /// Fills a dataset of any length with the values in turn.
    fn write(&self, dataset: &Dataset) -> hdf5::Result<()> {
        let size = n_elements(&dataset.shape());
        if size == 0 || size > MOST_ELEMENTS {
            return Ok(());
        }
        match self {
            Self::Numbers(_, values) if !values.is_empty() => {
                dataset.write_raw(&values.iter().copied().cycle().take(size).collect::<Vec<_>>())
            }
            Self::Texts(texts) if !texts.is_empty() => {
                let texts = texts.iter().cycle().take(size).map(|text| text.parse().unwrap_or_default());
                dataset.write_raw(&texts.collect::<Vec<VarLenUnicode>>())
            }
            _ => Ok(()),
        }
    }
}

fn change_dataset(
    parent: &Group,
    name: &str,
    change: Change,
    elsewhere: &Path,
    random: &mut dyn FnMut(usize) -> usize,
) -> hdf5::Result<bool> {
    let dataset = parent.dataset(name)?;
    let mut shape = dataset.shape();
    let (mut descriptor, mut content) = (dataset.dtype()?.to_descriptor()?, Content::of(&dataset)?);
    let size = n_elements(&shape);
    let mut builder = parent.new_dataset_builder();
    let chunk = |length: usize| length.clamp(1, 4);
    match change {
        Change::Type(number) => descriptor = types(number),
        Change::Length(more) => {
            let Some(first) = shape.first_mut() else { return Ok(false) };
            *first = first.saturating_add_signed(more);
        }
        Change::Huge(length) => match &mut shape[..] {
            [] => return Ok(false),
            // Chunks alone can be left out.
            [first, ..] => *first = length,
        },
        Change::Rank(rank) if rank != shape.len() => {
            shape = match rank {
                0 => vec![],
                1 => vec![size],
                rank => [&vec![1; rank - 1][..], &[size]].concat(),
            };
        }
        Change::Rank(_) => return Ok(false),
        Change::Value(number) => match &mut content {
            Content::Numbers(_, values) if !values.is_empty() => values[random(size)] = VALUES[number],
            Content::Texts(texts) if !texts.is_empty() => {
                let odd = ["", "a\tb", "\u{feff}", "name0", "&#x10FFFF;&#xD800;", "..", "/", "a,\"b\n"];
                texts[random(size)] = odd[number % odd.len()].into();
            }
            _ => return Ok(false),
        },
        Change::ExternalData | Change::Virtual | Change::VirtualUnlimited => {
            let Some(leading) = lead_elsewhere(builder, change, &shape, elsewhere)? else { return Ok(false) };
            builder = leading;
        }
        Change::Compact => builder = builder.layout(hdf5::dataset::Layout::Compact),
        Change::Filters | Change::UnknownFilter => {
            if shape.is_empty() || size == 0 {
                return Ok(false);
            }
            let lengths: Vec<usize> = shape.iter().map(|&length| chunk(length)).collect();
            builder = builder.chunk(lengths).deflate(1);
            if change == Change::Filters {
                builder = builder.shuffle().fletcher32();
            }
        }
        _ => return Ok(false),
    }
    drop(dataset);
    parent.unlink(name)?;
    if matches!(change, Change::Huge(length) if length > 1 << 32) {
        builder = builder.chunk(shape.iter().map(|&length| chunk(length)).collect::<Vec<_>>());
    }
    let builder = builder.empty_as(&descriptor);
    let created = if change == Change::VirtualUnlimited {
        builder.shape(SimpleExtents::resizable(shape)).create(name)?
    } else {
        builder.shape(shape).create(name)?
    };
    let is_stored = !matches!(
        change,
        Change::Huge(_) | Change::ExternalData | Change::Virtual | Change::VirtualUnlimited
    );
    if is_stored && same_class(&descriptor, &content.descriptor()) {
        content.write(&created)?;
    }
    Ok(true)
}

/// Has the data looked for in the file `elsewhere`; nothing where the shape does not allow it.
fn lead_elsewhere(
    builder: DatasetBuilder,
    change: Change,
    shape: &[usize],
    elsewhere: &Path,
) -> hdf5::Result<Option<DatasetBuilder>> {
    let name = elsewhere.to_string_lossy();
    Ok(match change {
        Change::ExternalData => Some(builder.external(&name, 0, 1 << 20)),
        Change::Virtual => {
            let all = Selection::try_new(..)?;
            Some(builder.virtual_map(name, "data", shape, all.clone(), shape, all))
        }
        _ if shape.len() != 1 => None,
        _ => {
            let all = || Hyperslab::try_new(SliceOrIndex::Unlimited { start: 0, step: 1, block: 1 });
            let extents = SimpleExtents::resizable(shape);
            Some(builder.virtual_map(name, "data", extents.clone(), all()?, extents, all()?))
        }
    })
}

/// Whether libhdf5 converts between the two.
fn same_class(one: &TypeDescriptor, other: &TypeDescriptor) -> bool {
    let is_number = |descriptor: &TypeDescriptor| {
        use TypeDescriptor::{Float, Integer, Unsigned};
        matches!(descriptor, Integer(_) | Unsigned(_) | Float(_))
    };
    is_number(one) && is_number(other) || one == other
}

fn change_attribute(
    file: &File,
    object: &str,
    name: &str,
    change: Change,
    random: &mut dyn FnMut(usize) -> usize,
) -> hdf5::Result<bool> {
    let path = if object.is_empty() { "/" } else { object };
    let (group, dataset) = (file.group(path), file.dataset(path));
    let location: &Location = match (&group, &dataset) {
        (Ok(group), _) => group,
        (_, Ok(dataset)) => dataset,
        _ => return Ok(false),
    };
    let text = |text: &str| text.parse::<VarLenUnicode>().unwrap_or_default();
    let odd = [
        "",
        "csr_matrix",
        "csc_matrix",
        "array",
        "dataframe",
        "categorical",
        "obs/var",
        "..",
        "/",
        "frame",
        "index",
        "nowhere",
    ];
    match change {
        Change::Delete => location.delete_attr(name)?,
        Change::Type(number) => {
            location.delete_attr(name)?;
            let attribute = location.new_attr_builder().empty_as(types(number)).shape([3]).create(name)?;
            if number <= 10 {
                attribute.write_raw(&[1.0, 2.0, 3.0])?;
            }
        }
        Change::Value(number) => {
            location.delete_attr(name)?;
            if random(2) == 0 {
                let attribute = location.new_attr::<VarLenUnicode>().create(name)?;
                attribute.write_scalar(&text(odd[number % odd.len()]))?;
            } else {
                let attribute = location.new_attr::<i64>().shape([2]).create(name)?;
                #[allow(clippy::cast_possible_truncation, reason = "any number will do")]
                attribute.write_raw(&[VALUES[number] as i64, VALUES[random(VALUES.len())] as i64])?;
            }
        }
        Change::Length(more) => {
            location.delete_attr(name)?;
            let names = vec![text("name0"); usize::try_from(more + 2).unwrap_or(0)];
            let attribute = location.new_attr::<VarLenUnicode>().shape([names.len()]).create(name)?;
            if !names.is_empty() {
                attribute.write_raw(&names)?;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Gives every deflate filter in the closed file the number of one that nobody has, and heaps, which list them once more, a
/// checksum that fits.
pub fn patch_filters(bytes: &mut [u8]) -> usize {
    let all = |name: &[u8], bytes: &[u8]| -> Vec<usize> {
        (8..bytes.len().saturating_sub(8)).filter(|&at| bytes[at..].starts_with(name)).collect()
    };
    let heaps: Vec<_> =
        all(b"FRHP\0", bytes).into_iter().filter_map(|at| Some((at, heap_header(bytes, at)?))).collect();
    let found = all(b"deflate\0", bytes);
    for &at in &found {
        // Number, length of the name, flags and number of parameters come before the name.
        bytes[at - 8..at - 6].copy_from_slice(&NO_FILTER.to_le_bytes());
    }
    for (at, end) in heaps {
        let sum = checksum(&bytes[at..end]);
        bytes[end..end + 4].copy_from_slice(&sum.to_le_bytes());
    }
    found.len()
}

/// Where the checksum of the header of the fractal heap at `at` stands, if it fits.
fn heap_header(bytes: &[u8], at: usize) -> Option<usize> {
    /// Without filters; with them a size, a mask and the list.
    const PLAIN: usize = 142;
    const FILTERED: usize = 12;
    let length = usize::from(u16::from_le_bytes(*bytes.get(at + 7..)?.first_chunk()?));
    let end = at + PLAIN + if length > 0 { FILTERED + length } else { 0 };
    let stored = u32::from_le_bytes(*bytes.get(end..)?.first_chunk()?);
    (checksum(&bytes[at..end]) == stored).then_some(end)
}

/// HDF5's checksum of metadata: Bob Jenkins' lookup3.
fn checksum(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
    let [mut a, mut b, mut c] = [start; 3];
    let n_blocks = bytes.len().div_ceil(12);
    for (number, block) in bytes.chunks(12).enumerate() {
        let word = |at: usize| {
            (0..4).fold(0, |word, byte| word | u32::from(*block.get(at + byte).unwrap_or(&0)) << (8 * byte))
        };
        (a, b, c) = (a.wrapping_add(word(0)), b.wrapping_add(word(4)), c.wrapping_add(word(8)));
        if number + 1 < n_blocks {
            for [one, two] in [[4, 6], [8, 16], [19, 4]] {
                // One of the three rounds each, with the letters moved on.
                a = a.wrapping_sub(c) ^ c.rotate_left(one);
                c = c.wrapping_add(b);
                b = b.wrapping_sub(a) ^ a.rotate_left(two);
                a = a.wrapping_add(c);
                (a, b, c) = (c, a, b);
            }
        } else {
            for turn in [[14, 11, 25], [16, 4, 14]] {
                c = (c ^ b).wrapping_sub(b.rotate_left(turn[0]));
                a = (a ^ c).wrapping_sub(c.rotate_left(turn[1]));
                b = (b ^ a).wrapping_sub(a.rotate_left(turn[2]));
            }
            c = (c ^ b).wrapping_sub(b.rotate_left(24));
        }
    }
    c
}
