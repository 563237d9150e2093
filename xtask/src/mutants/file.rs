//! The faults of the file store.

use crate::mutants::list::{Mutant, Test};

/// A test of one of the file store's test files.
const fn file(target: &'static [&'static str], filter: &'static str) -> Test {
    Test { package: "lessor-file", target, filter }
}

const CRASHES: &[&str] = &["--test", "crashes"];
const DAMAGE: &[&str] = &["--test", "damage"];
const FAULTS: &[&str] = &["--test", "faults"];
const BACKUP: &[&str] = &["--test", "backup"];
const LOOKING: &[&str] = &["--test", "read_only"];
const CLOCKS: &[&str] = &["--test", "clock_set_back"];
const NAMED: &[&str] = &["--test", "superblock_names"];
const TAILS: &[&str] = &["--test", "tails"];
const VISIBILITY: &[&str] = &["--test", "visibility"];
const CLOSING: &[&str] = &["--test", "closing"];
const PROCESSES: &[&str] = &["--test", "processes"];
const FOLDERS: &[&str] = &["--test", "folders"];
const SHOWN: Test = file(VISIBILITY, "p5_a_record_is_shown_only_once");
const KILLED_OPENING: Test = file(CRASHES, "p5_a_killed_opening");
const KILLED_COMPACTION: Test = file(CRASHES, "p5_p9_a_killed_compaction");
const POWER_LOSS: Test = file(CRASHES, "of_a_new_log");
const POWER_LOSS_AGAIN: Test = file(CRASHES, "observations_of_a_killed_log");
const FLIPS: Test = file(DAMAGE, "p5_no_flipped_bit");
const FULL: Test = file(FAULTS, "on_a_full_disk");

pub(crate) const FILE: &[Mutant] = &[
    Mutant {
        name: "file-folder-is-not-synced-after-a-segment-is-made",
        file: "crates/lessor-file/src/format/spare.rs",
        find: "        vfs.sync_folder().map_err(|error| Problem::unnamed(vfs, error))?;\n        Ok(file)",
        replace: "        Ok(file)",
        test: file(NAMED, "p5_a_write_acknowledged_in_a_later_segment"),
    },
    Mutant {
        name: "file-does-not-sync-the-folders-above-its-own",
        file: "crates/lessor-file/src/recovery.rs",
        find: "    vfs.publish().map_err(|error| Problem::io(&*vfs, \"\", \"syncing the folders above\", error))?;\n",
        replace: "",
        test: POWER_LOSS,
    },
    Mutant {
        name: "file-backup-is-a-log-before-it-is-complete",
        file: "crates/lessor-file/src/maintenance/backup.rs",
        find: "    let name = checkpoint_name(1);\n    let file = vfs.create(&name)",
        replace: "    let _ = SuperblockFile::create(vfs, Superblock::first(id));\n    let name = checkpoint_name(1);\n    let file = vfs.create(&name)",
        test: file(BACKUP, "p5_a_crash_leaves"),
    },
    Mutant {
        name: "file-answers-before-the-sync",
        file: "crates/lessor-file/src/commit/leader.rs",
        find: "            writer.segment.sync()?;\n            self.committer.raise_synced(lsn);\n        }\n        self.clock.reserve_until(clock);",
        replace: "            self.committer.raise_synced(lsn);\n        }\n        self.clock.reserve_until(clock);",
        test: POWER_LOSS,
    },
    Mutant {
        name: "file-does-not-check-a-frames-body",
        file: "crates/lessor-file/src/format/frame.rs",
        find: "if crc32c::crc32c(bytes.get(HEADER_BYTES..).unwrap_or_default()) != head.body {",
        replace: "if bytes.is_empty() && marks.next().is_none() {",
        test: file(CRASHES, "p5_p7_p8_p9"),
    },
    Mutant {
        name: "file-does-not-write-an-unproven-tail-again",
        file: "crates/lessor-file/src/recovery/segment.rs",
        find: "        for frame in frames {\n            let mut builder",
        replace: "        for frame in frames.iter().take(0) {\n            let mut builder",
        test: POWER_LOSS_AGAIN,
    },
    Mutant {
        name: "file-header-takes-over-before-the-tail-is-synced",
        file: "crates/lessor-file/src/recovery/segment.rs",
        find: "        if !frames.is_empty() {\n            // Synced before the header is written: with its header, the segment replaces these\n            // frames in the one before.\n            file.sync().map_err(failed(\"syncing\"))?;\n        }\n",
        replace: "",
        test: POWER_LOSS_AGAIN,
    },
    Mutant {
        name: "file-relies-on-a-header-that-was-never-synced",
        file: "crates/lessor-file/src/recovery.rs",
        find: "filter(|last| image.proven < last.first_lsn) {",
        replace: "filter(|_| false) {",
        test: KILLED_OPENING,
    },
    Mutant {
        name: "file-removes-files-that-the-durable-superblock-names",
        file: "crates/lessor-file/src/recovery.rs",
        find: "if !image.stale_files.is_empty() {",
        replace: "if image.stale_files.len() > 1_000 {",
        test: KILLED_COMPACTION,
    },
    Mutant {
        name: "file-names-an-unsynced-segment",
        file: "crates/lessor-file/src/format/segment.rs",
        find: "        self.sync()?;\n        Ok(SyncedSegment",
        replace: "        Ok(SyncedSegment",
        test: file(NAMED, "p5_an_un"),
    },
    Mutant {
        name: "file-checkpoint-counts-before-it-is-synced",
        file: "crates/lessor-file/src/format/checkpoint.rs",
        find: "        self.flush(FrameKind::CheckpointEnd)?;\n        self.file.sync()?;\n",
        replace: "        self.flush(FrameKind::CheckpointEnd)?;\n",
        test: file(CRASHES, "p5_p7_p8_p9"),
    },
    Mutant {
        name: "file-removes-segments-that-the-superblock-names",
        file: "crates/lessor-file/src/maintenance/compaction.rs",
        find: "    let synced = log.committer.synced();\n    let purged",
        replace: "    drop_before(log, base.number(), &checkpoint);\n    let synced = log.committer.synced();\n    let purged",
        test: file(CRASHES, "p5_p7_p8_p9"),
    },
    Mutant {
        name: "file-continues-after-a-failed-write",
        file: "crates/lessor-file/src/log/poison.rs",
        find: "        let _ = self.failure.set(Failure { last_lsn, cause });\n        self.is_set.store(true, Ordering::Release);",
        replace: "        let _ = self.failure.set(Failure { last_lsn, cause });",
        test: file(FAULTS, "after_a_failed_sync"),
    },
    Mutant {
        name: "file-ignores-a-failed-sync",
        file: "crates/lessor-file/src/commit/leader.rs",
        find: "            writer.segment.sync()?;\n            self.committer.raise_synced(lsn);\n        }\n        self.clock.reserve_until(clock);",
        replace: "            let _ = writer.segment.sync();\n            self.committer.raise_synced(lsn);\n        }\n        self.clock.reserve_until(clock);",
        test: file(FAULTS, "after_a_failed_sync"),
    },
    Mutant {
        name: "file-window-reads-the-bytes-before-it",
        file: "crates/lessor-file/src/format/window.rs",
        find: "at.checked_sub(self.origin)?",
        replace: "at.saturating_sub(self.origin)",
        test: file(TAILS, "p5_a_torn_tail"),
    },
    Mutant {
        name: "file-treats-damage-as-a-torn-tail",
        file: "crates/lessor-file/src/format/frame.rs",
        find: "                _ => FrameRead::Damaged(\"a frame's header does not match its checksum\"),",
        replace: "                _ => FrameRead::Torn,",
        test: FLIPS,
    },
    Mutant {
        name: "file-treats-a-torn-tail-as-damage",
        file: "crates/lessor-file/src/format/frame.rs",
        find: "return Ok(match marks.any(|mark| *mark == 0) {",
        replace: "return Ok(match marks.any(|mark| *mark == 1) {",
        test: file(CRASHES, "p5_p7_p8_p9"),
    },
    Mutant {
        name: "file-forgets-its-reserved-time",
        file: "crates/lessor-file/src/recovery.rs",
        find: "ClockReservation::starting_at(source, image.clock, reached)",
        replace: "ClockReservation::starting_at(source, 0, reached)",
        test: KILLED_OPENING,
    },
    Mutant {
        name: "file-treats-reserved-time-as-passed",
        file: "crates/lessor-file/src/log/clock.rs",
        find: "reserved.saturating_sub(RESERVE_MICROS).max(reached)",
        replace: "reserved.max(reached)",
        test: file(CLOCKS, "p7_"),
    },
    Mutant {
        name: "file-does-not-wait-for-the-reservation",
        file: "crates/lessor-file/src/log/clock.rs",
        find: "        if behind > 0 {",
        replace: "        if behind > u64::MAX - 1 {",
        test: file(CLOCKS, "p7_"),
    },
    Mutant {
        name: "file-treats-the-time-of-a-killed-log-as-of-a-closed-one",
        file: "crates/lessor-file/src/recovery.rs",
        find: "        0 if block.is_clean => image.clock,\n",
        replace: "        0 if block.epoch > 0 => image.clock,\n",
        test: file(CLOCKS, "p7_"),
    },
    Mutant {
        name: "file-recovers-the-oldest-write",
        file: "crates/lessor-file/src/index.rs",
        find: "there.lsn <= slot.lsn",
        replace: "there.lsn >= slot.lsn",
        test: KILLED_OPENING,
    },
    Mutant {
        name: "file-purge-forgets-its-tokens",
        file: "crates/lessor-file/src/store/attempt.rs",
        find: "self.token_floor.fetch_max(slot.token, Ordering::Relaxed);",
        replace: "",
        test: file(&["--test", "conformance_sim"], "p2_a_delayed_grant"),
    },
    Mutant {
        name: "file-reserves-no-space-for-holders",
        file: "crates/lessor-file/src/log/staging.rs",
        find: "        needed <= left\n",
        replace: "        needed <= left || self.segment_length > 0\n",
        test: FULL,
    },
    Mutant {
        name: "file-reserves-space-for-one-holder",
        file: "crates/lessor-file/src/log/lease_space.rs",
        find: "            self.total += lease.bytes;",
        replace: "            self.total = lease.bytes;",
        test: file(FAULTS, "p5_all_holders_finish"),
    },
    Mutant {
        name: "file-is-poisoned-when-a-segment-cannot-be-made-ahead",
        file: "crates/lessor-file/src/maintenance/segments.rs",
        find: "                log.catalog.count_failed_folder_sync();",
        replace: "                log.fail(\"making a segment\", &io::Error::other(error.to_string()));",
        test: file(FAULTS, "p5_a_segment_that_cannot_be_made_ahead"),
    },
    Mutant {
        name: "file-compaction-at-close-gives-up-because-the-log-is-closed",
        file: "crates/lessor-file/src/maintenance/compaction.rs",
        find: "verified.and_then(|verified| match log.poison.failure() {",
        replace: "verified.and_then(|verified| match log.poison.error() {",
        test: file(CLOSING, "closing_a_grown_log"),
    },
    Mutant {
        name: "file-folder-is-released-after-the-close-is-reported",
        file: "crates/lessor-file/src/close.rs",
        find: "    drop(log.lock.lock().take());\n    log.close_state.finish(outcome, &log.notifier);",
        replace: "    log.close_state.finish(outcome, &log.notifier);\n    thread::park_timeout(TICK);\n    drop(log.lock.lock().take());",
        test: file(CLOSING, "p9_a_closed_engine_has_released"),
    },
    Mutant {
        name: "file-ignores-a-missing-last-segment",
        file: "crates/lessor-file/src/image/files.rs",
        find: "            && last.epoch < block.epoch\n",
        replace: "            && last.epoch > block.epoch\n",
        test: file(DAMAGE, "p5_no_missing_file"),
    },
    Mutant {
        name: "file-does-not-wake-those-who-wait-for-space",
        file: "crates/lessor-file/src/commit/spares.rs",
        find: "        staging.spare = spare;\n        let woken = mem::take(&mut staging.for_space);",
        replace: "        staging.spare = spare;\n        let woken = Vec::new();",
        test: file(FAULTS, "p5_a_grant_that_waits_for_space"),
    },
    Mutant {
        name: "file-relies-on-a-checkpoint-although-the-folder-was-not-synced",
        file: "crates/lessor-file/src/maintenance/compaction.rs",
        find: "        None if is_name_lost() => Err(name_lost()),\n",
        replace: "        None if is_name_lost() && number == 0 => Err(name_lost()),\n",
        test: file(FAULTS, "failing_call"),
    },
    Mutant {
        name: "file-writes-the-superblock-again-after-a-failure",
        file: "crates/lessor-file/src/format/superblock.rs",
        find: "            self.has_failed = true;\n",
        replace: "",
        test: file(&["--lib"], "p5_a_superblock_that_could_not_be_written"),
    },
    Mutant {
        name: "file-makes-no-segment-while-it-compacts",
        file: "crates/lessor-file/src/maintenance.rs",
        find: "if log.signals.is_segment_due() && segments.retry().is_none() {",
        replace: "if log.signals.is_segment_due() && segments.retry().is_some() {",
        test: file(&["--test", "compacting"], "a_compaction_does_not_keep"),
    },
    Mutant {
        name: "file-shows-unsynced-records",
        file: "crates/lessor-file/src/store/attempt.rs",
        find: "        if slot.lsn > self.committer.visible() {\n            return Attempt::Wait(Wait::Visible(slot.lsn));\n        }\n        match slot.record.as_ref().or(record_at(known, slot.lsn)) {",
        replace: "        match slot.record.as_ref().or(record_at(known, slot.lsn)) {",
        test: SHOWN,
    },
    Mutant {
        name: "file-answers-from-unsynced-records",
        file: "crates/lessor-file/src/store/file_store.rs",
        find: "        if slot.lsn > self.log.committer.visible() {",
        replace: "        if slot.lsn == u64::MAX {",
        test: SHOWN,
    },
    Mutant {
        name: "file-syncs-each-write-separately",
        file: "crates/lessor-file/src/log/staging.rs",
        find: "if !self.frame.is_empty() && size > LARGE {",
        replace: "if !self.frame.is_empty() && size > 0 {",
        test: file(VISIBILITY, "writes_during_a_sync"),
    },
    Mutant {
        name: "file-wakes-one-of-the-threads-that-wait",
        file: "crates/lessor-file/src/log/waiters.rs",
        find: "self.changed.notify_all();",
        replace: "self.changed.notify_one();",
        test: file(&["--lib"], "all_threads_that_wait_for_a_frame_are_woken_when_it_is_written"),
    },
    Mutant {
        name: "file-tool-writes-the-lock-of-a-log-it-only-reads",
        file: "crates/lessor-file/src/folder.rs",
        find: "existing(folder, |folder| Disk::open_read_only(folder))",
        replace: "existing(folder, |folder| Disk::open(folder))",
        test: file(LOOKING, "p12_checking"),
    },
    Mutant {
        name: "file-ignores-folders-in-the-place-of-files",
        file: "crates/lessor-file/src/image/files.rs",
        find: "            if self.vfs.open(name).is_err_and(|error| error.kind() == std::io::ErrorKind::IsADirectory) {",
        replace: "            if self.vfs.open(name).is_err_and(|error| error.kind() == std::io::ErrorKind::Other) {",
        test: file(LOOKING, "p12_a_folder_in_the_place"),
    },
    Mutant {
        name: "file-can-be-opened-twice",
        file: "crates/lessor-file/src/disk.rs",
        find: "Err(fs::TryLockError::WouldBlock) => Ok(None),",
        replace: "Err(fs::TryLockError::WouldBlock) => Ok(Some(Self { file, pid: 0 })),",
        test: file(PROCESSES, "p9_a_second_process_learns"),
    },
    Mutant {
        name: "file-locks-only-the-lock-file",
        file: "crates/lessor-file/src/disk.rs",
        find: "let Some(folder) = FileLock::try_new(folder)? else { return Ok(None) };",
        replace: "",
        test: file(PROCESSES, "p1_an_open_log_is_not_opened_again"),
    },
    Mutant {
        name: "file-follows-symbolic-links",
        file: "crates/lessor-file/src/disk.rs",
        find: "const FILE_FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);",
        replace: "const FILE_FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC);",
        test: file(PROCESSES, "p12_a_file_of_the_log_that_is_a_symbolic_link"),
    },
    Mutant {
        name: "file-is-created-in-any-folder",
        file: "crates/lessor-file/src/folder.rs",
        find: "Some(name) if !found.has_log => Err(not_empty(",
        replace: "Some(name) if !found.has_log && name.is_empty() => Err(not_empty(",
        test: file(FOLDERS, "p12_a_log_is_not_created_in_a_folder_with_other_files"),
    },
    Mutant {
        name: "file-beside-other-files-is-not-opened",
        file: "crates/lessor-file/src/folder.rs",
        find: "Some(name) if !found.has_log => Err(not_empty(",
        replace: "Some(name) => Err(not_empty(",
        test: file(FOLDERS, "p9_a_log_with_other_files_beside_it"),
    },
    Mutant {
        name: "file-ignores-folders-in-its-folder",
        file: "crates/lessor-file/src/disk.rs",
        find: "(name, FileType::Directory) => each(&format!(\"{name}/\")),",
        replace: "(_, FileType::Directory) => {}",
        test: file(FOLDERS, "p12_a_log_is_not_created_in_a_folder_with_a_folder_or_a_link"),
    },
    Mutant {
        name: "file-never-sweeps-its-index-by-time",
        file: "crates/lessor-file/src/index.rs",
        find: "                left -= sweep(shard).min(left);\n",
        replace: "                let _ = sweep;\n",
        test: file(&["--lib"], "p9_keys_that_are_forgotten_and_purged_each_time_do_not_fill_the_index"),
    },
    Mutant {
        name: "file-sweeps-only-the-nearest-bucket",
        file: "crates/lessor-file/src/index/schedule.rs",
        find: "self.buckets.range(..self.swept).next_back().or_else(|| self.buckets.iter().next_back())",
        replace: "self.buckets.iter().next()",
        test: file(&["--lib"], "p9_keys_that_are_forgotten_and_purged_each_time_do_not_fill_the_index"),
    },
    Mutant {
        name: "file-treats-every-failure-as-a-lost-name",
        file: "crates/lessor-file/src/maintenance/segments.rs",
        find: "                if is_unnamed {",
        replace: "                if is_unnamed || true {",
        test: file(FAULTS, "p5_a_log_is_compacted_although_no_next_segment_can_be_made"),
    },
    Mutant {
        name: "file-treats-no-failure-as-a-lost-name",
        file: "crates/lessor-file/src/maintenance/segments.rs",
        find: "                if is_unnamed {",
        replace: "                if is_unnamed && false {",
        test: file(FAULTS, "p5_a_failing_call_loses_no_acknowledged_write"),
    },
    Mutant {
        name: "record-with-an-unknown-field-is-purged",
        file: "crates/lessor-core/src/data/record.rs",
        find: "            Some(_) => Timestamp::MAX,",
        replace: "            Some(_) => purge_at(self.keep_until, self.token),",
        test: file(
            &["--test", "newer"],
            "p4_a_record_with_an_unknown_field_is_refused_by_name_and_stays_as_it_is",
        ),
    },
    Mutant {
        name: "file-makes-too-short-a-segment-for-a-large-record",
        file: "crates/lessor-file/src/log/staging.rs",
        find: "self.grant_shortage.max(size + 2 * lease);",
        replace: "self.grant_shortage.max(size + 2 + lease);",
        test: file(&["--test", "scarce_room"], "p12_a_large_lease_on_a_disk_with_any_amount_of_room"),
    },
    Mutant {
        name: "file-does-not-begin-with-a-shorter-segment",
        file: "crates/lessor-file/src/format/spare.rs",
        find: "min(best) / SECTOR * SECTOR",
        replace: "min(best) / SECTOR + SECTOR",
        test: file(&["--test", "scarce_room"], "p12_a_new_log_makes_do_with_the_room_that_the_disk_has"),
    },
    Mutant {
        name: "file-opens-with-an-old-checkpoint",
        file: "crates/lessor-file/src/image/checkpoint.rs",
        find: "HeaderState::Valid(header) if header.number == number => header,",
        replace: "HeaderState::Valid(header) => header,",
        test: file(DAMAGE, "p5_a_checkpoint_in_the_place_of_a_later_one_is_refused"),
    },
];
