//! The page's text.

use super::figure::{Figure, WIDTH};
use super::sections::{Section, store_name};
use super::summary::{Counts, losses};
use super::{SVG, numbers, summary, tables};
use crate::results::Results;

pub(super) fn write(
    results: &Results,
    sections: &[Section<'_>],
    overview: &Figure,
    figures: &[Vec<Figure>],
) -> String {
    let mut out = String::from("<!-- Written by `cargo xtask bench`, which overwrites changes. -->\n\n");
    out.push_str("# Benchmarks\n\n");
    out.push_str(&provenance(results));
    out.push_str(&in_short(sections, overview));
    out.push_str(&workloads(results));
    out.push_str(&how_to_read(results));
    out.push_str(&not_comparable(results));
    for (section, figures) in sections.iter().zip(figures) {
        out.push_str(&format!("## {}\n\n", cell(&section.name())));
        figures.iter().for_each(|figure| out.push_str(&picture(figure)));
        out.push_str("<details><summary>Numbers</summary>\n\n");
        out.push_str(&tables::write(section));
        out.push_str("</details>\n\n");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn provenance(results: &Results) -> String {
    let machine = &results.machine;
    let cores = if machine.cores == 1 { "core" } else { "cores" };
    format!(
        "`cargo xtask bench` measured this on {}: lessor {} on {}, {} {cores}, {}. The timed runs took {} together. \
         All numbers of all rounds are in [results.json](results.json).\n\n",
        cell(&machine.date),
        cell(&machine.version),
        cell(&machine.processor),
        machine.cores,
        cell(&machine.system),
        minutes(results.seconds),
    )
}

fn minutes(seconds: u64) -> String {
    match (seconds as f64 / 60.0).round() {
        _ if seconds < 120 => format!("{seconds} seconds"),
        minutes => format!("{} minutes", numbers::count(minutes)),
    }
}

fn in_short(sections: &[Section<'_>], overview: &Figure) -> String {
    let mut out = String::from("## Summary\n\n");
    out.push_str(&Counts::of(sections.iter().flat_map(Section::cases)).in_words());
    out.push_str("\n\n");
    out.push_str(&picture(overview));
    match losses(sections) {
        Some(losses) => {
            out.push_str("**Where lessor is worse**, as the ratio to the best rival, the worst first:\n\n");
            out.push_str(&losses);
            out.push('\n');
        }
        None if !compared(sections) => {}
        None => out.push_str("There is no workload in which the best rival has the better median.\n\n"),
    }
    out.push_str("<details><summary>All ratios as tables</summary>\n\n");
    out.push_str("Lessor to the best rival, bold where lessor is better: median (least – most). Below, the best rival, and the ratio to the reference.\n\n");
    sections.iter().for_each(|section| out.push_str(&summary::tables(section)));
    out.push_str("</details>\n\n");
    out
}

fn compared(sections: &[Section<'_>]) -> bool {
    sections.iter().flat_map(Section::cases).any(|case| case.ratio().is_some())
}

fn workloads(results: &Results) -> String {
    let mut lines: Vec<String> = Vec::new();
    for case in &results.cases {
        let line = format!("- **{}**: {}\n", cell(&case.title), cell(&case.note));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    format!("## Workloads\n\n{}\n", lines.concat())
}

fn how_to_read(results: &Results) -> String {
    let contenders = results.cases.iter().flat_map(|case| &case.contenders);
    let rounds: Vec<_> = contenders.map(|each| each.rounds.len()).filter(|rounds| *rounds > 0).collect();
    let rounds = match (rounds.iter().min(), rounds.iter().max()) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most} rounds"),
        (Some(1), _) => "one round".to_owned(),
        (Some(count), _) => format!("{count} rounds"),
        _ => "no rounds".to_owned(),
    };
    format!(
        "## Method and notation\n\n\
         - All contenders of a case do the same work in turns, in {rounds}. Only one of them runs at a time, and a slow phase of the machine affects all of them.\n\
         - A **ratio** compares lessor's figure with the best rival's of the same round. The page shows the median of the rounds, and names the rival with the best median. Above 1, lessor is better, also where less time is better.\n\
         - A **number** is the median of the rounds. Brackets, and bars in the plots, show the least and the greatest. Contenders whose bars overlap are equal within the accuracy.\n\
         - **p50** and **p99** are the latencies that 50 and 99 percent of the operations of a round did not exceed.\n\
         - A **reference** does part of the work and grants no leases: a bare map, a bare log, or `redis-benchmark`. It is not a limit: lessor can be faster, as where it combines requests.\n\
         - All plots with values have logarithmic scales, and a contender has the same colour and shape in all of them.\n\n"
    )
}

/// Lists the notes of the contenders. The reason that one has no result is given with the case.
fn not_comparable(results: &Results) -> String {
    let mut lines: Vec<String> = Vec::new();
    for case in &results.cases {
        for contender in case.contenders.iter().filter(|contender| !contender.rounds.is_empty()) {
            let note = contender.note.as_deref().map(cell).unwrap_or_default();
            let store = store_name(&case.store);
            let line = format!("- {}, **{}**: {note}\n", cell(store), cell(&contender.name));
            if !note.is_empty() && !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if lines.is_empty() {
        String::new()
    } else {
        format!("## Notes on the contenders\n\n{}\n", lines.concat())
    }
}

fn picture(figure: &Figure) -> String {
    let name = &figure.name;
    format!(
        "<picture>\n  <source media=\"(prefers-color-scheme: dark)\" srcset=\"{name}-dark{SVG}\">\n  \
         <img src=\"{name}-light{SVG}\" width=\"{WIDTH}\" alt=\"{}\">\n</picture>\n\n",
        attribute(&format!("{}. {}", figure.title, figure.description))
    )
}

/// Returns `text` on one line, with the characters escaped that Markdown or HTML would interpret.
pub(super) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn attribute(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    text.replace(char::is_control, " ")
}
