//! The marks of contenders: each has the same colour and shape in all figures.

use std::collections::BTreeMap;

use super::theme::RIVALS;
use crate::results::{LESSOR, Results};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Pentagon,
    Star,
}

/// The marks of rivals, in turn. As there are more shapes than colours, two with one colour have
/// different shapes.
const SHAPES: [Shape; 6] =
    [Shape::Square, Shape::Diamond, Shape::Up, Shape::Down, Shape::Pentagon, Shape::Star];

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    /// The class in the style sheet.
    pub(super) class: String,
    /// `None` for references.
    pub(super) shape: Option<Shape>,
}

pub(super) struct Marks(BTreeMap<String, usize>);

impl Marks {
    /// Numbers rivals so that two of the same store differ. Rivals without a common store may share
    /// a colour.
    pub(super) fn of(results: &Results) -> Self {
        let mut met: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut order: Vec<&str> = Vec::new();
        for case in &results.cases {
            for contender in case.contenders.iter().filter(|each| !each.is_reference && each.name != LESSOR) {
                met.entry(&case.store).or_default().push(&contender.name);
                if !order.contains(&contender.name.as_str()) {
                    order.push(&contender.name);
                }
            }
        }
        let mut slots: BTreeMap<String, usize> = BTreeMap::new();
        for name in order {
            let others = met.values().filter(|names| names.contains(&name)).flatten();
            let taken: Vec<_> = others.filter_map(|other| slots.get(*other).copied()).collect();
            let slot = (0..).find(|slot| !taken.contains(slot)).unwrap_or_default();
            slots.insert(name.to_owned(), slot);
        }
        Self(slots)
    }

    pub(super) fn of_contender(&self, name: &str, is_reference: bool) -> Mark {
        if is_reference {
            return Mark { class: "reference".to_owned(), shape: None };
        }
        if name == LESSOR {
            return Mark { class: LESSOR.to_owned(), shape: Some(Shape::Circle) };
        }
        let slot = self.0.get(name).copied().unwrap_or_default();
        Mark { class: format!("rival{}", slot % RIVALS), shape: Some(SHAPES[slot % SHAPES.len()]) }
    }
}
