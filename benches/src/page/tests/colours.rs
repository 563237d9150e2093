use super::{crowded, files_of, fixture};
use crate::page::marks::Marks;
use crate::page::theme::{RIVALS, THEMES};

/// Returns linear red, green and blue.
type Light = [f64; 3];

/// The linear colours that dichromats perceive: Machado, Oliveira and Fernandes, 2009; severity 1.
const EYES: [[Light; 3]; 4] = [
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
];

fn light(colour: &str) -> Light {
    [1, 3, 5].map(|at| {
        let byte = u8::from_str_radix(&colour[at..at + 2], 16).expect("two digits");
        let share = f64::from(byte) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    })
}

fn times(matrix: &[Light; 3], light: Light) -> Light {
    matrix.map(|row| row.iter().zip(light).map(|(one, other)| one * other).sum())
}

/// Converts to Oklab, in which equal distances are perceived as equal: Ottosson, 2020.
fn oklab(light: Light) -> Light {
    let cones = times(
        &[
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ],
        light,
    );
    times(
        &[
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ],
        cones.map(|cone| cone.max(0.0).cbrt()),
    )
}

/// Returns the least distance over all kinds of colour vision.
fn distance(one: &str, other: &str) -> f64 {
    let distances = EYES.iter().map(|eye| {
        let [one, other] = [one, other].map(|colour| oklab(times(eye, light(colour))));
        one.iter().zip(other).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
    });
    distances.fold(f64::INFINITY, f64::min)
}

/// Returns the contrast by WCAG 2.
fn contrast(one: &str, other: &str) -> f64 {
    let [one, other] = [one, other].map(|colour| {
        let [red, green, blue] = light(colour);
        0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    });
    one.max(other) / one.min(other)
}

#[test]
fn contenders_are_distinguishable_with_any_colour_vision() {
    for theme in &THEMES {
        let mut colours = vec![theme.lessor, theme.reference];
        colours.extend(theme.rivals);
        for (at, one) in colours.iter().enumerate() {
            assert!(contrast(one, theme.surface) >= 3.0, "{}: {one}", theme.name);
            for other in &colours[at + 1..] {
                // Twice the just noticeable difference of adjacent areas.
                assert!(distance(one, other) >= 0.04, "{}: {one} and {other}", theme.name);
            }
        }
    }
}

#[test]
fn text_has_enough_contrast_in_both_themes() {
    for theme in &THEMES {
        assert!(contrast(theme.ink, theme.surface) >= 7.0, "{}", theme.name);
        assert!(contrast(theme.muted, theme.surface) >= 4.5, "{}", theme.name);
    }
}

#[test]
fn rivals_of_one_store_have_different_marks_and_keep_them_in_all_figures() {
    for results in [fixture::results(), crowded()] {
        let marks = Marks::of(&results);
        for case in &results.cases {
            let mark =
                |at: usize| marks.of_contender(&case.contenders[at].name, case.contenders[at].is_reference);
            for one in 0..case.contenders.len() {
                for other in one + 1..case.contenders.len() {
                    let (left, right) = (mark(one), mark(other));
                    assert!(
                        left != right,
                        "{left:?} is both {} and {}",
                        case.contenders[one].name,
                        case.contenders[other].name
                    );
                }
            }
        }
    }
    let marks = Marks::of(&fixture::results());
    let colours: Vec<_> =
        ["SQLite", "redb", "fjall", "sled", "LMDB"].map(|name| marks.of_contender(name, false).class).into();
    assert_eq!(
        colours,
        (0..RIVALS).map(|at| format!("rival{at}")).collect::<Vec<_>>(),
        "as long as there are enough colours"
    );
}

#[test]
fn every_class_has_a_style_rule() {
    for (name, text) in files_of(&crowded()).into_iter().filter(|(name, _)| name.ends_with(".svg")) {
        let style =
            text.split("<style>").nth(1).and_then(|text| text.split("</style>").next()).expect("a style");
        let classes = text.split("class=\"").skip(1).filter_map(|text| text.split('"').next());
        for class in classes.flat_map(|classes| classes.split(' ')) {
            assert!(style.contains(&format!(".{class}{{")), "{name}: {class}");
        }
    }
}
