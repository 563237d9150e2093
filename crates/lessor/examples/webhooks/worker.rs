//! A worker. It handles a delivery, and repeats it as its sender would.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use lessor::{Backoff, Engine, ErrorKind, GrantEnd, Lease, OnFailed, OnceError, Outcome};
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::chaos::{Fate, effort};
use crate::input::Delivery;
use crate::ledger::{Ledger, Line, What};
use crate::report::Tally;

/// The answer to the sender of a delivery, for every copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) token: u64,
    pub(crate) bytes: usize,
}

pub(crate) struct Worker<'a> {
    number: usize,
    args: &'a Args,
    engine: &'a Engine,
    ledger: &'a Ledger,
    tally: Tally,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(number: usize, args: &'a Args, engine: &'a Engine, ledger: &'a Ledger) -> Self {
        Self { number, args, engine, ledger, tally: Tally::default() }
    }

    pub(crate) fn into_tally(self) -> Tally {
        self.tally
    }

    /// Handles a delivery until there is a receipt or a final failure.
    pub(crate) fn handle(&mut self, delivery: &Delivery) {
        while self.ledger.failure().is_none() {
            let mut grant = None;
            // A panic of the work has been stored with the code `panicked` when it arrives here.
            let Ok(ran) = catch_unwind(AssertUnwindSafe(|| self.once(delivery, &mut grant))) else {
                continue;
            };
            match ran {
                Ok(outcome) => return self.note(&outcome),
                // The attempt failed without a final failure. It is repeated, unless the ledger
                // failed.
                Err(
                    OnceError::Released(Err(_))
                    | OnceError::Lost(Some(Err(_)))
                    | OnceError::Unrecorded { work: Err(_), .. },
                ) => {}
                Err(OnceError::Work { retry_after: Some(wait), .. }) => pause(wait),
                Err(OnceError::Work { .. }) => return self.fail(delivery),
                Err(OnceError::Failed(view)) => match view.retry_after() {
                    Some(wait) => pause(wait),
                    None => return self.fail(delivery),
                },
                // Another caller took over, so the outcome was refused. The ledger gets a line,
                // because the work had its effect.
                Err(OnceError::Lost(_)) => {
                    self.tally.fenced += 1;
                    if let Some(line) = grant
                        && self.ledger.append(&Line { what: What::Fenced, ..line }).is_err()
                    {
                        return;
                    }
                }
                Err(OnceError::Engine(error)) if error.kind() == ErrorKind::Mismatch => {
                    return self.give_up(delivery, &"the same id came with another payload before");
                }
                Err(error) => return self.give_up(delivery, &error),
            }
        }
    }

    fn once(
        &mut self,
        delivery: &Delivery,
        grant: &mut Option<Line>,
    ) -> Result<Outcome<Receipt>, OnceError<Receipt, Trouble>> {
        let (engine, args) = (self.engine, self.args);
        let holder = format!("worker {}", self.number);
        let retry = OnFailed::Retry {
            max_attempts: args.attempts,
            backoff: Backoff::exponential(Duration::from_millis(5), Duration::from_millis(40)),
        };
        let mut once = engine.once(&delivery.id).ttl(args.ttl).holder(&holder).on_failed(retry);
        if let Some(payload) = &delivery.payload {
            once = once.fingerprint(payload);
        }
        once.run(|lease| self.work(delivery, lease, grant))
    }

    /// Does the work. Its effect is one line in the ledger.
    fn work(
        &mut self,
        delivery: &Delivery,
        lease: &Lease,
        grant: &mut Option<Line>,
    ) -> Result<Receipt, Trouble> {
        let after = lease.previous_grant().map(|former| former.ended());
        match after {
            Some(GrantEnd::Lapsed) => self.tally.taken_over += 1,
            Some(_) => self.tally.retried += 1,
            None => {}
        }
        // The number of failures is limited, so that every delivery is finished eventually.
        let fate = match lease.attempt() {
            attempt if attempt <= self.args.attempts => self.args.chaos.fate(&delivery.id, attempt),
            _ => Fate::Work,
        };
        pause(effort(&delivery.id));

        // The last check before the effect. The worker may still stall after it.
        if lease.is_lost() {
            // There was no effect, so no line is needed. The release may be refused.
            let _ = lease.release().wait();
            return Err(Trouble::Lost);
        }
        let token = lease.token().as_u64();
        let what = match fate {
            Fate::Work => What::Done,
            Fate::Panic => What::Panicked,
            Fate::Error => What::Errored,
            Fate::Stall => What::Stalled,
        };
        let line = Line {
            id: delivery.id.clone(),
            attempt: lease.attempt(),
            token,
            worker: self.number,
            run: self.ledger.run(),
            what,
            after: after.map(Into::into),
        };
        if self.ledger.append(&line).is_err() {
            // Without its line there was no effect. The next run does the work.
            let _ = lease.release().wait();
            return Err(Trouble::Ledger);
        }
        *grant = Some(line);
        match fate {
            Fate::Work => {}
            Fate::Panic => {
                self.tally.panicked += 1;
                // Panics without a message on the terminal.
                resume_unwind(Box::new("chaos"));
            }
            Fate::Error => {
                self.tally.errored += 1;
                return Err(Trouble::Chaos);
            }
            Fate::Stall => {
                self.tally.stalled += 1;
                // Stalls for longer than the ttl and the renewals of keep-alive. Another caller
                // takes over meanwhile. The worker then continues, and is refused.
                pause(self.args.ttl * 4);
            }
        }
        Ok(Receipt { id: delivery.id.clone(), token, bytes: delivery.bytes })
    }

    fn note(&mut self, outcome: &Outcome<Receipt>) {
        let tally = &mut self.tally;
        tally.replayed += usize::from(outcome.is_replay());
        tally.executed += usize::from(!outcome.is_replay());
        // The store's clock continues after a restart, and tokens follow it.
        let is_from_before = outcome.value().token < self.ledger.run();
        tally.from_before += usize::from(outcome.is_replay() && is_from_before);
        tally.waited += usize::from(outcome.has_waited());
        tally.late += usize::from(outcome.is_late());
        tally.receive(outcome.value());
    }

    fn fail(&mut self, delivery: &Delivery) {
        self.tally.failed += 1;
        self.tally.failures.insert(delivery.id.clone());
    }

    fn give_up(&mut self, delivery: &Delivery, error: &dyn fmt::Display) {
        let problem = format!("{}, line {}: not handled: {error}", delivery.id, delivery.line);
        self.tally.troubles.push(problem);
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Trouble {
    Chaos,
    Lost,
    Ledger,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chaos => f.write_str("injected failure"),
            Self::Lost => f.write_str("the lease was lost before the effect"),
            Self::Ledger => f.write_str("the ledger cannot be written"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for work that takes its time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
