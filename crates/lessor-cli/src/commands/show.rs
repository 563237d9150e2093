//! `lessor show`.

use std::io::{self, Write};

use clap::Args;
use lessor::{Key, View};
use serde::Serialize;

use crate::exit::Code;
use crate::output::{self, Shown};
use crate::place::Global;
use crate::problem::Problem;
use crate::run::ran::Ran;
use crate::{record, time};

/// Show the record of a key, without its result
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The key
    key: String,
    /// Print the stored result as it is, and nothing else; the exit code tells the state
    #[arg(long)]
    result: bool,
    /// Print the kept output of a command that `lessor run` ran, and nothing else; the exit code tells
    /// the state
    #[arg(long, conflicts_with = "result")]
    output: bool,
    /// End with the exit code of the state: 0 completed, 3 absent or released, 4 in progress, 5
    /// lapsed or in doubt, 6 failed
    #[arg(long)]
    exit_code: bool,
}

/// A record. In JSON, times are in µs since 1970 and durations in seconds.
#[derive(Debug, Serialize)]
struct Record<'a> {
    key: &'a Key,
    #[serde(flatten)]
    view: &'a View,
    result_bytes: Option<usize>,
    checkpoint_bytes: Option<usize>,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let engine = global.open()?;
        let key: Key = self.key.parse().map_err(lessor::Error::from)?;
        let view = engine.status(&key).wait()?.ok_or_else(|| Problem::from(lessor::Error::NotFound))?;
        if self.output {
            let none = || Problem::new(record::code(&view), "the key has no output of a command");
            Ran::of(&view).ok_or_else(none)?.print()?;
            return Ok(record::code(&view));
        }
        let mut out = global.output();
        if self.result {
            let none = || {
                let state = record::state(view.state(), view.is_in_doubt());
                Problem::new(record::code(&view), format!("the key has no result, it is {state}"))
            };
            out.raw(view.result_bytes().ok_or_else(none)?)?;
            return Ok(Code::Done);
        }
        out.show(&Record {
            key: &key,
            view: &view,
            result_bytes: view.result_bytes().map(<[u8]>::len),
            checkpoint_bytes: view.checkpoint_bytes().map(<[u8]>::len),
        })?;
        Ok(if self.exit_code { record::code(&view) } else { Code::Done })
    }
}

impl Shown for Record<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { key, view, result_bytes, checkpoint_bytes } = self;
        let bytes = |bytes: &Option<usize>| bytes.map(|bytes| format!("{bytes} bytes")).unwrap_or_default();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let duration = |duration: Option<_>| duration.map(time::duration).unwrap_or_default();
        let pairs = [
            ("key", key.to_string()),
            ("state", record::state(view.state(), view.is_in_doubt()).to_owned()),
            ("attempt", view.attempt().to_string()),
            ("version", view.version().to_string()),
            ("holder", text(view.holder())),
            ("first seen", time::at(view.first_seen_at())),
            ("done", view.done_at().map(time::at).unwrap_or_default()),
            ("lease left", duration(view.ttl_left())),
            ("retry after", duration(view.retry_after())),
            ("error code", text(view.error_code())),
            ("result", bytes(result_bytes)),
            ("result hash", view.result_hash().unwrap_or_default()),
            ("checkpoint", bytes(checkpoint_bytes)),
            ("metadata", text(view.metadata_json())),
        ];
        out.write_all(output::pairs(pairs.into_iter().filter(|(_, text)| !text.is_empty())).as_bytes())
    }
}
