//! Files that lead to other files: none of those is opened, and no plugin is loaded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::binary::Workplace;
use common::counts::unlocked;
use targets::mutate::{self, Change, Place};

const LONGEST: Duration = Duration::from_secs(10);
/// Layouts that are tried; the others have the same objects.
const LAYOUTS: [u8; 6] = [0, 1, 2, 4, 6, 7];
/// Which file the test of the plugin itself reads.
const FILE_VARIABLE: &str = "LATE_FAST_TEST_FILE";

/// Runs `inspect` where plugins are looked for in `plugins`; the exit code and what was said, or `None` when it hung.
fn inspect(place: &Workplace, file: &str) -> Option<(Option<i32>, String)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_late-fast"))
        .args(["inspect", file])
        .current_dir(place.path(""))
        .env("HDF5_PLUGIN_PATH", place.path("plugins"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(place.path("words")).unwrap())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < LONGEST {
        if let Some(status) = child.try_wait().unwrap() {
            return Some((status.code(), std::fs::read_to_string(place.path("words")).unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// The objects and attributes of a file, which is closed again.
fn places(file: &Path) -> Vec<Place> {
    mutate::places(&unlocked().open(file).unwrap())
}

/// Who opens a pipe that nobody writes to waits for ever.
#[test]
fn nothing_leads_out_of_the_file() {
    let place = Workplace::new();
    let pipe = place.path("elsewhere.h5");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let changes = [
        (Change::External, "a link to another file"),
        (Change::SoftExternal, "a link to another file"),
        (Change::ExternalData, "data in an external file"),
        (Change::Virtual, "a virtual dataset"),
        (Change::VirtualUnlimited, "a virtual dataset"),
    ];
    let file = place.path("in.h5");
    let mut tried = 0;
    for layout in LAYOUTS {
        targets::write_layout(&file, layout, false);
        for object in places(&file) {
            for (change, found) in changes {
                targets::write_layout(&file, layout, false);
                let open = unlocked().open_rw(&file).unwrap();
                let changed = mutate::apply(&open, &object, change, &pipe, &mut |_| 0);
                open.close().unwrap();
                if !changed {
                    continue;
                }
                tried += 1;
                let case = format!("layout {layout}, {object:?}, {change:?}");
                let Some((code, words)) = inspect(&place, "in.h5") else {
                    panic!("{case}: the other file was opened")
                };
                // What is not needed is not looked at.
                let refused = code == Some(1) && words.contains("in.h5: ");
                assert!(code == Some(0) || refused, "{case}: {code:?} {words}");
                let Place::Dataset(path) = &object else { continue };
                let is_needed =
                    ["/matrix/data", "/hg19/data", "/X/data", "/X", "/matrix", "/frame/block0_values"];
                if is_needed.contains(&path.as_str()) {
                    // The change adds a link of its own beside the dataset.
                    let is_named =
                        [&path[1..], "late_fast_elsewhere"].iter().any(|name| words.contains(name));
                    assert!(refused && words.contains(found) && is_named, "{case}: {words}");
                }
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

/// Builds a plugin that leaves `loaded` when it is loaded.
fn plugin(place: &Workplace) {
    let source = place.path("plugin.c");
    let marker = place.path("loaded");
    let code = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void loaded(void) {{ fclose(fopen({:?}, \"w\")); }}\n",
        marker.to_str().unwrap()
    );
    std::fs::write(&source, code).unwrap();
    std::fs::create_dir(place.path("plugins")).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let library = place.path("plugins/libplugin.so");
    let built = Command::new(compiler).args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(built.unwrap().success(), "the C compiler failed");
}

/// Makes `change`, then gives the filter the number of one that only a plugin could be.
fn with_unknown_filter(file: &Path, layout: u8, object: &Place, change: Change) -> bool {
    targets::write_layout(file, layout, false);
    let open = unlocked().open_rw(file).unwrap();
    let changed = mutate::apply(&open, object, change, Path::new("/nowhere"), &mut |_| 0);
    open.close().unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let patched = mutate::patch_filters(&mut bytes);
    std::fs::write(file, bytes).unwrap();
    changed && patched > 0
}

/// Not a test of its own: reads with libhdf5 what is behind the filter, as [`no_plugin_is_loaded`] asks for.
#[test]
fn libhdf5_alone_loads_the_plugin() {
    let Some(file) = std::env::var_os(FILE_VARIABLE) else { return };
    let file = unlocked().open(Path::new(&file)).unwrap();
    match file.dataset("matrix/data") {
        Ok(dataset) => assert!(dataset.read_raw::<i32>().is_err()),
        Err(_) => assert!(file.group("matrix").unwrap().member_names().is_err()),
    }
}

#[test]
fn no_plugin_is_loaded() {
    if !cfg!(target_os = "linux") {
        println!("SKIPPED no_plugin_is_loaded: a plugin is built for Linux");
        return;
    }
    let place = Workplace::new();
    plugin(&place);
    let (file, marker) = (place.path("in.h5"), place.path("loaded"));
    // Whether the plugin would be found.
    for (object, change) in [
        (Place::Dataset("/matrix/data".to_owned()), Change::UnknownFilter),
        (Place::Group("/matrix".to_owned()), Change::Filtered),
    ] {
        assert!(with_unknown_filter(&file, 0, &object, change));
        let own = std::env::current_exe().unwrap();
        let control = Command::new(own)
            .args(["--exact", "libhdf5_alone_loads_the_plugin"])
            .env(FILE_VARIABLE, &file)
            .env("HDF5_PLUGIN_PATH", place.path("plugins"))
            .output()
            .unwrap();
        assert!(control.status.success(), "{object:?}: {control:?}");
        assert!(
            marker.exists(),
            "{object:?}: libhdf5 itself does not load the plugin: the test would see nothing"
        );
        std::fs::remove_file(&marker).unwrap();
    }
    let mut tried = 0;
    for layout in LAYOUTS {
        targets::write_layout(&file, layout, false);
        for object in places(&file) {
            for change in [Change::UnknownFilter, Change::Filtered] {
                if !with_unknown_filter(&file, layout, &object, change) {
                    continue;
                }
                tried += 1;
                let case = format!("layout {layout}, {object:?}, {change:?}");
                let Some((code, words)) = inspect(&place, "in.h5") else { panic!("{case}: it hangs") };
                assert!(matches!(code, Some(0 | 1)), "{case}: {code:?} {words}");
                assert!(!marker.exists(), "{case}: a plugin was loaded");
            }
        }
    }
    assert!(tried > 40, "{tried}");
}
