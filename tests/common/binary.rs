//! Running the real binary in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A directory for one test, and the binary run inside it.
pub struct Workplace {
    dir: tempfile::TempDir,
}

/// How a run ended.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Workplace {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Everything in the directory, sorted; directories with what is in them.
    pub fn listing(&self) -> Vec<String> {
        fn visit(dir: &Path, prefix: &str, out: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    visit(&entry.path(), &format!("{name}/"), out);
                }
                out.push(name);
            }
        }
        let mut out = Vec::new();
        visit(self.dir.path(), "", &mut out);
        out.sort();
        out
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.finish(Command::new(env!("CARGO_BIN_EXE_late-fast")).args(arguments))
    }

    /// Runs with files that may not grow beyond `kib` KiB: writing fails half-way, as on a full disk.
    pub fn run_on_small_disk(&self, kib: u32, arguments: &[&str]) -> Run {
        let limit = format!("ulimit -f {kib}; trap '' XFSZ; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &limit, env!("CARGO_BIN_EXE_late-fast")]);
        self.finish(command.args(arguments))
    }

    fn finish(&self, command: &mut Command) -> Run {
        let output: Output = command.current_dir(self.dir.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Starts a run whose words go nowhere.
    pub fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_late-fast"))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Runs and expects success.
    #[track_caller]
    pub fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}\nstdout: {}\nstderr: {}", run.stdout, run.stderr);
        run
    }

    /// Runs and expects exit code 1, an error that names all of `parts`, and nothing written or changed.
    #[track_caller]
    pub fn fail(&self, arguments: &[&str], parts: &[&str]) {
        self.fail_with(1, arguments, parts);
    }

    /// As [`Workplace::fail`], with another exit code.
    #[track_caller]
    pub fn fail_with(&self, code: i32, arguments: &[&str], parts: &[&str]) {
        let before = self.listing();
        let run = self.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}\nstdout: {}\nstderr: {}", run.stdout, run.stderr);
        let message =
            run.stderr.lines().filter(|line| !line.starts_with("note: ")).collect::<Vec<_>>().join("\n");
        for part in parts {
            assert!(message.contains(part), "{arguments:?}\nexpected {part:?} in:\n{message}");
        }
        assert_eq!(self.listing(), before, "{arguments:?} left something behind");
    }
}
