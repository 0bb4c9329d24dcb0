//! The memory budget, and the memory that was taken.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use crate::budget::human_bytes;

/// Parses "8G", "512M", "1.5T", "2000000" or "8 GiB"; units are powers of 1024.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{unit:?} is not a unit: use K, M, G or T, as in 8G")),
    };
    let number: f64 = number.parse().map_err(|_| "give a size such as 8G".to_owned())?;
    let bytes = number * (1_u64 << shift) as f64;
    if bytes >= 1.0 && bytes < u64::MAX as f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        return Ok(bytes as u64);
    }
    Err("give a size such as 8G".into())
}

/// What the machine has, or the smallest limit of the cgroups this process is in (a batch job's share);
/// `u64::MAX` when neither is known.
pub(super) fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        parse_bytes(line.trim().trim_end_matches("kB").trim()).ok().map(|kib| kib << 10)
    });
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(limit_files);
    // "max" does not parse and means no limit.
    let limits = limits.filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    limits.chain(machine).min().unwrap_or(u64::MAX)
}

/// Files with the limits of a group and of all groups around it, for a line of `/proc/self/cgroup`:
/// "0::/slurm/job_7" (version 2) or "4:memory:/slurm/job_7" (version 1).
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
}

/// Memory of this process as the kernel counts it, in bytes; 0 where it does not tell.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Resident {
    /// The most that was resident at any time, of either kind.
    peak_resident_bytes: u64,
    /// The most that was seen of the process's own memory.
    peak_anonymous_bytes: u64,
    /// The most that was seen of mapped files, which the system can take back at any time.
    peak_mapped_bytes: u64,
}

/// Looks at [`Resident`] now and then: the kernel remembers the peak of the sum only.
#[derive(Debug, Default)]
pub(super) struct Watch {
    anonymous: Cell<u64>,
    mapped: Cell<u64>,
}

impl Watch {
    /// Looks now.
    pub(super) fn look(&self) {
        let status = status();
        let see = |cell: &Cell<u64>, key| cell.set(cell.get().max(field(&status, key)));
        see(&self.anonymous, "RssAnon:");
        see(&self.mapped, "RssFile:");
    }

    pub(super) fn resident(&self) -> Resident {
        self.look();
        Resident {
            peak_resident_bytes: peak_bytes(),
            peak_anonymous_bytes: self.anonymous.get(),
            peak_mapped_bytes: self.mapped.get(),
        }
    }
}

impl Resident {
    /// For people.
    pub(super) fn text(&self) -> String {
        format!(
            "peak memory {} (own {}, mapped files {})",
            human_bytes(self.peak_resident_bytes),
            human_bytes(self.peak_anonymous_bytes),
            human_bytes(self.peak_mapped_bytes)
        )
    }
}

/// The most memory that was resident at any time, for people.
pub(super) fn peak() -> String {
    format!("peak memory {}", human_bytes(peak_bytes()))
}

fn peak_bytes() -> u64 {
    field(&status(), "VmHWM:")
}

fn status() -> String {
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// "RssAnon:     1234 kB" in bytes.
fn field(status: &str, key: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    value.trim().trim_end_matches("kB").trim().parse::<u64>().map_or(0, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_all_groups_around_a_job_are_looked_at() {
        let files = limit_files("0::/slurm/job_7");
        let expected = ["slurm/job_7/memory.max", "slurm/memory.max", "memory.max"];
        assert_eq!(files, expected.map(|file| Path::new("/sys/fs/cgroup").join(file)));
        assert_eq!(limit_files("4:cpu,memory:/a").len(), 2);
        assert!(limit_files("4:cpu:/a").is_empty());
        assert!(limit_files("nonsense").is_empty());
    }

    #[test]
    fn the_kernel_tells_what_is_resident() {
        assert_eq!(field("VmPeak: 9 kB\nRssAnon:\t    1024 kB\n", "RssAnon:"), 1 << 20);
        assert_eq!(field("", "RssAnon:"), 0);
        let resident = Watch::default().resident();
        assert!(resident.peak_anonymous_bytes > 0 && resident.peak_mapped_bytes > 0);
        assert!(resident.peak_resident_bytes >= resident.peak_anonymous_bytes);
    }

    #[test]
    fn sizes_parse() {
        assert_eq!(parse_bytes("8G"), Ok(8 << 30));
        assert_eq!(parse_bytes("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("512mb"), Ok(512 << 20));
        assert_eq!(parse_bytes("2000000"), Ok(2_000_000));
        for bad in ["", "G", "8X", "-1G", "0", "1e400T", "1..2G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
