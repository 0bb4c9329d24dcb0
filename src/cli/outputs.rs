//! Whether outputs can be written, found out before work is done for them.

use std::path::{Path, PathBuf};

use crate::atomic::{is_same_file, parent, try_directory};
use crate::error::{Error, Result};
use crate::output::{self, Format};

/// Makes sure that an output can be written, and replaces none of the files that are `read`.
pub(super) fn check_output(out: &Path, format: Format, read: &[PathBuf], force: bool) -> Result<()> {
    let is_replaced = |file: &&PathBuf| {
        is_same_file(out, file) || (format == Format::Mtx && is_same_file(out, parent(file)))
    };
    if let Some(file) = read.iter().find(is_replaced) {
        return Err(Error::Usage {
            problem: format!("writing {} would replace {}, which is read", out.display(), file.display()),
            remedy: "choose another name for the output".into(),
        });
    }
    output::refuse_existing(out, format, force)?;
    try_directory(parent(out))
}
