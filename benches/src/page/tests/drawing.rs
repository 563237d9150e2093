use roxmltree::{Document, Node};

use super::{all, crowded, files_of, fixture, small};
use crate::page::canvas::width;
use crate::results::{LESSOR, Results};

fn drawings(results: &Results) -> impl Iterator<Item = (String, String)> {
    files_of(results).into_iter().filter(|(name, _)| name.ends_with(".svg"))
}

fn parsed(text: &str) -> Document<'_> {
    Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn texts<'a>(document: &'a Document<'a>) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(|node| node.has_tag_name("text"))
}

#[test]
fn drawings_are_well_formed_and_have_descriptions() {
    for results in all() {
        for (name, text) in drawings(&results) {
            let document = parsed(&text);
            let root = document.root_element();
            assert_eq!(root.attribute("role"), Some("img"), "{name}");
            for tag in ["title", "desc"] {
                let node = root.children().find(|node| node.has_tag_name(tag)).expect("there is one");
                assert!(node.text().is_some_and(|text| !text.trim().is_empty()), "{name}: {tag}");
                let labelled = root.attribute("aria-labelledby").expect("there is one");
                assert!(labelled.split(' ').any(|id| node.attribute("id") == Some(id)), "{name}");
            }
            assert!(!text.contains("NaN") && !text.contains("inf"), "{name}");
        }
    }
}

#[test]
fn themes_differ_in_colours_only() {
    let without_colours = |text: &str| {
        let mut parts = text.split('#');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |out, part| out + "#" + part.get(6..).unwrap_or_default())
    };
    let files = files_of(&fixture::results());
    for (name, light) in files.iter().filter(|(name, _)| name.ends_with("-light.svg")) {
        let dark = &files[&name.replace("-light", "-dark")];
        assert_ne!(light, dark, "{name}");
        assert_eq!(without_colours(light), without_colours(dark), "{name}");
    }
}

#[test]
fn the_page_shows_every_drawing_in_both_themes() {
    for results in all() {
        let files = files_of(&results);
        let page = &files["README.md"];
        for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".svg")) {
            assert!(page.contains(&format!("\"{name}\"")), "{name}");
        }
        let shown = page.matches("srcset=").count() + page.matches("<img src=").count();
        assert_eq!(shown, files.len() - 1);
    }
}

#[test]
fn every_workload_and_contender_is_drawn() {
    let results = fixture::results();
    let files = files_of(&results);
    for case in &results.cases {
        let slug = case.setting.as_ref().map_or_else(
            || case.store.clone(),
            |setting| format!("{}-{}", case.store, setting.replace(' ', "-")),
        );
        let document = parsed(&files[&format!("throughput-{slug}-light.svg")]);
        let is_there =
            |wanted: &str| texts(&document).any(|node| node.text().is_some_and(|text| text.contains(wanted)));
        assert!(is_there(&case.title), "{slug}: {}", case.title);
        for contender in &case.contenders {
            assert!(is_there(&contender.name), "{slug}: {}", contender.name);
        }
    }
    for slug in ["memory", "file", "redis-appendonly-no", "redis-appendfsync-always"] {
        for kind in ["latency", "contention"] {
            assert!(files.contains_key(&format!("{kind}-{slug}-dark.svg")), "{kind} of {slug}");
        }
    }
}

#[test]
fn contenders_without_results_are_named_and_not_drawn() {
    let files = files_of(&small());
    let drawing = parsed(&files["throughput-memory-light.svg"]);
    let of_class = |class: &str| {
        drawing
            .descendants()
            .filter(|node| {
                node.attribute("class").is_some_and(|all| all.split(' ').any(|each| each == class))
            })
            .count()
    };
    assert!(texts(&drawing).any(|node| node.text() == Some("No result: b")));
    assert!(of_class("rival0") > 0 && of_class("rival1") == 0);
    let floor = drawing.descendants().find(|node| node.attribute("class") == Some("line reference"));
    assert!(
        floor.is_some() && files["throughput-memory-light.svg"].contains(".line.reference{stroke-dasharray")
    );
}

#[test]
fn nothing_is_drawn_outside() {
    for results in all() {
        for (name, text) in drawings(&results) {
            let document = parsed(&text);
            let number =
                |node: Node<'_, '_>, of: &str| node.attribute(of).and_then(|text| text.parse::<f64>().ok());
            let root = document.root_element();
            let (right, bottom) =
                (number(root, "width").expect("a width"), number(root, "height").expect("a height"));
            for node in texts(&document) {
                let (x, y) = (number(node, "x").expect("a place"), number(node, "y").expect("a place"));
                let text = node.text().unwrap_or_default();
                let size = if node.attribute("class") == Some("heading") { 16.0 } else { 11.5 };
                let wide = width(text, size);
                let left = match node.attribute("text-anchor") {
                    Some("end") => x - wide,
                    Some("middle") => x - wide / 2.0,
                    _ => x,
                };
                assert!(
                    left >= 0.0 && left + wide <= right && y >= 0.0 && y <= bottom,
                    "{name}: {text} at {left}..{}",
                    left + wide
                );
            }
            for node in document.descendants() {
                let xs = ["x1", "x2", "cx"].into_iter().filter_map(|of| number(node, of));
                let ys = ["y1", "y2", "cy"].into_iter().filter_map(|of| number(node, of));
                assert!(xs.into_iter().all(|x| (0.0..=right).contains(&x)), "{name}: {node:?}");
                assert!(ys.into_iter().all(|y| (0.0..=bottom).contains(&y)), "{name}: {node:?}");
            }
        }
    }
}

/// Regression test: the values of a column touched the next column's numbers of callers, and two
/// columns' headings touched each other.
#[test]
fn texts_on_one_line_of_the_overview_do_not_overlap() {
    for results in [fixture::results(), crowded(), small()] {
        for (name, text) in drawings(&results).filter(|(name, _)| name.starts_with("overview")) {
            let document = parsed(&text);
            let mut places: Vec<_> = texts(&document)
                .filter(|node| node.attribute("class") != Some("heading"))
                .map(|node| {
                    let place =
                        |of| node.attribute(of).and_then(|text| text.parse::<f64>().ok()).expect("a place");
                    let text = node.text().unwrap_or_default();
                    let before = match node.attribute("text-anchor") {
                        Some("end") => width(text, 11.5),
                        Some("middle") => width(text, 11.5) / 2.0,
                        _ => 0.0,
                    };
                    (place("y"), place("x") - before, text)
                })
                .collect();
            places.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
            for pair in places.windows(2) {
                let ((y, left, text), (next_y, next_left, next)) = (pair[0], pair[1]);
                let is_apart = y != next_y || next_left - (left + width(text, 11.5)) >= 6.0;
                assert!(is_apart, "{name}: {text:?} and {next:?} at {y}");
            }
        }
    }
}

#[test]
fn names_beside_lines_do_not_overlap() {
    for results in [fixture::results(), crowded()] {
        for (name, text) in drawings(&results).filter(|(name, _)| !name.starts_with("overview")) {
            let document = parsed(&text);
            let mut places: Vec<_> = texts(&document)
                .filter(|node| node.attribute("text-anchor").is_none())
                .map(|node| {
                    let place =
                        |of| node.attribute(of).and_then(|text| text.parse::<f64>().ok()).expect("a place");
                    (place("x"), place("y"), node.text().unwrap_or_default())
                })
                .collect();
            places.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
            for pair in places.windows(2) {
                let is_apart = pair[0].0 != pair[1].0 || pair[1].1 - pair[0].1 >= 11.9;
                assert!(is_apart, "{name}: {} and {}", pair[0].2, pair[1].2);
            }
        }
    }
}

#[test]
fn a_ratio_beyond_the_scale_is_an_arrow_and_its_number() {
    let mut results = small();
    results.cases.truncate(1);
    results.cases[0]
        .contenders
        .iter_mut()
        .filter(|each| each.name == LESSOR)
        .flat_map(|each| &mut each.rounds)
        .for_each(|sample| sample.value = 4000.0);
    let files = files_of(&results);
    let document = parsed(&files["overview-light.svg"]);
    assert!(
        document
            .descendants()
            .any(|node| node.has_tag_name("polyline") && node.attribute("class") == Some("line lessor"))
    );
    assert!(texts(&document).any(|node| node.text() == Some("1\u{202f}000")));
}

#[test]
fn latencies_are_shown_of_different_workloads_with_the_most_callers() {
    let files = files_of(&fixture::results());
    let document = parsed(&files["latency-redis-appendonly-no-light.svg"]);
    let titles = texts(&document).filter(|node| node.attribute("class") == Some("title"));
    let titles: Vec<_> = titles.filter_map(|node| node.text()).collect();
    assert_eq!(titles, ["Hot set, duplicates replayed, 512 tasks", "One hot key, refused, 512 tasks"]);
}

#[test]
fn workloads_are_shown_in_the_order_of_the_results() {
    let files = files_of(&fixture::results());
    let document = parsed(&files["overview-light.svg"]);
    let at = |wanted: &str| {
        let node = texts(&document).find(|node| node.text().is_some_and(|text| text.starts_with(wanted)));
        node.and_then(|node| node.attribute("y")?.parse::<f64>().ok()).unwrap_or_else(|| panic!("{wanted}"))
    };
    let order = ["Fresh", "One hot", "Hot set", "Hand-over", "A thousand", "Renewals", "Open", "Purge"];
    assert!(order.map(at).is_sorted(), "the workload that only the file log has is in its place");
}

#[test]
fn workloads_without_a_ratio_are_in_the_overview() {
    let mut results = small();
    results.cases.iter_mut().for_each(|case| case.against.clear());
    let files = files_of(&results);
    let document = parsed(&files["overview-light.svg"]);
    assert!(texts(&document).any(|node| node.text() == Some("Fresh keys")));
    assert!(texts(&document).any(|node| node.text() == Some("none")));
}
