//! A panel of rows: one per contender, the best first, each with its value.

use super::canvas::{Anchor, Area, Canvas, fitting, width};
use super::lines::{FONT, FOOTNOTE, footnote, heading};
use super::marks::Mark;
use super::numbers;
use super::scale::{Round, Scale, extent};
use crate::results::{LESSOR, Spread, Unit};

const ABOVE: f64 = 40.0;
const BELOW: f64 = 20.0;
const ROW: f64 = 21.0;
const NAMES: (f64, f64) = (44.0, 130.0);
const VALUES: f64 = 58.0;
/// The minimum distance between grid lines, whose labels are side by side.
const TICKS: f64 = 50.0;

pub(super) struct Panel<'a> {
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) unit: Unit,
    pub(super) rows: Vec<Row<'a>>,
    pub(super) missing: Vec<&'a str>,
}

pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    pub(super) mark: Mark,
    pub(super) value: Spread,
}

impl Panel<'_> {
    pub(super) fn height(&self) -> f64 {
        let footnote = if self.missing.is_empty() { 0.0 } else { FOOTNOTE };
        ABOVE + ROW * self.rows.len() as f64 + BELOW + footnote
    }

    pub(super) fn draw(&self, canvas: &mut Canvas, area: Area) {
        heading(canvas, area, &self.title, &self.subtitle);
        footnote(canvas, Area { height: self.height(), ..area }, &self.missing);
        let widest = self.rows.iter().map(|row| width(row.name, FONT)).fold(0.0, f64::max);
        let names = widest.clamp(NAMES.0, NAMES.1);
        let (from, to) = (area.x + names + 14.0, area.x + area.width - VALUES);
        let values = self.rows.iter().flat_map(|row| extent(row.value));
        let Some(scale) = Scale::covering(values, Round::Decimal, (from, to), TICKS) else {
            return;
        };

        let bottom = area.y + ABOVE + ROW * self.rows.len() as f64;
        for tick in &scale.ticks {
            let x = scale.at(*tick);
            canvas.line((x, area.y + ABOVE - 2.0), (x, bottom), "grid");
            canvas.text((x, bottom + 15.0), "muted", Anchor::Middle, &numbers::tick(self.unit, *tick));
        }
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|one, other| match self.unit {
            Unit::PerSecond => other.value.median.total_cmp(&one.value.median),
            Unit::Seconds => one.value.median.total_cmp(&other.value.median),
        });
        for (at, row) in rows.into_iter().enumerate() {
            let y = area.y + ABOVE + ROW * (at as f64 + 0.5);
            let strong = if row.name == LESSOR { "strong" } else { "" };
            let name = fitting(row.name, FONT, names);
            canvas.text((area.x + names, y + 4.0), strong, Anchor::End, &name);
            canvas.line((from, y), (to, y), "grid");
            let (least, most) = (scale.at(row.value.least), scale.at(row.value.most));
            canvas.line((least, y), (most, y), &format!("spread {}", row.mark.class));
            let x = scale.at(row.value.median);
            match row.mark.shape {
                Some(_) => canvas.mark((x, y), &row.mark),
                None => canvas.line((x, y - 6.0), (x, y + 6.0), &format!("bar {}", row.mark.class)),
            }
            let value = numbers::value(self.unit, row.value.median);
            canvas.text((area.x + area.width, y + 4.0), strong, Anchor::End, &value);
        }
    }
}
