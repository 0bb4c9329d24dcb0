//! Which part of an imputation one job of an array does.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};

/// One of several parts of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shard {
    /// Counted from 1.
    pub number: u64,
    /// How many there are.
    pub count: u64,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((number, count)) if 1 <= number && number <= count => Ok(Self { number, count }),
            _ => Err("give number/count, counted from 1, as in 3/10, or slurm".into()),
        }
    }
}

impl Shard {
    /// The shard of a task of a Slurm job array, whose environment is asked through `variable`.
    ///
    /// # Errors
    /// When a variable is missing, or the tasks are not numbered by equal steps.
    pub fn from_slurm(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let read = |name: &str| {
            let text = variable(name);
            text.as_deref().and_then(|text| text.trim().parse::<u64>().ok()).ok_or_else(|| Error::Usage {
                problem: match text {
                    Some(text) => format!("--shard slurm: {name} is {text:?}, not a number"),
                    None => format!("--shard slurm: {name} is not set"),
                },
                remedy: "run it in a job array (sbatch --array=1-100), or give --shard number/count".into(),
            })
        };
        let id = read("SLURM_ARRAY_TASK_ID")?;
        let first = read("SLURM_ARRAY_TASK_MIN")?;
        let step = read("SLURM_ARRAY_TASK_STEP")?;
        let count = read("SLURM_ARRAY_TASK_COUNT")?;
        let place = id.checked_sub(first).filter(|place| step > 0 && place.is_multiple_of(step));
        match place.map(|place| place / step) {
            Some(place) if place < count => Ok(Self { number: place + 1, count }),
            _ => Err(Error::Usage {
                problem: format!(
                    "--shard slurm: task {id} is not one of {count} tasks from {first} in steps of {step}"
                ),
                remedy: "number the tasks by equal steps, as in --array=1-100, or give --shard number/count"
                    .into(),
            }),
        }
    }

    /// Its samples of `len`, which go through the network `batch_size` at a time: whole batches, since the form of
    /// a batch's products depends on all that is in it. Shards have as many batches, give or take one; there are
    /// empty ones when there are fewer batches than shards.
    pub fn range(self, len: usize, batch_size: usize) -> Range<usize> {
        let n_batches = len.div_ceil(batch_size.max(1)) as u128;
        let end_of = |number: u64| {
            let batches = n_batches * u128::from(number) / u128::from(self.count.max(1));
            usize::try_from(batches).unwrap_or(usize::MAX).saturating_mul(batch_size).min(len)
        };
        end_of(self.number - 1)..end_of(self.number)
    }

    /// The shard's file beside the whole one: `out.shard-0003-of-0010.h5ad`.
    pub fn path(self, out: &Path) -> PathBuf {
        let stem = out.file_stem().unwrap_or_default();
        let mut name = stem.to_owned();
        name.push(format!(".shard-{:04}-of-{:04}", self.number, self.count));
        if let Some(extension) = out.extension() {
            name.push(".");
            name.push(extension);
        }
        out.with_file_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_whole_batches_and_cover_everything() {
        for len in [0, 1, 255, 256, 257, 3000, 1_306_127, 5_000_000_000] {
            for count in [1, 2, 3, 7, 100, 5000] {
                let mut end = 0;
                for number in 1..=count {
                    let range = Shard { number, count }.range(len, 256);
                    assert_eq!(range.start, end, "{number}/{count} of {len}");
                    assert!(range.end == len || range.end.is_multiple_of(256));
                    end = range.end;
                }
                assert_eq!(end, len, "{count} of {len}");
            }
        }
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!("3/10".parse(), Ok(Shard { number: 3, count: 10 }));
        for bad in ["0/3", "4/3", "3", "/", "1/0", "a/b", "-1/3", "1/3/4"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_says_which_shard_it_is() {
        let shard = Shard { number: 3, count: 10 };
        assert_eq!(shard.path(Path::new("a/out.h5ad")), Path::new("a/out.shard-0003-of-0010.h5ad"));
        assert_eq!(shard.path(Path::new("out")), Path::new("out.shard-0003-of-0010"));
    }

    #[test]
    fn slurm_numbers_tasks_from_anywhere_in_equal_steps() {
        let shard = |values: [&str; 4]| {
            let names = ["ID", "MIN", "STEP", "COUNT"].map(|name| format!("SLURM_ARRAY_TASK_{name}"));
            Shard::from_slurm(|name| {
                let at = names.iter().position(|known| known == name)?;
                (!values[at].is_empty()).then(|| values[at].to_owned())
            })
        };
        assert_eq!(shard(["3", "1", "1", "10"]).unwrap(), Shard { number: 3, count: 10 });
        assert_eq!(shard(["0", "0", "1", "10"]).unwrap(), Shard { number: 1, count: 10 });
        assert_eq!(shard(["18", "10", "4", "3"]).unwrap(), Shard { number: 3, count: 3 });
        for bad in [
            ["", "1", "1", "10"],
            ["3", "1", "1", ""],
            ["3", "1", "x", "10"],
            ["11", "1", "1", "10"],
            ["12", "10", "4", "3"],
            ["9", "10", "4", "3"],
            ["1", "1", "0", "3"],
        ] {
            assert!(shard(bad).is_err(), "{bad:?}");
        }
    }
}
