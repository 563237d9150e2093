//! A worker: takes a delivery through the guard, as often as its sender would send it again.

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

/// What whoever sent the delivery gets for it, every time it is sent.
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

    /// Sees a delivery through: to its receipt, or to a failure that stands.
    pub(crate) fn handle(&mut self, delivery: &Delivery) {
        while self.ledger.failure().is_none() {
            let mut grant = None;
            // A panic of the work is on record when it arrives here, under the code `panicked`.
            let Ok(ran) = catch_unwind(AssertUnwindSafe(|| self.once(delivery, &mut grant))) else {
                continue;
            };
            match ran {
                Ok(outcome) => return self.note(&outcome),
                // This attempt failed; sent again, the delivery is tried again as the policy has it. Where the ledger failed,
                // nothing is.
                Err(
                    OnceError::Work(Trouble::Chaos | Trouble::Lost | Trouble::Ledger)
                    | OnceError::Released(Err(_))
                    | OnceError::Lost(Some(Err(_)))
                    | OnceError::Unrecorded { work: Err(_), .. },
                ) => {}
                Err(OnceError::Failed(view)) => match view.retry_after() {
                    Some(wait) => pause(wait),
                    None => {
                        self.tally.failed += 1;
                        self.tally.failures.insert(delivery.id.clone());
                        return;
                    }
                },
                // Too late: somebody took over, and this outcome does not count. The ledger is told, because the
                // effect was made.
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

    /// The work itself. Its effect is one line in the ledger.
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
        // Chaos has its bounds: where everybody stalled every time, nobody would ever get done.
        let fate = match lease.attempt() {
            attempt if attempt <= self.args.attempts => self.args.chaos.fate(&delivery.id, attempt),
            _ => Fate::Work,
        };
        pause(effort(&delivery.id));

        // The last look before the effect. It cannot be the very last: see what a stall does.
        if lease.is_lost() {
            // Nothing was done yet, so there is nothing to explain. It may be too late to say even this.
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
            // Without its line there was no effect, and the next run does the work.
            let _ = lease.release().wait();
            return Err(Trouble::Ledger);
        }
        *grant = Some(line);
        match fate {
            Fate::Work => {}
            Fate::Panic => {
                self.tally.panicked += 1;
                // As `panic!` does, but without a message on the terminal for each of them.
                resume_unwind(Box::new("chaos"));
            }
            Fate::Error => {
                self.tally.errored += 1;
                return Err(Trouble::Chaos);
            }
            Fate::Stall => {
                self.tally.stalled += 1;
                // Past the ttl, and past what keep-alive adds to it. Others are let in meanwhile; coming back, this
                // worker goes on as if nothing had happened, and is refused.
                pause(self.args.ttl * 4);
            }
        }
        Ok(Receipt { id: delivery.id.clone(), token, bytes: delivery.bytes })
    }

    fn note(&mut self, outcome: &Outcome<Receipt>) {
        let tally = &mut self.tally;
        tally.replayed += usize::from(outcome.is_replay());
        tally.executed += usize::from(!outcome.is_replay());
        // The store's clock goes on over a restart, and tokens follow it.
        let is_from_before = outcome.value().token < self.ledger.run();
        tally.from_before += usize::from(outcome.is_replay() && is_from_before);
        tally.waited += usize::from(outcome.has_waited());
        tally.late += usize::from(outcome.is_late());
        tally.receive(outcome.value());
    }

    fn give_up(&mut self, delivery: &Delivery, error: &dyn fmt::Display) {
        let problem = format!("{}, line {}: not handled: {error}", delivery.id, delivery.line);
        self.tally.troubles.push(problem);
    }
}

#[derive(Debug)]
pub(crate) enum Trouble {
    Chaos,
    Lost,
    Ledger,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chaos => f.write_str("the work met with chaos"),
            Self::Lost => f.write_str("the lease was lost before the effect"),
            Self::Ledger => f.write_str("the ledger cannot be written"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "stands for work that takes its time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
