//! Tests of the conformance suite: each planted fault of a store is detected by the promise that is
//! meant for it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use lessor_core::store::{
    Applied, CasResult, ChangeNotifier, Closing, ConditionalWrite, Execution, Operation, Page, Purged, Reply,
    Scan, Snapshot,
};
use lessor_core::{
    Cas, Clock, CompareAndSwap, Durability, Key, Pending, Record, Store, StoreError, Timestamp, Token, View,
};
use lessor_testkit::conformance::PROMISES;
use lessor_testkit::{ManualClock, Subject, history};
use parking_lot::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    None,
    AbsenceIsNotCompared,
    ClockRunsBackwards,
    ConflictShowsWhatWasToBeWritten,
    ConflictWritesAnyway,
    CursorIsListedAgain,
    ErrorSaysNothingHappenedAfterTheWrite,
    KeysAreFoldedToLowerCase,
    KeysAreTrimmed,
    LargeRecordsAreNotKept,
    LoadIsStale,
    NotAfterIsIgnored,
    NotBeforeIsIgnored,
    NowLagsBehind,
    OperationAnswersFromAnEarlierRecord,
    OperationIsAppliedTwice,
    OperationIsJudgedByAnEarlierClock,
    OperationIsLost,
    OperationIsNotAtomic,
    PrefixIsAPattern,
    PurgeDropsTheTokenFloor,
    PurgeDropsWhatIsNotDue,
    PurgeDropsWhatWasWrittenMeanwhile,
    PurgeDoesNothing,
    PurgeIgnoresItsLimit,
    PurgedTokensAreForgotten,
    ScanIsUnordered,
    ScanSkipsAKey,
    StampIsNotStored,
    StampsWhatIsNoOutcome,
    SwapIgnoresTheToken,
    SwapIgnoresTheVersion,
    SwapIsNotAtomic,
    WindowComesBeforeTheConflict,
    WindowIsJudgedByAnEarlierClock,
    WritesAreLost,
}

/// The faults, and the promise that has to detect each.
const PLANTED: &[(Fault, &str)] = &[
    (Fault::AbsenceIsNotCompared, "a_swap_that_expects_no_record_conflicts_with_a_record"),
    (Fault::ClockRunsBackwards, "p7_now_never_runs_backwards_between_threads"),
    (Fault::ConflictShowsWhatWasToBeWritten, "a_conflict_returns_the_current_record_and_changes_nothing"),
    (Fault::ConflictWritesAnyway, "a_swap_that_expects_a_record_conflicts_with_none"),
    (Fault::CursorIsListedAgain, "scan_continues_after_a_cursor_without_a_record"),
    (Fault::ErrorSaysNothingHappenedAfterTheWrite, "an_error_that_states_no_change_is_accurate"),
    (Fault::KeysAreFoldedToLowerCase, "similar_keys_are_distinct"),
    (Fault::KeysAreTrimmed, "unusual_keys_are_stored_unchanged"),
    (Fault::LargeRecordsAreNotKept, "a_result_of_a_mebibyte_is_returned_unchanged"),
    (Fault::LoadIsStale, "load_returns_the_stored_record"),
    (Fault::NotAfterIsIgnored, "a_write_is_rejected_from_its_not_after_on"),
    (Fault::NotBeforeIsIgnored, "a_write_is_rejected_before_its_not_before"),
    (Fault::NowLagsBehind, "p7_now_is_never_behind_the_time_of_a_reply"),
    (Fault::OperationAnswersFromAnEarlierRecord, "an_answer_without_a_write_uses_the_current_record"),
    (Fault::OperationIsAppliedTwice, "an_operation_and_load_use_the_same_record"),
    (Fault::OperationIsJudgedByAnEarlierClock, "p7_an_operation_uses_the_clock_of_its_atomic_step"),
    (Fault::OperationIsLost, "an_operation_and_load_use_the_same_record"),
    (Fault::OperationIsNotAtomic, "no_operation_is_lost"),
    (Fault::PrefixIsAPattern, "scan_filters_by_prefix"),
    (Fault::PurgeDropsTheTokenFloor, "p2_purge_keeps_a_token_that_is_ahead_of_the_clock"),
    (Fault::PurgeDropsTheTokenFloor, "p2_tokens_rise_after_forget_in_the_same_instant"),
    (Fault::PurgeDropsWhatIsNotDue, "purge_keeps_records_that_are_not_due"),
    (Fault::PurgeDropsWhatIsNotDue, "purge_removes_a_record_exactly_at_its_purge_time"),
    (Fault::PurgeDropsWhatWasWrittenMeanwhile, "purge_keeps_records_that_are_written_meanwhile"),
    (Fault::PurgeDoesNothing, "purge_removes_due_records"),
    (Fault::PurgeIgnoresItsLimit, "purge_removes_at_most_its_limit"),
    (Fault::PurgedTokensAreForgotten, "p2_a_delayed_grant_gets_no_token_below_a_purged_one"),
    (Fault::ScanIsUnordered, "scan_lists_in_key_order"),
    (Fault::ScanSkipsAKey, "scan_returns_every_record_once_for_any_page_size"),
    (Fault::NotAfterIsIgnored, "lateness_is_decided_at_the_write"),
    (Fault::StampIsNotStored, "the_reply_to_an_outcome_matches_the_stored_record"),
    (Fault::StampsWhatIsNoOutcome, "a_write_without_an_outcome_is_stored_unchanged"),
    (Fault::SwapIgnoresTheToken, "swap_compares_the_token"),
    (Fault::SwapIgnoresTheVersion, "swap_compares_the_version"),
    (Fault::SwapIsNotAtomic, "one_of_many_swaps_on_an_absent_key_wins"),
    (Fault::SwapIsNotAtomic, "no_swap_is_lost"),
    (Fault::SwapIsNotAtomic, "p1_one_of_many_callers_is_granted_the_lease"),
    (Fault::WindowComesBeforeTheConflict, "a_conflict_takes_precedence_over_the_window"),
    (Fault::WindowIsJudgedByAnEarlierClock, "the_window_applies_to_the_time_of_the_write"),
    (Fault::WritesAreLost, "consecutive_swaps_are_stored"),
];

#[derive(Debug)]
struct Planted {
    fault: Fault,
    records: Mutex<BTreeMap<Key, Record>>,
    /// The highest token of all purged records.
    purged: Mutex<Option<Token>>,
    /// The previous record, by key.
    former: Mutex<BTreeMap<Key, Option<Record>>>,
    calls: AtomicU64,
    told: AtomicU64,
    clock: ManualClock,
}

impl Planted {
    fn subject(fault: Fault) -> Subject {
        let clock = ManualClock::new();
        let store = Self {
            fault,
            records: Mutex::default(),
            purged: Mutex::default(),
            former: Mutex::default(),
            calls: AtomicU64::new(0),
            told: AtomicU64::new(clock.now().as_micros()),
            clock: clock.clone(),
        };
        let store: Arc<dyn Store> =
            if fault.is_of_operations() { Arc::new(Operating(store)) } else { Arc::new(Cas::new(store)) };
        Subject::on_manual_clock(store, clock)
    }

    fn every(&self, nth: u64) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }

    fn key(&self, key: &Key) -> Key {
        let text = match self.fault {
            Fault::KeysAreFoldedToLowerCase => key.to_lowercase(),
            Fault::KeysAreTrimmed => key.trim().to_owned(),
            _ => return key.clone(),
        };
        Key::new(&text).unwrap_or_else(|_| key.clone())
    }

    fn matches(&self, change: &ConditionalWrite<'_>, current: Option<&Record>) -> bool {
        match (self.fault, change.expected, current) {
            (Fault::AbsenceIsNotCompared, None, _) => true,
            (Fault::SwapIgnoresTheVersion, Some(expected), Some(current)) => {
                expected.token() == current.token()
            }
            (Fault::SwapIgnoresTheToken, Some(expected), Some(current)) => {
                expected.version() == current.version()
            }
            _ => change.matches(current),
        }
    }

    fn is_due(&self, change: &ConditionalWrite<'_>, now: Timestamp) -> bool {
        if self.fault != Fault::PurgedTokensAreForgotten && !change.is_above_floor(*self.purged.lock()) {
            return false;
        }
        match self.fault {
            Fault::NotAfterIsIgnored => change.not_before.is_none_or(|at| now >= at),
            Fault::NotBeforeIsIgnored => change.not_after.is_none_or(|at| now < at),
            Fault::WindowIsJudgedByAnEarlierClock => {
                let told = self.told.load(Ordering::Relaxed);
                change.in_window(Timestamp::from_micros(told).unwrap_or(now))
            }
            _ => change.in_window(now),
        }
    }

    fn is_purged(&self, record: &Record, now: Timestamp) -> bool {
        match self.fault {
            Fault::PurgeDropsWhatIsNotDue => {
                record.expires_at() <= now
                    || record.purge_at() <= now.saturating_add(Duration::from_millis(1))
            }
            Fault::PurgeDropsTheTokenFloor => View::of(record, now).is_none(),
            Fault::PurgeDoesNothing => false,
            _ => record.purge_at() <= now,
        }
    }
}

impl CompareAndSwap for Planted {
    fn now(&self) -> Reply<Timestamp> {
        let now = self.clock.now();
        self.told.store(now.as_micros(), Ordering::Relaxed);
        let behind = match self.fault {
            Fault::ClockRunsBackwards if self.every(16) => Duration::from_millis(1),
            Fault::NowLagsBehind => Duration::from_millis(1),
            _ => Duration::ZERO,
        };
        Pending::ready(Ok(now.saturating_sub(behind)))
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        let key = self.key(key);
        let record = match self.fault {
            Fault::LoadIsStale => self.former.lock().get(&key).cloned().flatten(),
            _ => self.records.lock().get(&key).cloned(),
        };
        Pending::ready(Ok(Snapshot::new(record, self.clock.now())))
    }

    fn compare_and_swap(&self, key: &Key, change: &ConditionalWrite<'_>) -> Reply<CasResult> {
        let key = self.key(key);
        let mut records = self.records.lock();
        let mut seen = Snapshot::new(records.get(&key).cloned(), self.clock.now());
        let is_due = self.is_due(change, seen.now);
        if self.fault == Fault::WindowComesBeforeTheConflict && !is_due {
            return Pending::ready(Ok(CasResult::Rejected(seen)));
        }
        if !self.matches(change, seen.record.as_ref()) {
            match self.fault {
                Fault::ConflictShowsWhatWasToBeWritten => seen.record = Some(change.next.clone()),
                Fault::ConflictWritesAnyway => drop(records.insert(key, change.next.clone())),
                _ => {}
            }
            return Pending::ready(Ok(CasResult::Conflict(seen)));
        }
        if !is_due {
            return Pending::ready(Ok(CasResult::Rejected(seen)));
        }
        match self.fault {
            Fault::SwapIsNotAtomic => {
                drop(records);
                (0..20).for_each(|_| thread::yield_now());
                records = self.records.lock();
            }
            Fault::WritesAreLost if self.every(10) => return Pending::ready(Ok(CasResult::Written)),
            Fault::LargeRecordsAreNotKept if change.next.encode().len() > 65_535 => {
                return Pending::ready(Ok(CasResult::Written));
            }
            _ => {}
        }
        let stamped = match self.fault {
            Fault::StampIsNotStored => change.stamped(seen.now),
            Fault::StampsWhatIsNoOutcome => Some(change.next.clone()),
            _ => None,
        };
        let former = records.insert(key.clone(), change.next.clone());
        self.former.lock().insert(key, former);
        if self.fault == Fault::ErrorSaysNothingHappenedAfterTheWrite && self.every(5) {
            return Pending::ready(Err(StoreError::unavailable("planted")));
        }
        Pending::ready(Ok(stamped.map_or(CasResult::Written, CasResult::WrittenAs)))
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        let records = self.records.lock();
        let from = match &query.after {
            None => Bound::Unbounded,
            Some(after) if self.fault == Fault::CursorIsListedAgain => Bound::Included(after),
            Some(after) => Bound::Excluded(after),
        };
        let prefix = match self.fault {
            Fault::PrefixIsAPattern => query.prefix.split('*').next().unwrap_or_default(),
            _ => &query.prefix,
        };
        let matching = records.range::<Key, _>((from, Bound::Unbounded));
        let matching = matching.filter(|(key, _)| key.starts_with(prefix)).take(query.limit);
        let mut entries: Vec<_> = matching.map(|(key, record)| (key.clone(), record.clone())).collect();
        let next = entries.last().filter(|_| entries.len() == query.limit).map(|(key, _)| key.clone());
        match self.fault {
            Fault::ScanIsUnordered => entries.reverse(),
            Fault::ScanSkipsAKey if entries.len() > 3 => drop(entries.remove(2)),
            _ => {}
        }
        Pending::ready(Ok(Page::new(entries, next, self.clock.now())))
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        let now = self.clock.now();
        let mut records = self.records.lock();
        let limit = if self.fault == Fault::PurgeIgnoresItsLimit { usize::MAX } else { limit };
        let due = records.iter().filter(|(_, record)| self.is_purged(record, now)).take(limit);
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).collect();
        if self.fault == Fault::PurgeDropsWhatWasWrittenMeanwhile {
            drop(records);
            (0..20).for_each(|_| thread::yield_now());
            records = self.records.lock();
        }
        let mut purged = self.purged.lock();
        for key in &due {
            *purged = purged.max(records.remove(key).map(|record| record.token()));
        }
        Pending::ready(Ok(Purged::new(due.len(), due.len() >= limit)))
    }

    fn durability(&self) -> Durability {
        Durability::Volatile
    }

    fn close(&self, _: &Closing) -> Reply<bool> {
        Pending::ready(Ok(true))
    }
}

impl Fault {
    /// Returns whether the fault is in a store that executes operations itself.
    fn is_of_operations(self) -> bool {
        matches!(
            self,
            Self::OperationAnswersFromAnEarlierRecord
                | Self::OperationIsAppliedTwice
                | Self::OperationIsJudgedByAnEarlierClock
                | Self::OperationIsLost
                | Self::OperationIsNotAtomic
        )
    }
}

/// A store over the same records that executes operations itself.
#[derive(Debug)]
struct Operating(Planted);

impl Operating {
    fn apply(&self, operation: &mut Operation<'_>) -> Applied {
        let Planted { fault, records, former, purged, clock, .. } = &self.0;
        let key = operation.to_key();
        let earlier = clock.now();
        if *fault == Fault::OperationIsJudgedByAnEarlierClock {
            (0..20).for_each(|_| thread::yield_now());
        }
        let mut records_now = records.lock();
        let before = records_now.get(&key).cloned();
        if *fault == Fault::OperationAnswersFromAnEarlierRecord
            && let Some(Some(earlier)) = former.lock().get(&key)
            && let Some(answered) = operation.answer(earlier, clock.now())
        {
            return answered;
        }
        if *fault == Fault::OperationIsNotAtomic {
            drop(records_now);
            (0..20).for_each(|_| thread::yield_now());
            records_now = records.lock();
        }
        let floor = *purged.lock();
        let now = match fault {
            Fault::OperationIsJudgedByAnEarlierClock => earlier,
            _ => clock.now(),
        };
        let mut next = before.clone();
        let applied = operation.apply((&mut next).into(), floor, now);
        if *fault == Fault::OperationIsAppliedTwice && applied.is_write() {
            let _ = operation.apply((&mut next).into(), floor, now);
        }
        if let Some(next) = next.filter(|_| *fault != Fault::OperationIsLost) {
            records_now.insert(key.clone(), next);
        }
        if applied.is_write() {
            former.lock().insert(key, before);
        }
        applied
    }
}

impl Store for Operating {
    fn now(&self) -> Reply<Timestamp> {
        self.0.now()
    }

    fn load(&self, key: &Key) -> Reply<Snapshot> {
        self.0.load(key)
    }

    fn execute(&self, operation: &mut Operation<'_>) -> Execution {
        // A plain conditional write is performed without a fault.
        let is_swap = !operation.may_read() && format!("{operation:?}").contains("swap");
        let mut records = self.0.records.lock();
        if !is_swap {
            drop(records);
            return Execution::Done(self.apply(operation));
        }
        let key = operation.to_key();
        let mut slot = records.get(&key).cloned();
        let applied = operation.apply((&mut slot).into(), *self.0.purged.lock(), self.0.clock.now());
        records.extend(slot.map(|record| (key, record)));
        Execution::Done(applied)
    }

    fn scan(&self, query: Scan) -> Reply<Page> {
        self.0.scan(query)
    }

    fn purge(&self, limit: usize) -> Reply<Purged> {
        self.0.purge(limit)
    }

    fn durability(&self) -> Durability {
        self.0.durability()
    }

    fn close(&self, closing: &Closing) -> Reply<bool> {
        self.0.close(closing)
    }

    fn subscribe(&self, _: ChangeNotifier) {}
}

#[test]
fn every_planted_fault_is_caught_by_the_promise_meant_for_it() {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let mut wrong = Vec::new();
    for (fault, name) in PLANTED {
        let Some((_, promise)) = PROMISES.iter().find(|(promise, _)| promise == name) else {
            wrong.push(format!("there is no promise {name}"));
            continue;
        };
        let is_kept =
            |fault| catch_unwind(AssertUnwindSafe(|| promise(&move || Planted::subject(fault)))).is_ok();
        if !is_kept(Fault::None) {
            wrong.push(format!("{name} refuses the store without a fault"));
        }
        // Races are repeated, because a single one may not show the fault.
        if (0..10).all(|_| is_kept(*fault)) {
            wrong.push(format!("{name} does not notice {fault:?}"));
        }
    }
    set_hook(hook);
    assert!(wrong.is_empty(), "{wrong:#?}");
    let faults: HashSet<_> = PLANTED.iter().map(|(fault, _)| fault).collect();
    println!("{} planted faults caught, by {} promises", faults.len(), PLANTED.len());
    assert!(faults.len() >= 12);
}

#[test]
fn p8_a_store_that_does_not_swap_atomically_is_found_out_by_its_histories() {
    let found =
        (0..20).find_map(|_| history::check_races(&|| Planted::subject(Fault::SwapIsNotAtomic)).err());
    let why = found.expect("histories that no order explains");
    assert!(why.contains("no order of these operations gives their answers"), "{why}");
    history::check_races(&|| Planted::subject(Fault::None)).unwrap();
}
