//! The report.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::report::{awkward, demo};

#[test]
fn look() {
    for (name, report) in [("demo", demo(3000)), ("awkward", awkward())] {
        let dir = std::path::Path::new("/tmp/report").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        late_fast::report::write(&report, &dir).unwrap();
    }
}
