//! A plot with its headings, in any theme.

use super::SVG;
use super::canvas::{Anchor, Area, Canvas, fitting};
use super::theme::Theme;
use super::{lines, rows};

/// The width of GitHub's content column.
pub(super) const WIDTH: f64 = 800.0;
pub(super) const MARGIN: f64 = 20.0;
/// The space below the heading of a figure.
pub(super) const TOP: f64 = 74.0;
const GUTTER: f64 = 28.0;
const COLUMNS: usize = 2;

pub(super) struct Figure {
    /// The stem of its file names.
    pub(super) name: String,
    pub(super) title: String,
    /// A description of the plot in words.
    pub(super) description: String,
    pub(super) canvas: Canvas,
}

pub(super) enum Panel<'a> {
    Lines(lines::Panel<'a>),
    Rows(rows::Panel<'a>),
}

impl Figure {
    pub(super) fn file(&self, theme: &Theme) -> String {
        format!("{}-{}{SVG}", self.name, theme.name)
    }

    pub(super) fn draw(&self, theme: &Theme) -> String {
        self.canvas.document(theme, &self.title, &self.description)
    }

    /// Lays out panels in rows. `None` if there are none.
    pub(super) fn of_panels(
        name: String,
        title: String,
        subtitle: &str,
        description: String,
        panels: &[Panel<'_>],
    ) -> Option<Self> {
        let rows: Vec<_> = panels.chunks(COLUMNS).collect();
        let height = |row: &&[Panel<'_>]| row.iter().map(Panel::height).fold(0.0, f64::max);
        let heights: Vec<_> = rows.iter().map(height).collect();
        let whole = TOP + heights.iter().map(|height| height + GUTTER).sum::<f64>() - GUTTER + MARGIN;
        let mut canvas = Canvas::new(WIDTH, whole);
        headings(&mut canvas, &title, subtitle);

        let labels = panels.iter().map(Panel::labels).fold(0.0, f64::max);
        let width = (WIDTH - 2.0 * MARGIN - GUTTER) / COLUMNS as f64;
        let mut y = TOP;
        for (row, height) in rows.iter().zip(&heights) {
            for (at, panel) in row.iter().enumerate() {
                let x = MARGIN + at as f64 * (width + GUTTER);
                panel.draw(&mut canvas, Area { x, y, width, height: *height }, labels);
            }
            y += height + GUTTER;
        }
        (!panels.is_empty()).then_some(Self { name, title, description, canvas })
    }
}

impl Panel<'_> {
    fn height(&self) -> f64 {
        match self {
            Self::Lines(panel) => panel.height(),
            Self::Rows(panel) => panel.height(),
        }
    }

    fn labels(&self) -> f64 {
        match self {
            Self::Lines(panel) => panel.labels(),
            Self::Rows(_) => 0.0,
        }
    }

    fn draw(&self, canvas: &mut Canvas, area: Area, labels: f64) {
        match self {
            Self::Lines(panel) => panel.draw(canvas, area, labels),
            Self::Rows(panel) => panel.draw(canvas, area),
        }
    }
}

pub(super) fn headings(canvas: &mut Canvas, title: &str, subtitle: &str) {
    let room = WIDTH - 2.0 * MARGIN;
    canvas.text((MARGIN, 30.0), "heading", Anchor::Start, &fitting(title, 16.0, room));
    canvas.text((MARGIN, 50.0), "muted", Anchor::Start, &fitting(subtitle, lines::FONT, room));
}
