//! The crash kit finds planted mistakes, and accepts correct functions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::error::Error;
use std::time::Duration;

use lessor_core::{Acquisition, Backoff, Lease, OnFailed, OnLapsed, block_on};
use lessor_testkit::{CrashReport, CrashTest, EffectError, Promise, Sim, crash_everywhere};

const ORDER: &str = "order-7";

type Done = Result<(), Box<dyn Error>>;

/// Returns the lease, or `None` if the work is done.
fn acquire(sim: &Sim) -> Result<Option<Lease>, Box<dyn Error>> {
    match sim.engine().acquire(ORDER).ttl(Duration::from_secs(30)).wait()? {
        Acquisition::Acquired(lease) => Ok(Some(lease)),
        Acquisition::Completed(_) => Ok(None),
        other => Err(format!("not granted: {other:?}").into()),
    }
}

/// A charge without a reply is tried again.
const RETRY: OnFailed = OnFailed::Retry { max_attempts: 100, backoff: Backoff::NONE };

/// Correct, and async.
fn in_a_future(sim: &Sim) -> Done {
    block_on(async {
        let once = sim.engine().once(ORDER).on_failed(RETRY);
        once.run_async(async |_lease| sim.effect_idempotent("charge", ORDER)).await?;
        Ok(())
    })
}

/// Mistake: another holder is trusted to finish.
fn trusts_another_holder(sim: &Sim) -> Done {
    match sim.engine().acquire(ORDER).wait()? {
        Acquisition::Acquired(lease) => {
            sim.effect_idempotent("charge", ORDER)?;
            lease.complete(&"charged").wait()?;
            Ok(())
        }
        Acquisition::InProgress(_) | Acquisition::Completed(_) => Ok(()),
        other => Err(format!("not granted: {other:?}").into()),
    }
}

/// Correct: the sink ignores a repeated charge.
fn idempotent(sim: &Sim) -> Done {
    let once = sim.engine().once(ORDER).on_failed(RETRY);
    once.run(|_lease| sim.effect_idempotent("charge", ORDER))?;
    Ok(())
}

/// Mistake: the failure of a charge without a reply is kept, and the charge is never tried again.
fn keeps_the_failure(sim: &Sim) -> Done {
    sim.engine().once(ORDER).run(|_lease| sim.effect_idempotent("charge", ORDER))?;
    Ok(())
}

/// Correct: the sink refuses former holders, and the next holder asks it before it acts.
fn fenced_and_asked(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim)? else { return Ok(()) };
    // From here on, no former holder can charge between the question and the charge.
    sim.fence(ORDER, lease.token())?;
    if !sim.has_happened("charge", ORDER)? {
        sim.effect_fenced("charge", ORDER, lease.token())?;
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Mistake: the effect comes before the lease.
fn effect_before_acquire(sim: &Sim) -> Done {
    sim.effect("charge", ORDER)?;
    if let Some(lease) = acquire(sim)? {
        lease.complete(&"charged").wait()?;
    }
    Ok(())
}

/// Mistake: no reply counts as no effect, and the lease is handed back.
fn release_after_an_error(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim)? else { return Ok(()) };
    if let Err(error) = sim.effect("charge", ORDER) {
        lease.release().wait()?;
        return Err(error.into());
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Mistake: a fence alone does not tell whether the former holder acted before it died.
fn only_fenced(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim)? else { return Ok(()) };
    sim.effect_fenced("charge", ORDER, lease.token())?;
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Mistake: the former holder may charge between the question and the charge.
fn only_asked(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim)? else { return Ok(()) };
    if !sim.has_happened("charge", ORDER)? {
        sim.effect("charge", ORDER)?;
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Mistake: the token reaches the sink only with the charge, after the question.
fn asked_before_the_fence(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim)? else { return Ok(()) };
    if !sim.has_happened("charge", ORDER)? {
        sim.effect_fenced("charge", ORDER, lease.token())?;
    }
    lease.complete(&"charged").wait()?;
    Ok(())
}

/// Mistake: the outcome is stored before the effect.
fn complete_before_the_effect(sim: &Sim) -> Done {
    let Some(lease) = acquire(sim)? else { return Ok(()) };
    lease.complete(&"charged").wait()?;
    sim.effect("charge", ORDER)?;
    Ok(())
}

/// Mistake: an effect without a reply is ignored.
fn ignores_the_effects_error(sim: &Sim) -> Done {
    sim.engine().once(ORDER).run(|_lease| {
        let _ = sim.effect_idempotent("charge", ORDER);
        Ok::<_, EffectError>(())
    })?;
    Ok(())
}

/// At most once: a crash leaves the key in doubt.
fn in_doubt(sim: &Sim) -> Done {
    let once = sim.engine().once(ORDER).on_lapsed(OnLapsed::InDoubt);
    once.run(|lease| sim.effect_fenced("charge", ORDER, lease.token()))?;
    Ok(())
}

#[track_caller]
fn sentence(report: &CrashReport, parts: &[&str]) {
    let sentence = report.failure().unwrap_or_else(|| panic!("{report}")).to_string();
    println!("{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "{sentence:?} does not contain {part:?}");
    }
}

#[test]
fn an_idempotent_sink_passes() {
    let report = crash_everywhere(idempotent);
    println!("{report}");
    report.assert_ok();
    assert!(report.scenarios() > 100 && report.faults() > 100 && report.steps() > 400, "{report:?}");
}

#[test]
fn an_async_function_passes() {
    crash_everywhere(in_a_future).assert_ok();
}

/// The other holder is dead, and no one charges.
#[test]
fn an_answer_in_progress_that_is_taken_for_done_is_found() {
    sentence(
        &crash_everywhere(trusts_another_holder),
        &[
            "was lost",
            "worker 1 crashed after `acquire` and before the effect `charge`, and its caller tried again at once",
        ],
    );
}

#[test]
fn a_fenced_sink_that_is_asked_first_passes() {
    let report = crash_everywhere(fenced_and_asked);
    println!("{report}");
    report.assert_ok();
}

#[test]
fn an_effect_before_the_lease_is_found() {
    sentence(
        &crash_everywhere(effect_before_acquire),
        &[
            "charge of order-7 happened twice: worker 1 crashed after the effect `charge` and before `acquire`",
        ],
    );
}

/// The caller does not know that the function has finished, and calls it again.
#[test]
fn a_function_without_a_guard_is_found_by_a_crash_after_its_last_step() {
    let report = CrashTest::new().random(0).run(|sim: &Sim| sim.effect("charge", ORDER));
    sentence(&report, &["twice: worker 1 crashed after its last step, the effect `charge`, and worker 2"]);
}

#[test]
fn an_effect_that_is_repeated_after_a_crash_is_found() {
    let report = crash_everywhere(only_fenced);
    sentence(
        &report,
        &[
            "happened twice: worker 1 crashed after the effect `charge` and before `complete`, and worker 2 did it again",
            "(seed 0, scenario 3, step 3)",
        ],
    );
}

#[test]
fn a_release_after_a_lost_reply_is_found() {
    // A crash shows another mistake of this function first.
    let report = CrashTest::new().promise(Promise::AtMostOnce).only(8).run(release_after_an_error);
    sentence(&report, &["the reply to the effect `charge` of worker 1 was lost, and worker 2 did it again"]);
}

#[test]
fn an_effect_of_a_suspended_worker_is_found() {
    let faults: Vec<_> = (1..40).map(|number| CrashTest::new().only(number).run(only_asked)).collect();
    let is_it = |text: &str| text.contains("suspended before the effect") && !text.contains("continued");
    let suspended = faults.iter().find(|report| is_it(&report.to_string()));
    sentence(
        suspended.unwrap(),
        &["worker 1 was suspended before the effect `charge`", "worker 2 began", "worker 1 did it again"],
    );
}

/// The suspended worker continues between the question and the charge of the next one.
#[test]
fn an_effect_between_the_question_and_the_charge_of_the_next_holder_is_found() {
    sentence(
        &crash_everywhere(asked_before_the_fence),
        &["worker 1 was suspended before", "worker 1 continued before the effect `charge` of worker 2"],
    );
}

#[test]
fn an_outcome_that_is_stored_before_the_effect_is_found() {
    sentence(
        &crash_everywhere(complete_before_the_effect),
        &[
            "charge of order-7 was lost, although the function reports success: worker 1 crashed after `complete`",
        ],
    );
}

#[test]
fn an_effect_whose_error_is_ignored_is_found() {
    sentence(
        &crash_everywhere(ignores_the_effects_error),
        &["was lost", "the effect `charge` of worker 1 did not arrive"],
    );
}

#[test]
fn a_failure_that_is_kept_although_nothing_was_done_is_found() {
    let report = crash_everywhere(keeps_the_failure);
    sentence(
        &report,
        &["does not finish", "the effect `charge` of worker 1 did not arrive", "failed before"],
    );
}

#[test]
fn a_key_in_doubt_keeps_at_most_once_and_not_exactly_once() {
    CrashTest::new().promise(Promise::AtMostOnce).run(in_doubt).assert_ok();
    sentence(&crash_everywhere(in_doubt), &["the function does not finish", "resolve"]);
}

#[test]
fn at_least_once_allows_a_repeated_effect_and_no_lost_one() {
    CrashTest::new().promise(Promise::AtLeastOnce).run(only_fenced).assert_ok();
    let lost = CrashTest::new().promise(Promise::AtLeastOnce).run(complete_before_the_effect);
    sentence(&lost, &["was lost"]);
}

/// A killed process runs no destructor. Its thread does, because it unwinds.
#[test]
fn a_destructor_of_a_killed_process_reaches_neither_the_store_nor_the_sink() {
    struct Cleanup<'a>(&'a Sim);
    impl Drop for Cleanup<'_> {
        fn drop(&mut self) {
            let reached = self.0.effect("cleanup", ORDER);
            let answer = self.0.engine().forget(ORDER).wait();
            assert_eq!(reached.is_ok(), answer.is_ok());
        }
    }
    let function = |sim: &Sim| {
        let _cleanup = Cleanup(sim);
        sim.effect("charge", ORDER)
    };
    CrashTest::new().only(1).run(function).assert_ok();
}

#[test]
fn a_function_that_fails_without_a_fault_is_reported() {
    let report = crash_everywhere(|_sim| Err::<(), _>("no connection"));
    sentence(&report, &["the function fails without any fault: no connection (seed 0, scenario 0, step 0)"]);
}

#[test]
fn a_panic_of_the_function_is_a_failed_call() {
    let report = crash_everywhere(|sim: &Sim| -> Result<(), EffectError> {
        assert!(sim.worker() < 2, "planted");
        sim.effect("charge", ORDER)
    });
    sentence(&report, &["does not finish", "it panicked: planted"]);
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let run = |seed| CrashTest::new().seed(seed).promise(Promise::AtLeastOnce).run(only_fenced);
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43));
}

#[test]
fn the_reported_scenario_fails_again_alone() {
    let first = crash_everywhere(asked_before_the_fence);
    let number = first.failure().unwrap().scenario();
    let again = CrashTest::new().only(number).run(asked_before_the_fence);
    assert_eq!(again.failure(), first.failure());
    assert_eq!(again.scenarios(), 2);
}
