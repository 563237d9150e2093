//! A panel of lines: one per contender, with its name at the end.

use super::canvas::{Anchor, Area, Canvas, fitting, width};
use super::labels;
use super::marks::Mark;
use super::scale::{Round, Scale, extent};
use crate::results::Spread;

pub(super) const FONT: f64 = 11.5;
/// The space above the plot of a panel, and below.
const ABOVE: f64 = 46.0;
const PLOT: f64 = 156.0;
const BELOW: f64 = 24.0;
/// The height of the line that names contenders without results.
pub(super) const FOOTNOTE: f64 = 18.0;
const LEFT: f64 = 46.0;
/// The minimum distance between grid lines.
const TICKS: f64 = 26.0;
/// The distance from the end of a line to its name.
const LEAD: f64 = 16.0;
const LABELS: (f64, f64) = (40.0, 118.0);

pub(super) struct Panel<'a> {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// The labels of the positions from left to right.
    pub(super) places: Vec<String>,
    pub(super) places_are: String,
    pub(super) lines: Vec<Line<'a>>,
    /// The contenders without results.
    pub(super) missing: Vec<&'a str>,
    pub(super) round: Round,
    /// A value to compare the others with.
    pub(super) reference: Option<f64>,
    pub(super) tick: fn(f64) -> String,
}

pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) mark: Mark,
    /// One value per position.
    pub(super) values: Vec<Option<Spread>>,
}

impl Panel<'_> {
    pub(super) fn height(&self) -> f64 {
        let footnote = if self.missing.is_empty() { 0.0 } else { FOOTNOTE };
        ABOVE + PLOT + BELOW + footnote
    }

    /// Returns the width of the names beside the lines.
    pub(super) fn labels(&self) -> f64 {
        let widest = self.lines.iter().map(|line| width(line.name, FONT)).fold(0.0, f64::max);
        widest.clamp(LABELS.0, LABELS.1)
    }

    /// `labels` is the width for names, the same for all panels of a figure so that their plots
    /// align.
    pub(super) fn draw(&self, canvas: &mut Canvas, area: Area, labels: f64) {
        heading(canvas, area, &self.title, &self.subtitle);
        footnote(canvas, Area { height: self.height(), ..area }, &self.missing);
        let plot = Area {
            x: area.x + LEFT,
            y: area.y + ABOVE,
            width: area.width - LEFT - LEAD - labels,
            height: PLOT,
        };
        let bottom = plot.y + plot.height;
        let values = self.lines.iter().flat_map(|line| &line.values).flatten().copied().flat_map(extent);
        let Some(scale) = Scale::covering(values.chain(self.reference), self.round, (bottom, plot.y), TICKS)
        else {
            return;
        };

        for tick in &scale.ticks {
            let y = scale.at(*tick);
            let class = if self.reference == Some(*tick) { "axis" } else { "grid" };
            canvas.line((plot.x, y), (plot.x + plot.width, y), class);
            canvas.text((plot.x - 7.0, y + 4.0), "muted", Anchor::End, &(self.tick)(*tick));
        }
        for (at, place) in self.places.iter().enumerate() {
            canvas.text((self.x(&plot, at), bottom + 16.0), "muted", Anchor::Middle, place);
        }
        canvas.text((plot.x - 7.0, bottom + 16.0), "muted", Anchor::End, &self.places_are);

        let ends = self.draw_lines(canvas, &plot, &scale);
        let wanted: Vec<_> = ends.iter().map(|(_, (_, y))| *y).collect();
        let apart = labels::apart(&wanted, 13.0, (plot.y, bottom));
        for ((line, (x, y)), place) in ends.iter().zip(apart) {
            let (class, label) = (&line.mark.class, plot.x + plot.width + LEAD);
            let from = (x + 6.0, *y);
            canvas.polyline(&[from, (label - 9.0, *y), (label - 3.0, place)], &format!("lead {class}"));
            let class = if class == crate::results::LESSOR { "strong" } else { "" };
            canvas.text((label, place + 4.0), class, Anchor::Start, &fitting(line.name, FONT, labels));
        }
    }

    /// Draws lessor's line last, above the others. Returns the end of each line.
    fn draw_lines(&self, canvas: &mut Canvas, plot: &Area, scale: &Scale) -> Vec<(&Line<'_>, (f64, f64))> {
        let mut lines: Vec<_> = self.lines.iter().collect();
        lines.sort_by_key(|line| (line.name == crate::results::LESSOR, line.mark.shape.is_some()));
        let mut ends = Vec::new();
        for line in lines {
            let class = &line.mark.class;
            let values = line.values.iter().enumerate();
            let values: Vec<_> = values.filter_map(|(at, value)| Some((at, (*value)?))).collect();
            let place = |(at, value): &(usize, Spread)| (self.x(plot, *at), scale.at(value.median));
            let places: Vec<_> = values.iter().map(place).collect();
            for ((_, value), (x, _)) in values.iter().zip(&places) {
                let (least, most) = (scale.at(value.least), scale.at(value.most));
                canvas.line((*x, least), (*x, most), &format!("spread {class}"));
            }
            if places.len() > 1 {
                canvas.polyline(&places, &format!("line {class}"));
            }
            for place in &places {
                canvas.mark(*place, &line.mark);
            }
            ends.extend(places.last().map(|end| (line, *end)));
        }
        ends
    }

    /// The outermost positions keep a distance from the edges, so that marks do not touch them.
    fn x(&self, plot: &Area, at: usize) -> f64 {
        let inset = 12.0;
        match self.places.len() {
            0 | 1 => plot.x + plot.width / 2.0,
            count => plot.x + inset + (plot.width - 2.0 * inset) * at as f64 / (count - 1) as f64,
        }
    }
}

pub(super) fn heading(canvas: &mut Canvas, area: Area, title: &str, subtitle: &str) {
    canvas.text((area.x, area.y + 12.0), "title", Anchor::Start, &fitting(title, 13.5, area.width));
    canvas.text((area.x, area.y + 28.0), "muted", Anchor::Start, &fitting(subtitle, FONT, area.width));
}

pub(super) fn footnote(canvas: &mut Canvas, area: Area, missing: &[&str]) {
    if !missing.is_empty() {
        let text = fitting(&format!("No result: {}", missing.join(", ")), FONT, area.width);
        canvas.text((area.x, area.y + area.height - 4.0), "muted", Anchor::Start, &text);
    }
}
