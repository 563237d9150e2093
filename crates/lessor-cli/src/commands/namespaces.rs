//! `lessor namespaces`.

use clap::Args;
use serde::Serialize;

use crate::exit::Code;
use crate::output::Row;
use crate::place::Global;
use crate::problem::Problem;

/// List the namespaces of a store, with the grants that were counted in this month
#[derive(Debug, Args)]
pub(crate) struct Namespaces {}

#[derive(Debug, Serialize)]
struct NamespaceRow {
    namespace: String,
    /// The current month, in UTC.
    month: String,
    /// The number of grants that were counted.
    used: u64,
}

impl Namespaces {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        const PAGE: usize = 1000;
        let engine = global.open_whole("namespaces")?;
        let mut rows: Vec<NamespaceRow> = Vec::new();
        loop {
            let after = rows.last().map(|row| row.namespace.as_str());
            let page = engine.namespaces(after, PAGE).wait()?;
            let is_last = page.len() < PAGE;
            for namespace in page {
                let usage = engine.namespace(&namespace).open()?.usage().wait()?;
                rows.push(NamespaceRow { namespace, month: usage.month().to_string(), used: usage.used() });
            }
            if is_last {
                break;
            }
        }
        global.output().rows(&rows)?;
        Ok(Code::Done)
    }
}

impl Row for NamespaceRow {
    const COLUMNS: &'static [&'static str] = &["NAMESPACE", "MONTH", "COUNTED GRANTS"];

    fn cells(&self) -> Vec<String> {
        vec![self.namespace.clone(), self.month.clone(), self.used.to_string()]
    }
}
