//! Progress bars on standard error, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Returns a bar for a number of bytes that is not known yet.
pub(crate) fn bytes(message: &'static str) -> ProgressBar {
    styled(ProgressBar::new(0), "{msg} {wide_bar} {bytes}/{total_bytes}", message)
}

/// Returns a bar for a number of steps.
pub(crate) fn steps(message: &'static str, steps: u64) -> ProgressBar {
    styled(ProgressBar::new(steps), "{msg} {wide_bar} {pos}/{len} {per_sec}", message)
}

/// Returns a sign that something goes on, whose end is not known.
pub(crate) fn spinner(message: &'static str) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", message);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn styled(bar: ProgressBar, template: &str, message: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(message)
}
