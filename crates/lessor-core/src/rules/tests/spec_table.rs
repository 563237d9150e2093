//! The contract's table, and its parser.

/// Section 2 of the contract.
const SPEC: &str = "
| operation | Absent / forgotten | live, other's | live, own lease id | lapsed | Completed | Failed | Released |
|---|---|---|---|---|---|---|---|
| acquire | **Acquired**, attempt 1 | **InProgress** (ttl left, retry after) | **Acquired** again, same grant (lost reply) | by policy: **Acquired**, attempt + 1 (it says the former grant lapsed), or **InDoubt** | **Completed** (result) | by policy: **Failed**, or **Acquired** attempt + 1 | **Acquired**, attempt + 1 |
| extend | NotFound | NotHolder | extended: `expires_at = max(expires_at, now + ttl)` | own: Lapsed · other's: NotHolder | own: Finished | own: Finished | own: Released |
| checkpoint | NotFound | NotHolder | saved, expiry unchanged | own: Lapsed | Finished | Finished | Released |
| complete | NotFound | NotHolder | completed | **own: completed** · other's: NotHolder | own, same result hash: completed again, nothing written · else Finished | own: Finished | own: Released |
| fail, cancel | NotFound | NotHolder | failed | **own: failed** | own: Finished | own, same code: failed again, nothing written · else Finished | own: Released |
| release (hand back, nothing done) | NotFound | NotHolder | released | own: released | own: Finished | own: Finished | own: released again |
| abandon (the holder is gone) | NotFound | NotHolder | lapses now | own: nothing to do | own: Finished | own: Finished | own: Released |
| status | none | shown | shown | shown as lapsed | shown | shown | shown |
| forget (operator) | none | Busy unless forced | | removed | removed | removed | removed |
| resolve (operator) | NotFound | Busy unless forced; forced: to Completed, Failed or Released, and the holder is superseded | | to Completed, Failed or Released | Finished | Finished | Released |
";

/// The sentence below the table.
const NOT_THE_RECORDS_ID: &str = "NotHolder";

/// The answers that the table leaves open, and the rows of two commands: one that section 6 of the
/// contract describes in words (failures of the class *unsure*), and one of the engine's own. An
/// operator has no lease id, so the two live columns are
/// the same for an operator.
///
/// One more answer is in `expect`, according to section 1 of the contract (each grant has its own
/// lease id): if the table grants a key again, an acquire with the lease id of the ended grant is
/// refused with `LeaseIdReused`.
const BLANKS: &str = "
| forget (operator) | | | Busy unless forced | | | | |
| resolve (operator) | | | Busy unless forced; forced: to Completed, Failed or Released, and the holder is superseded | | | | |
| unused (the holder is gone, the work has not begun) | NotFound | NotHolder | released, or lapses now after a lapse | own: released, or nothing to do after a lapse or in doubt | own: Finished | own: Finished | own: released again |
| doubt (the holder cannot know) | NotFound | NotHolder | lapses now, in doubt | own: in doubt, once | own: Finished | own: Finished | own: Released |
";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Acquire,
    Extend,
    Checkpoint,
    Complete,
    Fail,
    Release,
    Abandon,
    Unused,
    Doubt,
    Status,
    Forget,
    Resolve,
}

impl Row {
    /// Returns the beginning of the row.
    fn name(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Extend => "extend",
            Self::Checkpoint => "checkpoint",
            Self::Complete => "complete",
            Self::Fail => "fail, cancel",
            Self::Release => "release (hand back, nothing done)",
            Self::Abandon => "abandon (the holder is gone)",
            Self::Unused => "unused (the holder is gone, the work has not begun)",
            Self::Doubt => "doubt (the holder cannot know)",
            Self::Status => "status",
            Self::Forget => "forget (operator)",
            Self::Resolve => "resolve (operator)",
        }
    }

    /// Returns whether the operation requires the lease id of the record.
    fn is_holders(self) -> bool {
        !matches!(self, Self::Acquire | Self::Status | Self::Forget | Self::Resolve)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Absent = 1,
    LiveOthers,
    LiveOwn,
    Lapsed,
    Completed,
    Failed,
    Released,
}

/// The kind of a caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// A caller with the record's lease id.
    pub(super) own: bool,
    /// A caller with the outcome that the record has already.
    pub(super) same: bool,
}

/// Returns the cell of the table for `asker`.
pub(super) fn says(row: Row, column: Column, asker: Asker) -> String {
    let cell = match cell(SPEC, row, column) {
        Some(cell) => cell,
        None => cell_of_blanks(row, column),
    };
    if row.is_holders() && column != Column::Absent && !asker.own {
        // A cell that mentions other callers must agree with the sentence.
        for clause in cell.split(" · ").filter_map(|clause| clause.strip_prefix("other's: ")) {
            assert_eq!(clause, NOT_THE_RECORDS_ID);
        }
        return NOT_THE_RECORDS_ID.to_owned();
    }
    cell.split(" · ")
        .find_map(|clause| heard(clause, asker))
        .unwrap_or_else(|| panic!("{row:?} × {column:?} says nothing to {asker:?}: {cell}"))
        .to_owned()
}

/// Returns the clause without its condition, if the condition applies to the caller.
fn heard(clause: &str, asker: Asker) -> Option<&str> {
    let conditions = [
        ("own, same result hash: ", asker.own && asker.same),
        ("own, same code: ", asker.own && asker.same),
        ("own: ", asker.own),
        ("other's: ", !asker.own),
        ("else ", true),
    ];
    for (words, is_met) in conditions {
        if let Some(rest) = clause.strip_prefix(words) {
            return is_met.then_some(rest);
        }
    }
    Some(clause)
}

fn cell_of_blanks(row: Row, column: Column) -> String {
    cell(BLANKS, row, column).unwrap_or_else(|| panic!("{row:?} × {column:?} is blank"))
}

fn cell(table: &str, row: Row, column: Column) -> Option<String> {
    let line = table.lines().find(|line| line.starts_with(&format!("| {} |", row.name())))?;
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    assert_eq!(cells.len(), 8, "{line}");
    let cell = cells[column as usize].replace(['*', '`'], "");
    (!cell.is_empty()).then_some(cell)
}

#[test]
fn the_columns_have_the_order_of_the_contract() {
    let head = SPEC.lines().nth(1).unwrap();
    let names: Vec<_> = head.trim_matches('|').split('|').map(str::trim).collect();
    let columns = [
        (Column::Absent, "Absent / forgotten"),
        (Column::LiveOthers, "live, other's"),
        (Column::LiveOwn, "live, own lease id"),
        (Column::Lapsed, "lapsed"),
        (Column::Completed, "Completed"),
        (Column::Failed, "Failed"),
        (Column::Released, "Released"),
    ];
    for (column, name) in columns {
        assert_eq!(names[column as usize], name);
    }
}
