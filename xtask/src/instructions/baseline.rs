//! The baseline of instruction counts.

use std::fmt::Write;

use crate::step::End;

/// The growth of a path that is accepted, in percent. Counts repeat to within 0.2 %, but `once`
/// only to within 4 %, because the engine's thread, to which it hands the renewal, may or may not
/// have to be woken.
fn allowed(path: &str) -> u64 {
    if path == "once" { 10 } else { 3 }
}

/// The instructions per operation, and the versions that they depend on.
#[derive(Debug, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) counted_with: String,
    /// The path, lessor's count, and that of the map written by hand.
    pub(crate) paths: Vec<(String, u64, Option<u64>)>,
}

/// The result of a comparison.
pub(crate) struct Compared {
    pub(crate) verdict: Result<End, String>,
    pub(crate) table: String,
}

impl Baseline {
    /// Parses a baseline. The first line has the versions. Each other line has a path, its count,
    /// and the rival's if there is one.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let counted_with = lines.next().unwrap_or_default().to_owned();
        let path = |line: &str| {
            let mut words = line.split_whitespace();
            let (name, count) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
            let rival = words.next().map(str::parse).transpose().ok()?;
            words.next().is_none().then_some((name, count, rival))
        };
        let paths = lines.map(|line| {
            path(line).ok_or_else(|| format!("the line {line:?} of the baseline is not a path and a count"))
        });
        Ok(Self { counted_with, paths: paths.collect::<Result<_, _>>()? })
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.counted_with);
        for (name, count, rival) in &self.paths {
            let rival = rival.map(|rival| format!(" {rival}")).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {count}{rival}");
        }
        text
    }

    /// Fails if a path takes noticeably more instructions. The rival is only shown.
    pub(crate) fn compare(&self, now: &Self) -> Compared {
        let mut table = "path          before       now    change   dashmap by hand\n".to_owned();
        let mut grown = Vec::new();
        let mut shrunk = Vec::new();
        for (name, count, rival) in &now.paths {
            let before = self.paths.iter().find(|(known, ..)| known == name).map(|(_, before, _)| *before);
            match before {
                None => grown.push(format!("{name} is not in the baseline")),
                Some(before) if count * 100 > before * (100 + allowed(name)) => {
                    grown.push(format!("{name} {before} -> {count}"));
                }
                Some(before) if count * (100 + allowed(name)) < before * 100 => shrunk.push(name.as_str()),
                Some(_) => {}
            }
            let change = before.map_or("new".to_owned(), |before| percent(before, *count));
            let (before, rival) = (shown(before), shown(*rival));
            let _ = writeln!(table, "{name:<12}{before:>8}  {count:>8}  {change:>8}  {rival:>16}");
        }
        let bless = "`cargo xtask instructions --bless` writes a new baseline";
        let verdict = if self.counted_with != now.counted_with {
            Ok(End::Skipped(format!(
                "NOT COMPARED: the baseline was counted with {}, this is {}; {bless}",
                self.counted_with, now.counted_with
            )))
        } else if !grown.is_empty() {
            let grown = grown.join(", ");
            Err(format!("over the baseline: {grown}; if that is necessary, {bless}"))
        } else if !shrunk.is_empty() {
            // Without a new baseline, the improvement could be lost unnoticed.
            Ok(End::PassedWith(format!("better than the baseline: {}; {bless}", shrunk.join(", "))))
        } else {
            Ok(End::PassedWith(format!("{} paths, none over the baseline", now.paths.len())))
        };
        Compared { verdict, table }
    }
}

fn shown(count: Option<u64>) -> String {
    count.map_or("-".to_owned(), |count| count.to_string())
}

/// Formats a change with one decimal, without floating-point numbers.
fn percent(before: u64, now: u64) -> String {
    let sign = if now < before { '-' } else { '+' };
    let per_mille = before.abs_diff(now) * 1000 / before.max(1);
    format!("{sign}{}.{} %", per_mille / 10, per_mille % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(with: &str, fresh: u64) -> Baseline {
        let paths = vec![("fresh".to_owned(), fresh, Some(500)), ("once".to_owned(), 2000, None)];
        Baseline { counted_with: with.to_owned(), paths }
    }

    fn verdict(before: &Baseline, now: &Baseline) -> Result<End, String> {
        before.compare(now).verdict
    }

    #[test]
    fn a_path_that_takes_noticeably_more_is_caught() {
        let before = counted("rustc 1", 1000);
        assert!(matches!(verdict(&before, &counted("rustc 1", 1030)), Ok(End::PassedWith(_))));
        let error = verdict(&before, &counted("rustc 1", 1031)).err();
        assert!(error.is_some_and(|error| error.contains("fresh 1000 -> 1031")));
        let once = |count| Baseline {
            paths: vec![("once".to_owned(), count, None)],
            counted_with: "rustc 1".to_owned(),
        };
        assert!(verdict(&once(1000), &once(1100)).is_ok());
        assert!(verdict(&once(1000), &once(1101)).is_err());
    }

    #[test]
    fn a_path_that_the_baseline_does_not_know_is_caught() {
        let mut before = counted("rustc 1", 1000);
        before.paths.pop();
        let error = verdict(&before, &counted("rustc 1", 1000)).err();
        assert!(error.is_some_and(|error| error.contains("once is not in the baseline")));
    }

    #[test]
    fn a_gain_asks_for_a_new_baseline() {
        let passed = verdict(&counted("rustc 1", 1000), &counted("rustc 1", 900));
        assert!(matches!(passed, Ok(End::PassedWith(detail)) if detail.contains("fresh")));
    }

    #[test]
    fn counts_of_another_toolchain_are_not_compared_and_that_is_said() {
        let skipped = verdict(&counted("rustc 1", 1000), &counted("rustc 2", 5000));
        assert!(matches!(skipped, Ok(End::Skipped(reason)) if reason.contains("NOT COMPARED")));
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let baseline = counted("rustc 1", 1000);
        assert_eq!(Baseline::parse(&baseline.to_text()), Ok(baseline));
        for bad in ["rustc 1\nfresh", "rustc 1\nfresh x", "rustc 1\nfresh 1 2 3"] {
            assert!(Baseline::parse(bad).is_err());
        }
    }
}
