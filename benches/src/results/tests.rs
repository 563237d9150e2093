use std::time::Duration;

use super::{Callers, Case, Contender, LESSOR, Latency, Sample, Spread, Unit};

#[test]
fn a_ratio_compares_with_the_best_rival_of_the_same_round() {
    // The best rival differs between rounds. A ratio of medians would be 15 / 10.
    let case = case(
        Unit::PerSecond,
        &[(LESSOR, &[10.0, 20.0, 15.0]), ("a", &[5.0, 40.0, 10.0]), ("b", &[20.0, 4.0, 10.0])],
    );
    assert_eq!(case.ratio(), Some(Spread { median: 0.5, least: 0.5, most: 1.5 }));
}

#[test]
fn a_ratio_above_one_means_that_lessor_is_better_in_seconds_as_well() {
    let case =
        case(Unit::Seconds, &[(LESSOR, &[1.0, 2.0, 4.0]), ("a", &[4.0, 4.0, 4.0]), ("b", &[8.0, 1.0, 8.0])]);
    assert_eq!(case.ratio(), Some(Spread { median: 1.0, least: 0.5, most: 4.0 }));
}

#[test]
fn contenders_that_are_not_rivals_are_not_compared() {
    let mut case = case(Unit::PerSecond, &[(LESSOR, &[10.0]), ("a", &[5.0]), ("floor", &[100.0])]);
    case.against = vec!["a".to_owned()];
    case.contenders[2].is_reference = true;
    assert_eq!(case.ratio().map(|ratio| ratio.median), Some(2.0));
    assert_eq!(case.ratio_to_reference().map(|ratio| ratio.median), Some(0.1));
    assert_eq!(case.rival().map(|rival| rival.name.as_str()), Some("a"));
}

#[test]
fn rounds_without_both_results_are_ignored() {
    let some = case(Unit::PerSecond, &[(LESSOR, &[10.0, 10.0, 10.0]), ("a", &[5.0]), ("b", &[])]);
    assert_eq!(some.ratio(), Some(Spread { median: 2.0, least: 2.0, most: 2.0 }));
    assert_eq!(case(Unit::PerSecond, &[(LESSOR, &[1.0]), ("a", &[])]).ratio(), None);
    assert_eq!(case(Unit::PerSecond, &[(LESSOR, &[]), ("a", &[1.0])]).ratio(), None);
    assert_eq!(case(Unit::PerSecond, &[("a", &[1.0])]).ratio(), None);
    assert_eq!(
        case(Unit::PerSecond, &[(LESSOR, &[1.0]), ("a", &[0.0])]).ratio(),
        None,
        "an infinite ratio is ignored"
    );
}

#[test]
fn the_best_rival_is_the_fastest_in_any_unit() {
    let contenders: &[(&str, &[f64])] =
        &[(LESSOR, &[9.0]), ("a", &[1.0, 1.0, 9.0]), ("b", &[2.0, 2.0, 2.0]), ("c", &[])];
    let rival = |unit| case(unit, contenders).rival().map(|rival| rival.name.clone());
    assert_eq!(rival(Unit::PerSecond).as_deref(), Some("b"));
    assert_eq!(rival(Unit::Seconds).as_deref(), Some("a"));
}

#[test]
fn the_median_of_an_even_number_is_the_mean_of_the_middle_two() {
    assert_eq!(
        Spread::of([4.0, 1.0, 2.0, 9.0].into_iter()),
        Some(Spread { median: 3.0, least: 1.0, most: 9.0 })
    );
    assert_eq!(
        Spread::of([f64::NAN, 7.0, -7.0, f64::INFINITY].into_iter()),
        Some(Spread { median: 7.0, least: 7.0, most: 7.0 })
    );
    assert_eq!(Spread::of(std::iter::empty()), None);
}

#[test]
fn stored_results_are_read_unchanged() {
    let mut case = case(Unit::Seconds, &[(LESSOR, &[0.1, 0.3]), ("a", &[])]);
    let latency = |nanos| Latency {
        p50: Duration::from_nanos(nanos),
        p90: Duration::from_nanos(nanos * 3),
        p99: Duration::from_nanos(nanos * 7),
        p999: Duration::from_nanos(nanos * 11),
        most: Duration::from_nanos(nanos * 1_000_003),
    };
    case.contenders[0].rounds[0].latency = Some(latency(101));
    case.contenders[0].rounds[1].latency = Some(latency(303));
    let text = serde_json::to_string(&case).expect("it can be written");
    assert_eq!(serde_json::from_str::<Case>(&text).expect("it can be read"), case);
    assert_eq!(case.contenders[0].latency().expect("there are two").p50, Duration::from_nanos(202));
    assert_eq!(case.contenders[1].latency(), None);
}

fn case(unit: Unit, contenders: &[(&str, &[f64])]) -> Case {
    let contender = |&(name, values): &(&str, &[f64])| Contender {
        name: name.to_owned(),
        is_reference: false,
        note: None,
        rounds: values.iter().map(|&value| Sample { value, latency: None }).collect(),
    };
    Case {
        workload: "fresh".to_owned(),
        title: "Fresh keys".to_owned(),
        note: "A key is acquired and completed.".to_owned(),
        store: "memory".to_owned(),
        setting: None,
        callers: Callers::Threads(1),
        unit,
        against: contenders
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .filter(|name| name != LESSOR)
            .collect(),
        contenders: contenders.iter().map(contender).collect(),
    }
}
