//! Model files and checkpoints.

use std::sync::Arc;

use late_fast::config::TrainConfig;
use late_fast::model::{Architecture, Features, ModelFile, Network, Placement, StoredModel};
use late_fast::store::Fingerprint;
use late_fast::train::{EpochRecord, Identity, Keeper, Observer};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::{directory, parts};

const HIDDEN: [usize; 1] = [2];
const FEATURES: usize = 3;

fn architecture() -> Architecture {
    Architecture { n_features: FEATURES, hidden: HIDDEN.to_vec() }
}

fn settings() -> TrainConfig {
    TrainConfig { hidden: HIDDEN.to_vec(), ..TrainConfig::default() }
}

/// A safetensors file of these tensors with one entry of metadata.
fn file(tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)], key: &str, metadata: String) -> Vec<u8> {
    let views = tensors.iter().filter_map(|(name, dtype, shape, bytes)| {
        Some((name.clone(), TensorView::new(*dtype, shape.clone(), bytes).ok()?))
    });
    let metadata = std::collections::HashMap::from([(key.to_owned(), metadata)]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// A model file. The first byte: 0, the rest is the file; else the rest is its description, its features and the bytes of
/// its weights, and the target puts them together with a hash that fits.
pub fn model(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let bytes = if kind == 0 { rest.to_vec() } else { build_model(rest) };
    let dir = directory();
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    if let Ok(model) = ModelFile::read(&path) {
        assert_eq!(model.features.len(), model.network.architecture.n_features);
        model.network.architecture.describe();
    }
    if let Ok(stored) = StoredModel::open(&path) {
        stored.hash();
    }
}

fn build_model(rest: &[u8]) -> Vec<u8> {
    let [info, features, weights] = parts(rest);
    let mut info_text = String::from_utf8_lossy(info).into_owned();
    if let (Ok(mut info), Ok(features)) =
        (serde_json::from_slice::<Value>(info), serde_json::from_slice::<Features>(features))
        && let Some(fields) = info.as_object_mut()
    {
        fields.insert("features_hash".into(), features.hash().into());
        info_text = info.to_string();
    }
    let mut weights = weights.iter().copied().cycle();
    let architecture = architecture();
    let mut tensors = vec![("features".to_owned(), Dtype::U8, vec![features.len()], features.to_vec())];
    for (name, shape) in architecture.value_names().zip(architecture.value_shapes()) {
        let length = shape.iter().product::<usize>() * size_of::<f32>();
        let mut bytes: Vec<u8> = weights.by_ref().take(length).collect();
        bytes.resize(length, 0);
        tensors.push((name, Dtype::F32, shape, bytes));
    }
    file(&tensors, "late_fast", info_text)
}

/// Tells nobody.
struct Silent;

impl Observer for Silent {
    fn step(&self, _: u64, _: usize, _: f64) {}
    fn epoch(&self, _: &EpochRecord) {}
    fn note(&self, _: &str) {}
}

/// A checkpoint. The first byte: 0, the rest is the file; else the rest is the position it was taken at, and the target puts
/// a file together that is whole otherwise.
pub fn checkpoint(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let input = Fingerprint { names: "names".into(), counts: "counts".into() };
    let identity = Identity { config: settings(), input, kernels: "reference".into(), reference: None };
    let mut network: Network = Network::initialised(architecture(), 1).unwrap();
    let mut best = network.snapshot(Placement::Memory).unwrap();
    let bytes = if kind == 0 { rest.to_vec() } else { build_checkpoint(rest, &identity, &mut network) };
    let dir = directory();
    std::fs::write(dir.path().join("checkpoint-000000000001.safetensors"), bytes).unwrap();
    let keeper = Keeper::new(dir.path(), identity.clone(), None, Arc::default());
    let _ = identity.check_last(dir.path());
    let _ = keeper.restore(&mut network, &mut best, &Silent);
}

fn build_checkpoint(position: &[u8], identity: &Identity, network: &mut Network) -> Vec<u8> {
    let mut best = network.snapshot(Placement::Memory).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut tensors = Vec::new();
    for (name, bytes) in late_fast::model::arrays(network, &mut best) {
        for length in [name.len(), bytes.len()] {
            hasher.update(&(length as u64).to_le_bytes());
        }
        hasher.update(name.as_bytes());
        hasher.update(bytes);
        tensors.push((name, Dtype::U8, vec![bytes.len()], bytes.to_vec()));
    }
    // As text: what no JSON parser would take must reach ours, too.
    let header = json!({
        "format_version": 1,
        "late_fast_version": "0",
        "identity": identity,
        "position": "POSITION",
        "arrays_hash": hasher.finalize().to_hex().to_string(),
    });
    let header = header.to_string().replace("\"POSITION\"", &String::from_utf8_lossy(position));
    file(&tensors, "late_fast_checkpoint", header)
}
