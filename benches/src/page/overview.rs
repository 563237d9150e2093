//! An overview of all ratios of lessor to the best rival.

use super::canvas::{Anchor, Area, Canvas, fitting, width, wrapped};
use super::figure::{Figure, MARGIN, WIDTH, headings};
use super::marks::Shape;
use super::numbers;
use super::scale::{Scale, extent};
use super::sections::{Section, Series, store_name};
use super::summary::{Counts, Verdict};
use crate::results::{Callers, Case, Spread};

const FONT: f64 = 11.5;
/// The number of sections side by side. Further sections are below.
const COLUMNS: usize = 4;
const LABELS: f64 = 112.0;
/// The positions of the number of callers, and of the ratio.
const CALLERS: f64 = 44.0;
const VALUES: f64 = 46.0;
/// The distance of texts from the edges of a column.
const INSET: f64 = 8.0;
const LANE: f64 = 14.0;
/// The space between threads and tasks.
const GAP: f64 = 5.0;
const LINE: f64 = 14.0;
const PADDING: f64 = 7.0;
const TOP: f64 = 92.0;
const HEADER: f64 = 52.0;
const FOOTER: f64 = 24.0;
const BETWEEN: f64 = 20.0;
/// The power of two beyond which a ratio is drawn as an arrow.
const FARTHEST: i32 = 3;

/// A workload of all sections.
struct Row<'a> {
    workload: &'a str,
    /// Set for a setting that belongs to this workload only.
    setting: Option<&'a str>,
    label: Vec<String>,
}

struct Overview<'a, 'b> {
    sections: &'b [Section<'a>],
    rows: Vec<Row<'a>>,
    column: f64,
    scale: Scale,
}

pub(super) fn figure(sections: &[Section<'_>]) -> Figure {
    let title = "Lessor compared with the best rival";
    let counts = Counts::of(sections.iter().flat_map(Section::cases));
    let columns = sections.len().div_ceil(sections.len().div_ceil(COLUMNS).max(1)).max(1);
    let column = (WIDTH - 2.0 * MARGIN - LABELS) / columns as f64;
    let overview = Overview {
        sections,
        rows: rows(sections),
        column,
        scale: scale(sections, (CALLERS + 6.0, column - VALUES - 6.0)),
    };

    let bands: Vec<_> = sections.chunks(columns).collect();
    let heights: Vec<_> = bands.iter().map(|band| overview.height(band)).collect();
    let whole = TOP + heights.iter().map(|height| height + BETWEEN).sum::<f64>();
    let mut canvas = Canvas::new(WIDTH, whole);
    headings(
        &mut canvas,
        title,
        "Ratio to the best rival of the same round, by number of callers; right of 1, lessor is better. Bars: all rounds.",
    );
    overview.legend(&mut canvas);
    let mut y = TOP;
    for (band, height) in bands.iter().zip(heights) {
        overview.draw(&mut canvas, band, y, height);
        y += height + BETWEEN;
    }
    Figure { name: "overview".to_owned(), title: title.to_owned(), description: counts.in_words(), canvas }
}

/// A workload that only a later section has is inserted after the one that precedes it there.
fn rows<'a>(sections: &[Section<'a>]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    for section in sections {
        let mut next = 0;
        for series in &section.series {
            let (workload, setting) = key(section, series);
            let known = rows.iter().position(|row| (row.workload, row.setting) == (workload, setting));
            let at = known.unwrap_or_else(|| {
                let label = wrapped(&series.title, FONT * 1.05, LABELS - 8.0);
                rows.insert(next, Row { workload, setting, label });
                next
            });
            next = at + 1;
        }
    }
    rows
}

fn key<'a>(section: &Section<'a>, series: &Series<'a>) -> (&'a str, Option<&'a str>) {
    let first = series.first();
    (&first.workload, first.setting.as_deref().filter(|_| section.setting.is_none()))
}

/// Returns the common scale of all sections, which contains 1.
fn scale(sections: &[Section<'_>], places: (f64, f64)) -> Scale {
    let ratios = sections.iter().flat_map(Section::cases).filter_map(Case::ratio).flat_map(extent);
    let ratios: Vec<_> = ratios.filter(|ratio| *ratio > 0.0).map(f64::log2).collect();
    let least = ratios.iter().fold(-1.0, |least: f64, ratio| least.min(ratio.floor()));
    let most = ratios.iter().fold(1.0, |most: f64, ratio| most.max(ratio.ceil()));
    let (least, most) = ((least as i32).max(-FARTHEST), (most as i32).min(FARTHEST));
    let step = if most - least > 3 { 2 } else { 1 };
    let ticks = (least..=most).filter(|exponent| exponent % step == 0).map(|exponent| 2f64.powi(exponent));
    Scale::between((2f64.powi(least), 2f64.powi(most)), ticks.collect(), places)
}

impl<'a> Overview<'a, '_> {
    fn lanes(&self, section: &Section<'a>, row: &Row<'_>) -> Vec<(&'a Case, Spread)> {
        let series =
            section.series.iter().filter(|series| key(section, series) == (row.workload, row.setting));
        let cases = series.flat_map(|series| series.cases.iter().copied());
        cases.filter_map(|case| Some((case, case.ratio()?))).collect()
    }

    fn has(&self, section: &Section<'a>, row: &Row<'_>) -> bool {
        section.series.iter().any(|series| key(section, series) == (row.workload, row.setting))
    }

    fn row_height(&self, band: &[Section<'a>], row: &Row<'_>) -> f64 {
        if !band.iter().any(|section| self.has(section, row)) {
            return 0.0;
        }
        let lanes = band.iter().map(|section| offsets(&self.lanes(section, row)).1).fold(LANE, f64::max);
        lanes.max(row.label.len() as f64 * LINE) + 2.0 * PADDING
    }

    fn height(&self, band: &[Section<'a>]) -> f64 {
        HEADER + self.rows.iter().map(|row| self.row_height(band, row)).sum::<f64>() + FOOTER
    }

    fn legend(&self, canvas: &mut Canvas) {
        let y = 72.0;
        let mut x = MARGIN + 5.0;
        let mut add = |canvas: &mut Canvas, shape, class: &str, text: &str| {
            canvas.shape((x, y - 4.0), shape, size(class), class);
            canvas.text((x + 9.0, y), "muted", Anchor::Start, text);
            x += 9.0 + width(text, FONT) + 12.0;
        };
        for (verdict, text) in [
            (Verdict::Better, "better in all rounds"),
            (Verdict::Level, "rounds disagree"),
            (Verdict::Worse, "worse in all rounds"),
        ] {
            add(canvas, Shape::Circle, class(verdict), text);
        }
        let cases = || self.sections.iter().flat_map(Section::cases);
        if cases().any(|case| is_task(case.callers)) {
            add(canvas, Shape::Circle, "hollow reference", "threads");
            add(canvas, Shape::Diamond, "hollow reference", "tasks");
        }
    }

    fn draw(&self, canvas: &mut Canvas, band: &[Section<'a>], top: f64, height: f64) {
        let (from, to) = (top + HEADER - 4.0, top + height - FOOTER + 2.0);
        for (at, section) in band.iter().enumerate() {
            let left = self.left(at);
            let lines = [(store_name(section.store), "strong"), (section.setting.unwrap_or(""), "muted")];
            for (line, (text, class)) in lines.into_iter().enumerate() {
                let text = fitting(text, FONT * 1.08, self.column - 2.0 * INSET);
                canvas.text((left + INSET, top + 12.0 + LINE * line as f64), class, Anchor::Start, &text);
            }
            for tick in &self.scale.ticks {
                let x = left + self.scale.at(*tick);
                canvas.line((x, from), (x, to), if *tick == 1.0 { "axis" } else { "grid" });
                canvas.text((x, from - 5.0), "muted", Anchor::Middle, &fraction(*tick));
                canvas.text((x, to + 13.0), "muted", Anchor::Middle, &fraction(*tick));
            }
        }
        let mut y = top + HEADER;
        let rows = self.rows.iter().map(|row| (row, self.row_height(band, row)));
        for (at, (row, height)) in rows.filter(|(_, height)| *height > 0.0).enumerate() {
            if at % 2 == 0 {
                canvas.rect(Area { x: MARGIN - 8.0, y, width: WIDTH - 2.0 * MARGIN + 16.0, height }, "band");
            }
            let first = y + (height - LINE * row.label.len() as f64) / 2.0 + 11.0;
            for (line, text) in row.label.iter().enumerate() {
                canvas.text((MARGIN, first + LINE * line as f64), "", Anchor::Start, text);
            }
            for (at, section) in band.iter().enumerate() {
                if self.has(section, row) {
                    self.draw_cell(canvas, self.left(at), y, height, &self.lanes(section, row));
                }
            }
            y += height;
        }
    }

    fn draw_cell(&self, canvas: &mut Canvas, left: f64, top: f64, height: f64, lanes: &[(&Case, Spread)]) {
        let (offsets, whole) = offsets(lanes);
        let first = top + (height - whole) / 2.0 + LANE / 2.0;
        if lanes.is_empty() {
            let place = (left + self.scale.at(1.0) + 8.0, top + height / 2.0 + 4.0);
            canvas.text(place, "muted", Anchor::Start, "none");
        }
        for ((case, ratio), offset) in lanes.iter().zip(offsets) {
            let y = first + offset;
            let callers = numbers::count(case.callers.count() as f64);
            canvas.text((left + CALLERS - 6.0, y + 4.0), "muted", Anchor::End, &callers);
            let value = numbers::ratio(ratio.median);
            canvas.text((left + self.column - INSET, y + 4.0), "", Anchor::End, &value);
            self.draw_ratio(canvas, (left, y), case.callers, *ratio);
        }
    }

    fn draw_ratio(&self, canvas: &mut Canvas, (left, y): (f64, f64), callers: Callers, ratio: Spread) {
        let class = class(Verdict::of(ratio));
        let colour = class.split(' ').next_back().unwrap_or_default();
        let x = left + self.scale.at(ratio.median);
        if !self.scale.has(ratio.median) {
            let turn = if ratio.median > 1.0 { -1.0 } else { 1.0 };
            let corners = [(x + turn * 7.0, y - 4.5), (x, y), (x + turn * 7.0, y + 4.5)];
            canvas.polyline(&corners, &format!("line {colour}"));
            return;
        }
        let [least, most] = [ratio.least, ratio.most].map(|end| left + self.scale.at(end));
        canvas.line((least, y), (most, y), &format!("spread {colour}"));
        let shape = if is_task(callers) { Shape::Diamond } else { Shape::Circle };
        canvas.shape((x, y), shape, size(class), class);
    }

    fn left(&self, column: usize) -> f64 {
        MARGIN + LABELS + self.column * column as f64
    }
}

/// Returns the position of each lane, and their total height.
fn offsets(lanes: &[(&Case, Spread)]) -> (Vec<f64>, f64) {
    let mut whole = 0.0;
    let mut offsets = Vec::new();
    for (at, (case, _)) in lanes.iter().enumerate() {
        let last = at.checked_sub(1).and_then(|at| lanes.get(at));
        if last.is_some_and(|(last, _)| is_task(last.callers) != is_task(case.callers)) {
            whole += GAP;
        }
        offsets.push(whole);
        whole += LANE;
    }
    (offsets, whole)
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "mark lessor",
        Verdict::Level => "hollow reference",
        Verdict::Worse => "mark worse",
    }
}

/// Returns the size of a mark. Hollow ones are smaller, since their outline is drawn outside.
fn size(class: &str) -> f64 {
    if class.starts_with("hollow") { 0.85 } else { 1.05 }
}

fn is_task(callers: Callers) -> bool {
    matches!(callers, Callers::Tasks(_))
}

fn fraction(ratio: f64) -> String {
    if ratio >= 1.0 { numbers::count(ratio) } else { format!("1/{}", numbers::count(1.0 / ratio)) }
}
