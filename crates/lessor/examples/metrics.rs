//! Reports the metrics of an engine in the text format of Prometheus.
//!
//! `cargo run -p lessor --features metrics --example metrics`

use std::error::Error;
use std::time::Duration;

use lessor::{Message, OnLapsed};
use metrics_exporter_prometheus::PrometheusBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    // The recorder is installed before the engine is created.
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    let engine = lessor::open("memory:")?;

    for order in 0..100 {
        engine.once(format!("order:{}", order % 40)).run(|_lease| Ok::<_, Message>("charged".to_owned()))?;
    }
    // A holder dies, and the next caller takes over.
    drop(engine.acquire("order:dropped").wait()?);
    engine.wait_for("order:dropped", Duration::from_secs(10)).wait()?;
    let again = engine.once("order:dropped").on_lapsed(OnLapsed::TakeOver);
    again.run(|_lease| Ok::<_, Message>("charged".to_owned()))?;

    // A server returns this text under `/metrics`.
    let text = prometheus.render();
    for line in
        text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0") && !line.is_empty())
    {
        println!("{line}");
    }
    assert!(text.contains(r#"lessor_grants_total{after="nothing"} 41"#), "{text}");
    assert!(text.contains(r#"lessor_grants_total{after="lapse"} 1"#), "{text}");
    assert!(text.contains(r#"lessor_answers_total{state="completed"} 60"#), "{text}");
    Ok(())
}
