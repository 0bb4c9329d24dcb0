//! The report's page, figures and tables: whatever is in them, and looked at in headless Chromium.
//!
//! The latter is skipped where there is no Chromium (`scripts/setup --tests` installs it) or no Python.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::binary::Workplace;
use common::counts::{counts, write_tenx};
use common::files::Rows;
use common::python;
use common::report::{HOSTILE, awkward, demo};
use late_fast::report::{Chart, Figure, Report, prepare};
use roxmltree::{Document, Node};

/// Programs that understand what Chromium understands.
const BROWSERS: [&str; 5] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn written(report: &Report) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    prepare(report, dir.path(), false).unwrap().publish().unwrap();
    dir
}

fn figures(report: &Report) -> Vec<&Figure> {
    report.sections.iter().flat_map(|section| &section.figures).collect()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// Every file in a directory and those in it, by its path there.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            found
                .extend(contents(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name.to_owned(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn every_figure_and_table_has_its_files() {
    let report = demo(300);
    let dir = written(&report);
    let mut expected = vec!["report.html".to_owned()];
    for figure in figures(&report) {
        expected.extend([".csv", ".svg"].map(|extension| format!("figures/{}{extension}", figure.id)));
    }
    let tables = report.sections.iter().flat_map(|section| &section.tables);
    expected.extend(tables.map(|table| format!("tables/{}.csv", table.id)));
    expected.sort();
    assert_eq!(contents(dir.path()).into_keys().collect::<Vec<_>>(), expected);
    // A second time, over the first.
    assert!(prepare(&report, dir.path(), false).is_err());
    prepare(&report, dir.path(), true).unwrap().publish().unwrap();
    assert_eq!(contents(dir.path()).into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    for (one, other) in [(demo(500), demo(500)), (awkward(), awkward())] {
        assert_eq!(contents(written(&one).path()), contents(written(&other).path()));
    }
}

#[test]
fn figures_of_any_data_are_sound_svg() {
    for report in [demo(300), awkward()] {
        let dir = written(&report);
        for figure in figures(&report) {
            check_svg(&figure.id, &read(dir.path(), &format!("figures/{}.svg", figure.id)));
        }
    }
}

/// Whether a program can read it, everything lies inside, and the text is not taken for anything else.
fn check_svg(id: &str, text: &str) {
    let svg = Document::parse(text).unwrap_or_else(|e| panic!("{id}: {e}"));
    let number = |node: Node<'_, '_>, name: &str| -> f64 { node.attribute(name).unwrap().parse().unwrap() };
    let (width, height) = (number(svg.root_element(), "width"), number(svg.root_element(), "height"));
    for node in svg.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(
            ["svg", "title", "desc", "rect", "g", "path", "circle", "text"].contains(&name),
            "{id} has a <{name}>"
        );
        for attribute in node.attributes().filter(|attribute| attribute.name() != "font-family") {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{id}: {value}");
        }
        if name == "path" {
            let numbers = node.attribute("d").unwrap().split(|c: char| c.is_ascii_alphabetic() || c == ' ');
            for number in numbers.filter(|number| !number.is_empty()) {
                let place: f64 = number.parse().unwrap();
                assert!((0.0..=width.max(height)).contains(&place), "{id}: {place} lies outside");
            }
        }
        if name == "text" {
            let (x, y) = (number(node, "x"), number(node, "y"));
            // No font is narrower; the browser measures.
            let long = node.text().unwrap_or("").chars().count() as f64 * 14.0 * 0.4;
            let before = match node.attribute("text-anchor").unwrap() {
                "start" => 0.0,
                "middle" => long / 2.0,
                _ => long,
            };
            let (along, limit) = if node.attribute("transform").is_some() { (y, height) } else { (x, width) };
            assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "{id}: a text at {x}, {y}");
            assert!(along >= before && along + long - before <= limit, "{id}: {:?} leaves it", node.text());
        }
    }
}

#[test]
fn values_without_a_place_are_counted_under_the_figure() {
    let dir = written(&awkward());
    let page = read(dir.path(), "report.html");
    let note = |id: &str| {
        let figure = &page[page.find(&format!("id=\"figure-{id}\"")).unwrap()..];
        let end = figure.find("</figure>").unwrap();
        let note = figure[..end].split_once("<em>").map(|(_, rest)| rest.split_once("</em>").unwrap().0);
        note.map(str::to_owned)
    };
    let left_out = |n: &str| Some(format!("{n} cannot be drawn here and are left out."));
    assert_eq!(note("lines-gaps"), left_out("5 values"));
    assert_eq!(note("scatter-odd"), left_out("2 values"));
    assert_eq!(note("lines-extreme"), Some("One value cannot be drawn here and is left out.".into()));
    assert_eq!(note("lines-forty"), None);
}

#[test]
fn names_from_files_are_harmless() {
    let report = awkward();
    let dir = written(&report);
    let page = read(dir.path(), "report.html");
    // One script for each figure, and the page's own; nothing of a name opens or closes one.
    assert_eq!(page.matches("<script").count(), figures(&report).len() + 1);
    assert_eq!(page.matches("</script").count(), figures(&report).len() + 1);
    assert!(!page.contains("<img") && !page.chars().any(|c| c.is_control() && c != '\n'));
    assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "names are shown as they are");
    // What the tooltips say is the name itself.
    let data = page.split("<script type=\"application/json\">").skip(1);
    let data: Vec<serde_json::Value> =
        data.map(|rest| serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()).collect();
    let one = figures(&report).iter().position(|figure| figure.id == "scatter-one").unwrap();
    assert_eq!(data[one]["points"]["points"][0][5], HOSTILE[1]);
    let mut csv = csv::Reader::from_path(dir.path().join("figures/scatter-odd.csv")).unwrap();
    let names: Vec<String> = csv.records().map(|record| record.unwrap()[0].to_owned()).collect();
    assert_eq!(names[..6], HOSTILE);
}

#[test]
fn data_of_every_chart_is_complete() {
    let report = demo(200);
    let dir = written(&report);
    for figure in figures(&report) {
        let mut csv = csv::Reader::from_path(dir.path().join(format!("figures/{}.csv", figure.id))).unwrap();
        let (header, n_rows) = match &figure.chart {
            Chart::Lines { series, .. } => ("series,x,y", series.iter().map(|s| s.points.len()).sum()),
            Chart::Violins { groups, .. } => (
                "group,kind,n,value,density,q1,median,q3,mean",
                groups.iter().map(|group| group.density.len()).sum(),
            ),
            Chart::Histogram { edges, series, .. } => {
                ("series,from,to,count", (edges.len() - 1) * series.len())
            }
            Chart::Density { counts, .. } => ("x_from,x_to,y_from,y_to,count", counts.len()),
            Chart::Scatter { points, .. } => ("name,category,x,y", points.len()),
        };
        assert_eq!(csv.headers().unwrap().iter().collect::<Vec<_>>().join(","), header);
        let rows: Vec<_> = csv.records().map(|record| record.unwrap()).collect();
        assert_eq!(rows.len(), n_rows, "{}", figure.id);
        if let Chart::Scatter { points, categories, .. } = &figure.chart {
            let point = &points[17];
            assert_eq!((&rows[17][0], &rows[17][1]), (&*point.name, &*categories[point.category]));
            assert_eq!((rows[17][2].parse(), rows[17][3].parse()), (Ok(point.x), Ok(point.y)));
        }
    }
}

#[test]
fn large_reports_stay_small_enough_to_send() {
    // 5,000 points in each of six figures, 800 in three, and a table of 10,000 rows.
    let dir = written(&demo(5000));
    let bytes = read(dir.path(), "report.html").len();
    assert!(bytes < 4_000_000, "{bytes} bytes");
    assert_eq!(read(dir.path(), "tables/genes.csv").lines().count(), 10_001);
    assert!(read(dir.path(), "report.html").contains("The first 200 of 10,000 rows"));
}

#[test]
fn reports_that_break_their_promises_are_refused() {
    for id in ["", "../escape", "Upper", "learning-curves"] {
        let mut report = demo(10);
        report.sections[2].figures[0].id = id.into();
        let dir = tempfile::tempdir().unwrap();
        assert!(prepare(&report, dir.path(), false).is_err(), "{id:?}");
        assert!(contents(dir.path()).is_empty());
    }
    let mut report = demo(10);
    report.sections[0].tables[0].rows[1].pop();
    assert!(prepare(&report, tempfile::tempdir().unwrap().path(), false).is_err());
}

#[test]
fn pages_look_right_in_chromium() {
    let name = "pages_look_right_in_chromium";
    let Some(chromium) = browser() else {
        println!("SKIPPED {name}: no Chromium on this machine (scripts/setup --tests installs it)");
        return;
    };
    if python::version().is_none() {
        println!("SKIPPED {name}: no python3 on this machine");
        return;
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report");
    let python = python::environment("report", &scripts.join("requirements.txt"));
    let place = Workplace::new();
    for (name, report) in [("demo", demo(3000)), ("awkward", awkward())] {
        std::fs::create_dir(place.path(name)).unwrap();
        prepare(&report, &place.path(name), false).unwrap().publish().unwrap();
    }
    evaluate_a_run(&place);
    let dirs = ["demo", "awkward", "genes", "both"];
    let n_figures = dirs.map(|dir| {
        let files = std::fs::read_dir(place.path(dir).join("figures")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().unwrap() == "svg").count().to_string()
    });
    let mut command = Command::new(python);
    command.arg(scripts.join("check.py")).arg(chromium).arg(n_figures.join(","));
    command.args(dirs.map(|dir| place.path(dir).join("report.html")));
    let output = command.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Pages of real evaluations, with a run of one network and with one of two.
fn evaluate_a_run(place: &Workplace) {
    let truth = counts(300, 60, 4);
    let masked: Rows = truth
        .iter()
        .enumerate()
        .map(|(cell, row)| row.iter().copied().filter(|entry| (cell as i64 + entry.0) % 3 != 0).collect())
        .collect();
    write_tenx(&place.path("truth.h5"), &truth, 60);
    write_tenx(&place.path("in.h5"), &masked, 60);
    let labels: String = (0..290).map(|cell| format!("cell{cell}\ttype {}\n", cell % 2)).collect();
    std::fs::write(place.path("types.tsv"), format!("barcode\tlabel\n{labels}")).unwrap();
    for (features, validation) in [("genes", "samples"), ("both", "entries")] {
        let (run, imputed) = (format!("{features}.late"), format!("{features}.h5ad"));
        place.succeed(
            &[
                &[
                    "train",
                    "--h5",
                    "in.h5",
                    "--features",
                    features,
                    "--validation",
                    validation,
                    "--hidden",
                    "24,6",
                ][..],
                &["--epochs", "12", "--batch-size", "64", "--out", &run, "--impute", &imputed],
            ]
            .concat(),
        );
        place.succeed(
            &[
                &["evaluate", "-i", "in.h5", "--truth", "truth.h5", "--imputed", &imputed, "--model", &run][..],
                &["--labels", "types.tsv", "--out", features],
            ]
            .concat(),
        );
        let page = read(&place.path(features), "report.html");
        for part in ["id=\"figure-learning-curve\"", "id=\"table-configuration\"", "id=\"table-timings\""] {
            assert!(page.contains(part), "{features}: {part}");
        }
    }
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut candidates =
        BROWSERS.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    candidates.find(|candidate| candidate.is_file())
}
