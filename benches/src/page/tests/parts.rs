use crate::page::canvas::{fitting, width, wrapped};
use crate::page::labels::apart;
use crate::page::numbers::{count, rate, ratio, tick, time};
use crate::page::scale::{Round, Scale};
use crate::results::Unit;

#[test]
fn numbers_have_two_or_three_significant_digits() {
    let plain = |text: String| text.replace('\u{202f}', " ");
    let rates =
        [0.0, 0.056, 8.45, 84.49, 99.96, 845.4, 999.6, 1_234.0, 93_749.0, 999_600.0, 1_234_567.0, 2.5e9];
    let rates: Vec<_> = rates.map(|value| plain(rate(value))).into();
    assert_eq!(
        rates,
        [
            "0.00", "0.06", "8.45", "84.5", "100", "845", "1.00 k", "1.23 k", "93.7 k", "1.00 M", "1.23 M",
            "2.50 G"
        ]
    );
    let times = [0.0, 8.451e-7, 9.996e-7, 1.5e-5, 0.012_34, 0.999_6, 1.234, 75.5];
    let times: Vec<_> = times.map(|value| plain(time(value))).into();
    assert_eq!(times, ["0.00 s", "845 ns", "1.00 µs", "15.0 µs", "12.3 ms", "1.00 s", "1.23 s", "75.5 s"]);
    let ratios: Vec<_> =
        [0.000_5, 0.012_3, 0.7, 1.0, 9.994, 36.75, 1_234.0].map(|value| plain(ratio(value))).into();
    assert_eq!(ratios, ["< 0.001", "0.012", "0.70", "1.00", "9.99", "36.8", "1 234"]);
    assert_eq!(plain(count(1_000_000.0)), "1 000 000");
    let ticks =
        [(Unit::PerSecond, 2_000.0), (Unit::PerSecond, 0.5), (Unit::PerSecond, 200.0), (Unit::Seconds, 0.01)];
    assert_eq!(ticks.map(|(unit, at)| plain(tick(unit, at))), ["2 k", "0.5", "200", "10 ms"]);
}

#[test]
fn scales_cover_all_values_with_a_few_grid_lines_at_round_numbers() {
    for (round, values) in [
        (Round::Decimal, &[3.0, 5.0][..]),
        (Round::Decimal, &[7.0, 7.0]),
        (Round::Decimal, &[1.0, 1000.0]),
        (Round::Decimal, &[0.000_001, 30.0]),
        (Round::Decimal, &[1e-12, 1e12]),
        (Round::Twos, &[0.3, 1.0]),
        (Round::Twos, &[1.0, 60.0]),
        (Round::Twos, &[0.001, 900.0]),
    ] {
        let scale =
            Scale::covering(values.iter().copied(), round, (200.0, 40.0), 26.0).expect("there are values");
        assert!((2..=6).contains(&scale.ticks.len()), "{values:?}: {:?}", scale.ticks);
        assert!(values.iter().all(|value| scale.has(*value)), "{values:?}");
        assert!(scale.ticks.iter().all(|tick| scale.has(*tick)), "{values:?}");
        assert!(scale.ticks.is_sorted(), "{:?}", scale.ticks);
        assert!(scale.at(values[0]) >= scale.at(values[1]), "upwards");
    }
    let scale = Scale::covering([1.0, 100.0].into_iter(), Round::Decimal, (0.0, 100.0), 26.0)
        .expect("there are values");
    assert!((scale.at(10.0) - 50.0).abs() < 1e-9, "equal ratios have equal distances");
    assert!(Scale::covering([0.0, -1.0, f64::NAN].into_iter(), Round::Decimal, (0.0, 1.0), 26.0).is_none());
}

#[test]
fn labels_are_moved_as_little_as_possible() {
    assert_eq!(
        apart(&[10.0, 50.0, 90.0], 10.0, (0.0, 100.0)),
        [10.0, 50.0, 90.0],
        "labels that are apart are not moved"
    );
    assert_eq!(apart(&[52.0, 48.0], 10.0, (0.0, 100.0)), [55.0, 45.0], "the order is kept");
    assert_eq!(apart(&[0.0, 0.0, 0.0], 10.0, (0.0, 100.0)), [0.0, 10.0, 20.0], "none is moved outside");
    assert_eq!(apart(&[100.0, 100.0], 10.0, (0.0, 100.0)), [90.0, 100.0]);
    assert_eq!(
        apart(&[5.0; 11], 20.0, (0.0, 100.0)),
        [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0]
    );
    assert!(apart(&[], 10.0, (0.0, 100.0)).is_empty());
}

#[test]
fn long_texts_are_truncated_or_wrapped() {
    assert_eq!(fitting("lessor", 11.5, 100.0), "lessor");
    let cut = fitting("a name that is longer than its column", 11.5, 100.0);
    assert!(cut.ends_with('…') && width(&cut, 11.5) <= 100.0, "{cut}");
    let lines = wrapped("Hand-over of lapsed leases", 11.5, 90.0);
    assert_eq!(lines.join(" "), "Hand-over of lapsed leases");
    assert!(lines.len() > 1 && lines.iter().all(|line| width(line, 11.5) <= 90.0), "{lines:?}");
}
