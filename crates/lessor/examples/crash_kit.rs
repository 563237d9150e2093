//! Shows how the crash kit finds the mistakes of a function that charges an order, and accepts a
//! correct one.
//!
//! In a project, each `report` is a `#[test]` that ends with `crash_everywhere(…).assert_ok()`.
//!
//! `cargo run -p lessor --example crash_kit`

use std::error::Error;

use lessor::{Acquisition, Lease, OnLapsed};
use lessor_testkit::{CrashTest, Promise, Sim, crash_everywhere};

type Done = Result<(), Box<dyn Error>>;

const ORDER: &str = "order-7";

/// Returns the lease, or `None` if the order was charged before.
fn acquire(sim: &Sim, on_lapsed: OnLapsed) -> Result<Option<Lease>, Box<dyn Error>> {
    match sim.engine().acquire(ORDER).on_lapsed(on_lapsed).wait()? {
        Acquisition::Acquired(lease) => Ok(Some(lease)),
        Acquisition::Completed(_) => Ok(None),
        other => Err(format!("try again later: {other:?}").into()),
    }
}

/// Mistake: the effect comes before the lease.
fn effect_before_the_lease(sim: &Sim) -> Done {
    sim.effect("charge", ORDER)?;
    if let Some(lease) = acquire(sim, OnLapsed::TakeOver)? {
        lease.complete(&"charged").wait()?;
    }
    Ok(())
}

/// Mistake: no reply is taken for "nothing was charged", and the lease is released. After a crash the
/// key is in doubt, so that a crash does no harm.
fn no_reply_taken_for_no_effect(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim, OnLapsed::InDoubt)? else { return Ok(()) };
    if let Err(error) = sim.effect_fenced("charge", ORDER, lease.token()) {
        lease.release().wait()?;
        return Err(error.into());
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Mistake: the payment service is asked first, but it does not know the token. A suspended worker
/// charges after the next one.
fn no_fence(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim, OnLapsed::TakeOver)? else { return Ok(()) };
    if !sim.has_happened("charge", ORDER)? {
        sim.effect("charge", ORDER)?;
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Correct: the token is shown to the payment service before it is asked, so that no former holder
/// can charge between the question and the charge.
fn correct(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim, OnLapsed::TakeOver)? else { return Ok(()) };
    sim.fence(ORDER, lease.token())?;
    if !sim.has_happened("charge", ORDER)? {
        sim.effect_fenced("charge", ORDER, lease.token())?;
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

fn main() {
    println!("effect before the lease: {}", crash_everywhere(effect_before_the_lease));
    let report = CrashTest::new().promise(Promise::AtMostOnce).run(no_reply_taken_for_no_effect);
    println!("no reply taken for no effect: {report}");
    println!("no fence: {}", crash_everywhere(no_fence));

    let report = crash_everywhere(correct);
    println!("correct: {report}");
    report.assert_ok();
}
