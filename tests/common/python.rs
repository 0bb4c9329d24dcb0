//! Python, for comparisons with what others wrote.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The version of `python3`, if there is one.
pub fn version() -> Option<(u32, u32)> {
    let code = "import sys; print(sys.version_info[0], sys.version_info[1])";
    let output = Command::new("python3").args(["-c", code]).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    let (major, minor) = text.trim().split_once(' ').unwrap();
    Some((major.parse().unwrap(), minor.parse().unwrap()))
}

/// The interpreter of an environment of this name with the requirements listed in the file, made when it is not there
/// yet.
pub fn environment(name: &str, list: &Path) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_test_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    // Beside the build: target/<profile>/deps/<test> is this program.
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let dir = target.join("python").join(name);
    let python = dir.join("bin/python");
    let complete = dir.join("complete.txt");
    let wanted = std::fs::read_to_string(list).unwrap();
    if std::fs::read_to_string(&complete).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{} {arguments:?}: {error}", program.display());
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", dir.to_str().unwrap()]);
    run(&python, &["-m", "pip", "install", "--quiet", "--requirement", list.to_str().unwrap()]);
    std::fs::write(complete, wanted).unwrap();
    python
}
