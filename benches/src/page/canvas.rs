//! Writes SVG. Text is written as text, and colours are classes of a style sheet.

use super::marks::{Mark, Shape};
use super::theme::Theme;

/// A place, in pixels from the top left.
pub(super) type Place = (f64, f64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(super) fn text(&mut self, (x, y): Place, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        self.push(&format!(
            "<text x=\"{}\" y=\"{}\"{}{anchor}>{}</text>",
            number(x),
            number(y),
            of_class(class),
            escaped(text)
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): Place, (x2, y2): Place, class: &str) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(number);
        self.push(&format!("<line x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"{}/>", of_class(class)));
    }

    pub(super) fn polyline(&mut self, places: &[Place], class: &str) {
        self.push(&format!("<polyline points=\"{}\"{}/>", points(places), of_class(class)));
    }

    pub(super) fn rect(&mut self, area: Area, class: &str) {
        let [x, y, width, height] = [area.x, area.y, area.width, area.height].map(number);
        let class = of_class(class);
        self.push(&format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{class}/>"));
    }

    /// The shape that marks a contender's values. References have none.
    pub(super) fn mark(&mut self, at: Place, mark: &Mark) {
        if let Some(shape) = mark.shape {
            self.shape(at, shape, 1.0, &format!("mark {}", mark.class));
        }
    }

    /// `size` is 1 for a shape about as large as a letter.
    pub(super) fn shape(&mut self, (x, y): Place, shape: Shape, size: f64, class: &str) {
        let class = of_class(class);
        let around = |corners: u32, radius: f64, turn: f64, inner: f64| -> Vec<Place> {
            let corner = |n: u32| {
                let angle = std::f64::consts::TAU * (f64::from(n) / f64::from(corners) + turn);
                let radius = size * if n % 2 == 1 { radius * inner } else { radius };
                (x + radius * angle.sin(), y - radius * angle.cos())
            };
            (0..corners).map(corner).collect()
        };
        let corners = match shape {
            Shape::Circle => {
                let [x, y, radius] = [x, y, size * 4.5].map(number);
                return self.push(&format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"{class}/>"));
            }
            Shape::Square => around(4, 5.4, 0.125, 1.0),
            Shape::Diamond => around(4, 5.8, 0.0, 1.0),
            Shape::Up => around(3, 5.8, 0.0, 1.0),
            Shape::Down => around(3, 5.8, 0.5, 1.0),
            Shape::Pentagon => around(5, 5.2, 0.0, 1.0),
            Shape::Star => around(10, 6.4, 0.0, 0.45),
        };
        self.push(&format!("<polygon points=\"{}\"{class}/>", points(&corners)));
    }

    /// Returns the whole document. Title and description are for screen readers.
    pub(super) fn document(&self, theme: &Theme, title: &str, description: &str) -> String {
        let (width, height) = (number(self.width), number(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"title description\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"description\">{}</desc>\n<style>\n{}</style>\n\
             <rect class=\"surface\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n{}</svg>\n",
            escaped(title),
            escaped(description),
            theme.style(),
            self.body
        )
    }

    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }
}

/// Returns the greatest possible width of `text` in the fonts of the style sheet.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let ems = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' | '!' => 0.3,
        't' | 'f' | 'r' | ' ' | '(' | ')' | '-' | '\u{202f}' => 0.38,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '<' | '>' => 0.88,
        c if c.is_ascii_uppercase() => 0.72,
        c if c.is_ascii() => 0.58,
        _ => 0.8,
    };
    text.chars().map(ems).sum::<f64>() * size
}

/// Returns `text`, truncated to the width `most`.
pub(super) fn fitting(text: &str, size: f64, most: f64) -> String {
    if width(text, size) <= most {
        return text.to_owned();
    }
    let mut cut = String::new();
    for c in text.chars() {
        if width(&cut, size) + width(&format!("{c}…"), size) > most {
            break;
        }
        cut.push(c);
    }
    cut.truncate(cut.trim_end().len());
    cut.push('…');
    cut
}

/// Returns lines of whole words, none wider than `most` unless a single word is.
pub(super) fn wrapped(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| fitting(line, size, most)).collect()
}

fn of_class(class: &str) -> String {
    if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") }
}

fn points(places: &[Place]) -> String {
    places.iter().map(|&(x, y)| format!("{},{}", number(x), number(y))).collect::<Vec<_>>().join(" ")
}

/// Rounds to a tenth of a pixel.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Replaces characters that XML cannot represent even when escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
