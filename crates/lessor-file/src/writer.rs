//! The writer thread. It leads commits for callers that cannot, extends the clock reservation, and
//! closes the log when it is stopped.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::close;
use crate::format::superblock::Superblock;
use crate::log::Log;
use crate::log::close_state::CloseLimit;
use crate::maintenance;
use crate::settings::SyncMode;

/// The interval at which the writer checks the log. It leads a frame that was staged two checks
/// before and that no other thread leads.
const TICK: Duration = Duration::from_millis(2);
/// The writer sleeps until it is woken after this many ticks without work.
const QUIET_TICKS: u32 = 50;

/// Starts the writer thread and the maintenance thread. The writer joins the other one and closes
/// the log once it is stopped. `next_segment` is the number of the next segment.
pub(crate) fn start(log: &Arc<Log>, next_segment: u64) -> io::Result<JoinHandle<()>> {
    let maintenance = maintenance::start(log, next_segment)?;
    log.signals.set_maintenance(maintenance.thread().clone());
    let writer = {
        let log = Arc::clone(log);
        let builder = thread::Builder::new().name("lessor-file-writer".to_owned());
        builder.spawn(move || run(&log, maintenance))
    };
    match writer {
        Ok(writer) => {
            log.signals.set_writer(writer.thread().clone());
            Ok(writer)
        }
        Err(error) => {
            log.stop(CloseLimit::Little);
            Err(error)
        }
    }
}

fn run(log: &Arc<Log>, maintenance: JoinHandle<()>) {
    let signals = &log.signals;
    // The LSN of the frame that was being gathered a tick ago.
    let mut seen = 0;
    let mut quiet = 0;
    let mut was_due = false;
    let mut unsynced = Duration::ZERO;
    loop {
        let is_stopping = signals.is_stopping();
        let is_urgent = signals.take_urgent();
        // A caller that reads the time before it writes reserves it with that write, so the
        // extension is put off by a tick.
        if signals.take_reservation_awaited() || was_due {
            extend_reservation(log);
        }
        was_due = signals.take_reservation_due();
        let (lsn, has_work, is_led) = {
            let staging = log.committer.lock();
            (staging.lsn, staging.has_work(), staging.is_led())
        };
        if has_work && !is_led && !log.poison.is_set() && (is_urgent || is_stopping || lsn == seen) {
            log.try_lead();
            quiet = 0;
            continue;
        }
        if is_stopping && !is_led && (!has_work || log.poison.is_set()) {
            break;
        }
        seen = if has_work { lsn } else { 0 };
        quiet = if has_work || is_led || was_due { 0 } else { quiet + 1 };
        let is_behind =
            log.settings.sync == SyncMode::Process && log.committer.synced() < log.committer.visible();
        if is_behind && unsynced >= log.settings.sync_every {
            unsynced = Duration::ZERO;
            log.sync();
        }
        if quiet < QUIET_TICKS {
            thread::park_timeout(TICK);
            unsynced += TICK;
            continue;
        }
        let timeout = is_behind.then_some(log.settings.sync_every);
        if signals.sleep(|| log.committer.lock().has_work(), timeout) {
            unsynced += timeout.unwrap_or_default();
        }
        quiet = 0;
    }
    // The thread may have parked since the stop was requested.
    signals.unpark_maintenance();
    let _ = maintenance.join();
    close::close(log);
}

/// Extends the clock reservation in the superblock, unless frames have extended it.
fn extend_reservation(log: &Log) {
    let (_, is_due) = log.clock.now();
    if is_due && !log.poison.is_set() {
        let clock = log.clock.next_reservation();
        let synced = log.committer.synced();
        let update = |block: &mut Superblock| {
            block.clock = block.clock.max(clock);
            block.synced = block.synced.max(synced);
        };
        match log.superblock.lock().update(update) {
            Ok(()) => log.clock.reserve_until(clock),
            Err(error) => log.fail("writing the superblock", &error),
        }
    }
    log.wake_reservation_waiters();
}
