//! What is in files, so that those of two runs can be compared.

use std::path::Path;

use hdf5::types::{FixedAscii, TypeDescriptor, VarLenUnicode};

use super::counts::unlocked;

/// Longer than any fixed-length string that is written here.
const LONGEST: usize = 256;

/// Every dataset and attribute of a file with its shape, chunks and content.
pub fn content(path: &Path) -> Vec<String> {
    fn raw(dataset: &hdf5::Container) -> String {
        match dataset.dtype().unwrap().to_descriptor().unwrap() {
            TypeDescriptor::VarLenUnicode => format!("{:?}", dataset.read_raw::<VarLenUnicode>().unwrap()),
            TypeDescriptor::Boolean => format!("{:?}", dataset.read_raw::<bool>().unwrap()),
            TypeDescriptor::FixedAscii(_) => {
                format!("{:?}", dataset.read_raw::<FixedAscii<LONGEST>>().unwrap())
            }
            TypeDescriptor::Float(_) => format!("{:?}", dataset.read_raw::<f64>().unwrap()),
            _ => format!("{:?}", dataset.read_raw::<i64>().unwrap()),
        }
    }
    fn attributes(object: &hdf5::Location, out: &mut Vec<String>) {
        for name in object.attr_names().unwrap() {
            let attribute = object.attr(&name).unwrap();
            let value = if attribute.size() == 0 { String::new() } else { raw(&attribute) };
            out.push(format!(
                "{}@{name} {:?} {value}",
                object.name(),
                attribute.dtype().unwrap().to_descriptor()
            ));
        }
    }
    fn visit(group: &hdf5::Group, out: &mut Vec<String>) {
        attributes(group, out);
        for dataset in group.datasets().unwrap() {
            let kind = dataset.dtype().unwrap().to_descriptor().unwrap();
            let layout = (dataset.shape(), dataset.chunk(), dataset.filters());
            let value = if dataset.size() == 0 { String::new() } else { raw(&dataset) };
            out.push(format!("{} {kind:?} {layout:?} {value}", dataset.name()));
            attributes(&dataset, out);
        }
        group.groups().unwrap().iter().for_each(|group| visit(group, out));
    }
    let file = unlocked().open(path).unwrap();
    let mut out = Vec::new();
    visit(&file.group("/").unwrap(), &mut out);
    out.sort();
    out
}

/// Every file below a directory with what is in it, but for wall times.
pub fn files_in(dir: &Path) -> Vec<(String, Vec<String>)> {
    fn visit(dir: &Path, prefix: &str, out: &mut Vec<(String, Vec<String>)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                visit(&path, &format!("{name}/"), out);
            } else {
                out.push((name, of_file(&path)));
            }
        }
    }
    let mut out = Vec::new();
    visit(dir, "", &mut out);
    out.sort();
    out
}

fn of_file(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    if path.ends_with("history.csv") {
        let text = String::from_utf8(bytes).unwrap();
        return text.lines().map(|line| line.rsplitn(3, ',').last().unwrap().to_owned()).collect();
    }
    // Other bytes of an HDF5 file may differ: times, and where objects lie.
    if bytes.starts_with(b"\x89HDF") { content(path) } else { vec![blake3::hash(&bytes).to_string()] }
}
