//! Groups cases by section.

use crate::results::{Callers, Case, Results, Unit};

/// A section of the page: a store, or one of several settings of it.
pub(super) struct Section<'a> {
    pub(super) store: &'a str,
    pub(super) setting: Option<&'a str>,
    /// Unique among the sections. Part of file names and anchors.
    pub(super) slug: String,
    pub(super) series: Vec<Series<'a>>,
}

/// One workload with increasing numbers of callers.
pub(super) struct Series<'a> {
    /// At least one case, all with the same kind of callers, the fewest first.
    pub(super) cases: Vec<&'a Case>,
    /// The title within its section.
    pub(super) title: String,
}

/// Returns sections in the order of the results. A setting with a single workload is not a section
/// of its own.
pub(super) fn of(results: &Results) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for case in &results.cases {
        let setting = case.setting.as_deref().filter(|_| is_shared(results, case));
        let at =
            sections.iter().position(|section| section.store == case.store && section.setting == setting);
        let at = at.unwrap_or_else(|| {
            let slug = slug(&sections, &case.store, setting);
            sections.push(Section { store: &case.store, setting, slug, series: Vec::new() });
            sections.len() - 1
        });
        sections[at].add(case);
    }
    for section in &mut sections {
        for series in &mut section.series {
            series.cases.sort_by_key(|case| case.callers);
        }
    }
    sections
}

fn is_shared(results: &Results, case: &Case) -> bool {
    let alike = |other: &&Case| other.store == case.store && other.setting == case.setting;
    results.cases.iter().filter(alike).any(|other| other.workload != case.workload)
}

fn slug(others: &[Section<'_>], store: &str, setting: Option<&str>) -> String {
    let words = format!("{store} {}", setting.unwrap_or_default());
    let letters = words.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let slug = letters.collect::<String>().split_whitespace().collect::<Vec<_>>().join("-");
    let is_free = |slug: &String| !slug.is_empty() && others.iter().all(|other| other.slug != *slug);
    let numbered = (2..).map(|n| format!("{slug}-{n}"));
    std::iter::once(slug.clone()).chain(numbered).find(is_free).unwrap_or_default()
}

impl<'a> Section<'a> {
    fn add(&mut self, case: &'a Case) {
        match self.series.iter_mut().find(|series| series.takes(case)) {
            Some(series) => series.cases.push(case),
            None => {
                let setting = case.setting.as_ref().filter(|_| self.setting.is_none());
                let title = match setting {
                    Some(setting) => format!("{}, {setting}", case.title),
                    None => case.title.clone(),
                };
                self.series.push(Series { cases: vec![case], title });
            }
        }
    }

    /// Returns a name such as `Redis, appendonly no`.
    pub(super) fn name(&self) -> String {
        let store = store_name(self.store);
        self.setting.map_or_else(|| store.to_owned(), |setting| format!("{store}, {setting}"))
    }

    pub(super) fn cases(&self) -> impl Iterator<Item = &'a Case> {
        self.series.iter().flat_map(|series| series.cases.iter().copied())
    }
}

impl<'a> Series<'a> {
    fn takes(&self, case: &Case) -> bool {
        let first = self.first();
        let kind = std::mem::discriminant(&first.callers) == std::mem::discriminant(&case.callers);
        kind && first.workload == case.workload && first.setting == case.setting && first.unit == case.unit
    }

    pub(super) fn first(&self) -> &'a Case {
        self.cases[0]
    }

    pub(super) fn unit(&self) -> Unit {
        self.first().unit
    }

    /// Returns the contenders' names in the order of the cases.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for contender in self.cases.iter().flat_map(|case| &case.contenders) {
            if !names.contains(&contender.name.as_str()) {
                names.push(&contender.name);
            }
        }
        names
    }

    /// Returns whether `name` has a round in any case.
    pub(super) fn has(&self, name: &str) -> bool {
        let contenders = self.cases.iter().filter_map(|case| case.contender(name));
        contenders.into_iter().any(|contender| contender.spread().is_some())
    }

    /// Returns the contenders without rounds.
    pub(super) fn missing(&self) -> Vec<&'a str> {
        self.names().into_iter().filter(|name| !self.has(name)).collect()
    }

    pub(super) fn is_reference(&self, name: &str) -> bool {
        self.cases.iter().filter_map(|case| case.contender(name)).any(|contender| contender.is_reference)
    }
}

pub(super) fn store_name(store: &str) -> &str {
    match store {
        "memory" => "In memory",
        "file" => "File log",
        "redis" => "Redis",
        other => other,
    }
}

/// Returns a word such as `threads`.
pub(super) fn callers_word(callers: Callers) -> &'static str {
    match (callers, callers.count()) {
        (Callers::Threads(_), 1) => "thread",
        (Callers::Threads(_), _) => "threads",
        (Callers::Tasks(_), 1) => "task",
        (Callers::Tasks(_), _) => "tasks",
    }
}

/// Returns the plural for any number.
pub(super) fn callers_plural(callers: Callers) -> &'static str {
    match callers {
        Callers::Threads(_) => "threads",
        Callers::Tasks(_) => "tasks",
    }
}
