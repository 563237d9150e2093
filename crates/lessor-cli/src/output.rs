//! What a command prints: one value as JSON, or as text for people.

use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::problem::Problem;

/// A value that is printed as one JSON object with `--json`, and otherwise as text.
pub(crate) trait Shown: Serialize {
    /// Writes the value for people, with a line break at the end.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// A line of a table. With `--json`, it is one JSON object on one line.
pub(crate) trait Row: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];
    /// Returns a text for each column. An empty one is shown as `-`.
    fn cells(&self) -> Vec<String>;
}

/// Standard output, in the form that the caller chose.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    out: BufWriter<StdoutLock<'static>>,
    /// The widths of the columns so far, for rows that come one by one.
    widths: Vec<usize>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, out: BufWriter::new(io::stdout().lock()), widths: Vec::new() }
    }

    /// Prints one value.
    pub(crate) fn show(&mut self, value: &impl Shown) -> Result<(), Problem> {
        if self.json {
            return self.line(value);
        }
        value.write(&mut self.out)?;
        Ok(self.out.flush()?)
    }

    /// Prints one value as a line of JSON, whatever the caller chose.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> Result<(), Problem> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")?;
        Ok(self.out.flush()?)
    }

    /// Prints rows: a table, or a line of JSON each.
    pub(crate) fn rows<R: Row>(&mut self, rows: &[R]) -> Result<(), Problem> {
        if self.json {
            return rows.iter().try_for_each(|row| self.line(row));
        }
        self.out.write_all(table(rows).as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Prints rows of a table that has no end. A column is as wide as in the rows so far.
    pub(crate) fn further_rows<R: Row>(&mut self, rows: &[R]) -> Result<(), Problem> {
        if self.json {
            return self.rows(rows);
        }
        let is_first = self.widths.is_empty();
        let header = R::COLUMNS.iter().map(|&name| name.to_owned()).collect();
        let rows = rows.iter().map(|row| row.cells().into_iter().map(or_dash).collect());
        let lines: Vec<Vec<String>> = is_first.then_some(header).into_iter().chain(rows).collect();
        self.widths.resize(R::COLUMNS.len(), 0);
        for line in &lines {
            for (width, cell) in self.widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in &lines {
            let cells = line.iter().zip(&self.widths).map(|(cell, &width)| format!("{cell:width$}"));
            let text = cells.collect::<Vec<_>>().join("  ");
            writeln!(self.out, "{}", text.trim_end())?;
        }
        Ok(self.out.flush()?)
    }

    /// Prints bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }
}

fn table<R: Row>(rows: &[R]) -> String {
    let mut table = plain();
    table.set_header(R::COLUMNS);
    for row in rows {
        table.add_row(row.cells().into_iter().map(or_dash));
    }
    finish(&table)
}

/// Returns pairs of a name and a text, one a line.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut table = plain();
    for (name, text) in pairs {
        table.add_row([name.to_owned(), or_dash(text)]);
    }
    finish(&table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Removes the spaces around the lines.
fn finish(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}
