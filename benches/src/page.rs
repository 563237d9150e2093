//! A page of results with plots. It is a function of the results alone, so that it can be drawn
//! from `results.json` without new measurements. It depends on nothing else in the package.

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

/// The end of the names of plot files, after the theme.
const SVG: &str = ".svg";

/// Writes `results.json`, `README.md` and the plots into `folder`, which is created if necessary.
/// Plots of an earlier run that this one does not have are removed.
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

/// Writes one case per line: a line per number would make the file ten times as long, and longer
/// lines would make differences between runs hard to find.
fn json(results: &Results) -> serde_json::Result<String> {
    let Results { machine, seconds, cases } = results;
    let machine = serde_json::to_string(machine)?;
    let cases = cases.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?.join(",\n");
    Ok(format!("{{\"machine\":{machine},\n\"seconds\":{seconds},\n\"cases\":[\n{cases}\n]}}\n"))
}

/// Returns the names and contents of all files except the results themselves.
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
