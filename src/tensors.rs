//! Writing safetensors into a file that exists already. (The crate's own function makes a temporary file of its own,
//! which a killed run would leave behind under a name that nobody knows.)

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufWriter, Error as IoError, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use crate::error::{Error, Result};

/// The header ends at a multiple of this many bytes.
const ALIGNMENT: usize = 8;
const BUFFER_BYTES: usize = 1 << 20;

/// Fills `path` with the tensors and one entry of metadata. `what` says what is written, as in "cannot {what}".
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(
    path: &Path,
    what: &'static str,
    mut tensors: Vec<(String, TensorView<'_>)>,
    metadata: (&str, String),
) -> Result<()> {
    let failed = |source: IoError| Error::io(path, what, source);
    tensors.sort_by(|(a_name, a), (b_name, b)| b.dtype().cmp(&a.dtype()).then(a_name.cmp(b_name)));
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += tensor.data().len();
        let shape = tensor.shape().to_vec();
        (name.clone(), TensorInfo { dtype: tensor.dtype(), shape, data_offsets: (start, end) })
    });
    let metadata = HashMap::from([(metadata.0.to_owned(), metadata.1)]);
    let header = Metadata::new(Some(metadata), infos.collect()).map_err(|e| failed(IoError::other(e)))?;
    let mut header = serde_json::to_vec(&header).map_err(|e| failed(e.into()))?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');

    let file = OpenOptions::new().write(true).truncate(true).open(path).map_err(failed)?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(failed);
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    tensors.iter().try_for_each(|(_, tensor)| put(tensor.data()))?;
    out.flush().map_err(failed)
}
