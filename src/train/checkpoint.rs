//! Checkpoints: the whole state of a run between two steps, from which it goes on with the same bits.
//!
//! `checkpoint-<steps>.safetensors` in the run's directory: one U8 tensor for every array of [`arrays`], its bytes as in
//! memory, and metadata `late_fast_checkpoint` (JSON of [`Header`], with a BLAKE3 hash of all arrays). Version 1; files
//! of another version are refused. The last two are kept, and removed when the run's results are written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::run::{Observer, Position};
use crate::atomic::{remove_abandoned, write_atomically};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::model::{Network, Precision, Snapshot, arrays};
use crate::store::{Fingerprint, Map};
use crate::tensors;

const VERSION: u32 = 1;
const METADATA_KEY: &str = "late_fast_checkpoint";
const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";
/// The last one, and one before it in case that is damaged.
const KEPT: usize = 2;

/// What a run must have in common with the one that wrote a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The settings, of which those that only say when to stop may differ.
    pub config: TrainConfig,
    /// What tells the matrix from others.
    pub input: Fingerprint,
    /// The kernels: others round differently.
    pub kernels: String,
    /// A hash of the model that training started from, if any; checkpoints of earlier versions do not say.
    #[serde(default)]
    pub reference: Option<String>,
}

/// What a checkpoint says beside its arrays.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format_version: u32,
    late_fast_version: String,
    identity: Identity,
    position: Position,
    arrays_hash: String,
}

/// Writes checkpoints of a run when it is time, and finds the last one.
#[derive(Debug)]
pub struct Keeper {
    dir: PathBuf,
    identity: Identity,
    interval: Option<Duration>,
    stop: Arc<AtomicBool>,
    last: Instant,
}

/// Why a checkpoint is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The interval is over.
    Interval,
    /// The run is to stop.
    Stop,
}

impl Keeper {
    /// Keeps checkpoints in `dir`, one every `interval` and one when `stop` becomes true.
    pub fn new(dir: &Path, identity: Identity, interval: Option<Duration>, stop: Arc<AtomicBool>) -> Self {
        Self { dir: dir.to_owned(), identity, interval, stop, last: Instant::now() }
    }

    pub(super) fn is_due(&self) -> Option<Due> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(Due::Stop);
        }
        self.interval.is_some_and(|interval| self.last.elapsed() >= interval).then_some(Due::Interval)
    }

    /// Writes a checkpoint and removes those before the last two.
    pub(super) fn write<S: Precision>(
        &mut self,
        network: &mut Network<S>,
        best: &mut Snapshot<S>,
        position: &Position,
    ) -> Result<PathBuf> {
        let path = self.dir.join(format!("{PREFIX}{:012}{SUFFIX}", position.steps));
        let arrays = arrays(network, best);
        let header = Header {
            format_version: VERSION,
            late_fast_version: env!("CARGO_PKG_VERSION").into(),
            identity: self.identity.clone(),
            position: position.clone(),
            arrays_hash: hash_of(arrays.iter().map(|(name, bytes)| (name.as_str(), &**bytes))),
        };
        write_atomically(&path, true, |temporary| write_file(temporary, &header, &arrays))?;
        for old in list(&self.dir)?.into_iter().skip(KEPT) {
            std::fs::remove_file(&old).map_err(|e| Error::io(&old, "remove the old checkpoint", e))?;
        }
        // Counted from the end: where writing takes longer than the interval, training goes on all the same.
        self.last = Instant::now();
        Ok(path)
    }

    /// Postpones the next attempt, after one that failed.
    pub(super) fn postpone(&mut self) {
        self.last = Instant::now();
    }

    /// Fills `network` and `best` from the last checkpoint that is whole and says where it was taken; `None` when there
    /// is no checkpoint.
    ///
    /// # Errors
    /// When the last one is of another run, or all are damaged.
    pub fn restore<S: Precision>(
        &self,
        network: &mut Network<S>,
        best: &mut Snapshot<S>,
        observer: &dyn Observer,
    ) -> Result<Option<Position>> {
        remove_abandoned(&self.dir, &format!(".{PREFIX}"))
            .map_err(|e| Error::io(&self.dir, "look for checkpoints", e))?;
        let found = list(&self.dir)?;
        for (number, path) in found.iter().enumerate() {
            match self.read(path, network, best, observer) {
                Ok(position) => return Ok(Some(position)),
                Err(error @ Error::Input(_)) if number + 1 < found.len() => {
                    observer.note(&format!("note: {error}; the checkpoint before it is used"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn read<S: Precision>(
        &self,
        path: &Path,
        network: &mut Network<S>,
        best: &mut Snapshot<S>,
        observer: &dyn Observer,
    ) -> Result<Position> {
        let map = Map::open(path)?;
        let damaged = |object: &str, expected: &str, found: String| {
            let remedy = "it is damaged: if there is no other one, start over with --force";
            Error::input(path, object, expected, found, remedy)
        };
        let tensors = SafeTensors::deserialize(map.bytes())
            .map_err(|e| damaged("file", "a checkpoint of late-fast", e.to_string()))?;
        let header = read_header(map.bytes()).map_err(|found| damaged("header", "a checkpoint's", found))?;
        if header.format_version != VERSION {
            return Err(Error::Usage {
                problem: format!(
                    "{}: written by late-fast {}, which this version cannot go on from",
                    path.display(),
                    header.late_fast_version
                ),
                remedy: "go on with that version, or start over with --force".into(),
            });
        }
        let (own, found) = (&self.identity, &header.identity);
        own.check(path, found)?;
        if found.kernels != own.kernels {
            observer.note(&format!(
                "note: the checkpoint was written with {} kernels and training goes on with {}: its bits will differ \
                 from those of an uninterrupted run",
                found.kernels, own.kernels
            ));
        }
        let mut arrays = arrays(network, best);
        for (name, bytes) in &mut arrays {
            let found = tensors.tensor(name).map_err(|e| damaged(name, "an array", e.to_string()))?;
            if found.dtype() != Dtype::U8 || found.data().len() != bytes.len() {
                let found = format!("{:?} {:?}", found.dtype(), found.shape());
                return Err(damaged(name, &format!("{} bytes", bytes.len()), found));
            }
            bytes.copy_from_slice(found.data());
        }
        let hash = hash_of(arrays.iter().map(|(name, bytes)| (name.as_str(), &**bytes)));
        if hash != header.arrays_hash {
            return Err(damaged("arrays", &format!("hash {}", header.arrays_hash), hash));
        }
        network.steps = header.position.steps;
        Ok(header.position)
    }
}

impl Identity {
    /// Refuses the last checkpoint in `dir` if it is of another run. One that is damaged is left to
    /// the run, which goes on from the one before.
    ///
    /// # Errors
    /// Says what differs.
    pub fn check_last(&self, dir: &Path) -> Result<()> {
        let Some(path) = list(dir)?.into_iter().next() else { return Ok(()) };
        match read_header(Map::open(&path)?.bytes()) {
            Ok(header) if header.format_version == VERSION => self.check(&path, &header.identity),
            _ => Ok(()),
        }
    }

    fn check(&self, path: &Path, found: &Self) -> Result<()> {
        let Self { config: own, .. } = self;
        let config = TrainConfig { epochs: own.epochs, patience: own.patience, ..found.config.clone() };
        let differs = if found.input != self.input {
            "another matrix"
        } else if found.reference != self.reference {
            "another model to start from (--init)"
        } else if config != *own {
            "other settings"
        } else {
            return Ok(());
        };
        Err(Error::Usage {
            problem: format!("{}: the checkpoint is of a run with {differs}", path.display()),
            remedy: "repeat the command of that run with --resume, choose another --out, or start over with --force"
                .into(),
        })
    }
}

/// The checkpoints in `dir`, the last first.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io(dir, "look for checkpoints", e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        if let Some(steps) = number.and_then(|number| number.parse::<u64>().ok()) {
            found.push((steps, dir.join(&name)));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Removes all checkpoints from `dir`.
///
/// # Errors
/// When one cannot be removed.
pub fn remove_all(dir: &Path) -> Result<()> {
    for path in list(dir)? {
        std::fs::remove_file(&path).map_err(|e| Error::io(&path, "remove the checkpoint", e))?;
    }
    Ok(())
}

fn write_file(path: &Path, header: &Header, arrays: &[(String, &mut [u8])]) -> Result<()> {
    let broken = |e: &dyn std::fmt::Display| {
        Error::io(path, "write the checkpoint", std::io::Error::other(e.to_string()))
    };
    let mut tensors = Vec::with_capacity(arrays.len());
    for (name, bytes) in arrays {
        let view = TensorView::new(Dtype::U8, vec![bytes.len()], bytes).map_err(|e| broken(&e))?;
        tensors.push((name.clone(), view));
    }
    let header = serde_json::to_string(header).map_err(|e| broken(&e))?;
    tensors::write(path, "write the checkpoint", tensors, (METADATA_KEY, header))
}

fn read_header(bytes: &[u8]) -> Result<Header, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let text = metadata.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
    let text = text.ok_or_else(|| format!("no entry {METADATA_KEY}"))?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// A hash of names and contents, in hexadecimal.
fn hash_of<'a>(arrays: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in arrays {
        for length in [name.len(), bytes.len()] {
            hasher.update(&(length as u64).to_le_bytes());
        }
        hasher.update(name.as_bytes());
        hasher.update_rayon(bytes);
    }
    hasher.finalize().to_hex().to_string()
}
