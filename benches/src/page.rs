//! One page of results with its plots, written for people to read. It follows from the results alone, so that it can be drawn
//! again from `results.json` without measuring again. Needs nothing of the rest of the package.

mod canvas;
mod contention;
mod figure;
mod labels;
mod latency;
mod lines;
mod marks;
mod numbers;
mod overview;
mod readme;
mod rows;
mod scale;
mod sections;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod theme;
mod throughput;

use std::path::Path;
use std::{fs, io};

use crate::results::Results;
use figure::Figure;
use marks::Marks;
use sections::Section;
use theme::THEMES;

/// Returns a value in the form that the page uses.
pub(crate) fn value(unit: crate::results::Unit, value: f64) -> String {
    numbers::value(unit, value)
}

/// What the files of plots end in, beside their theme.
const SVG: &str = ".svg";

/// Writes `results.json`, `README.md` and the plots into `folder`, which is made if it is not there. Plots of an earlier run that this
/// one does not have are removed.
pub fn write(results: &Results, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let files = files(results);
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_plot = THEMES.iter().any(|theme| name.ends_with(&format!("-{}{SVG}", theme.name)));
        if is_plot && !files.iter().any(|(other, _)| *other == name) {
            fs::remove_file(folder.join(name))?;
        }
    }
    fs::write(folder.join("results.json"), json(results)?)?;
    files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
}

/// One case per line: what differs between two runs is to be found, and a line per number would make it ten times as long.
fn json(results: &Results) -> serde_json::Result<String> {
    let Results { machine, seconds, cases } = results;
    let machine = serde_json::to_string(machine)?;
    let cases = cases.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?.join(",\n");
    Ok(format!("{{\"machine\":{machine},\n\"seconds\":{seconds},\n\"cases\":[\n{cases}\n]}}\n"))
}

/// Names and contents of all but the results themselves.
fn files(results: &Results) -> Vec<(String, String)> {
    let sections = sections::of(results);
    let marks = Marks::of(results);
    let overview = overview::figure(&sections);
    let figures: Vec<_> = sections.iter().map(|section| figures(section, &marks)).collect();

    let mut files = vec![("README.md".to_owned(), readme::write(results, &sections, &overview, &figures))];
    for figure in std::iter::once(&overview).chain(figures.iter().flatten()) {
        files.extend(THEMES.iter().map(|theme| (figure.file(theme), figure.draw(theme))));
    }
    files
}

fn figures(section: &Section<'_>, marks: &Marks) -> Vec<Figure> {
    let throughput = throughput::figure(section, marks);
    throughput
        .into_iter()
        .chain(latency::figure(section, marks))
        .chain(contention::figure(section, marks))
        .collect()
}
