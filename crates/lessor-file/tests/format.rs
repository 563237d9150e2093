//! docs/file-format.md suffices to read a log: this reader was written from it and uses nothing of
//! the library. And a log of format 1 stays readable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/small.rs"]
mod small;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lessor_core::Store;
use lessor_file::check::{self, Verdict};
use lessor_simdisk::SimDisk;
use lessor_testkit::ManualClock;
use small::Story;

type Files = BTreeMap<String, Vec<u8>>;
/// LSN and record by key.
type Records = BTreeMap<String, (u64, Vec<u8>)>;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn varint(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
    let (now, later) = bytes.split_at(count);
    *bytes = later;
    now
}

/// Returns the copy of the superblock that counts.
fn superblock(files: &Files) -> &[u8] {
    let copies = files["superblock"].chunks(4096).map(|copy| &copy[..512]);
    let whole = copies
        .filter(|copy| copy.starts_with(b"LESSORsb") && crc32c::crc32c(&copy[..508]) == u32_at(copy, 508));
    whole.max_by_key(|copy| u64_at(copy, 32)).expect("no copy of the superblock is whole")
}

/// Returns the header of a file, if it has one.
fn header<'f>(id: &[u8], file: &'f [u8]) -> Option<&'f [u8]> {
    let sector = file.get(..512)?;
    if sector[511] == 0 {
        return None;
    }
    assert_eq!((&sector[..8], sector[511], u32_at(sector, 8)), (&b"LESSORsg"[..], 0xD7, 1));
    assert_eq!((u32_at(sector, 507), &sector[16..32]), (crc32c::crc32c(&sector[..507]), id));
    Some(sector)
}

struct Frame {
    kind: u8,
    epoch: u32,
    lsn: u64,
    checksum: u32,
    sectors: usize,
    body: Vec<u8>,
}

fn frame(id: &[u8], bytes: &[u8]) -> Option<Frame> {
    if bytes.len() < 512 || bytes[511] == 0 {
        return None;
    }
    let checksum = u32_at(bytes, 48);
    assert_eq!(&bytes[..4], b"LSRf");
    assert_eq!(checksum, crc32c::crc32c(&[id, &bytes[..48]].concat()));
    let length = usize::try_from(u64_at(bytes, 8)).unwrap();
    let sectors = length.div_ceil(511);
    let whole = &bytes[..sectors * 512];
    if crc32c::crc32c(&whole[52..]) != u32_at(bytes, 44) {
        assert!(whole.chunks(512).any(|sector| sector[511] == 0), "damaged");
        return None;
    }
    let data: Vec<u8> = whole.chunks(512).flat_map(|sector| &sector[..511]).copied().collect();
    let body = data[52..length].to_vec();
    Some(Frame { kind: bytes[4], epoch: u32_at(bytes, 16), lsn: u64_at(bytes, 20), checksum, sectors, body })
}

fn entries(frame: &Frame, records: &mut Records) -> u64 {
    let mut rest = &frame.body[..];
    let mut count = 0;
    while !rest.is_empty() {
        let lsn = if frame.kind == 2 { varint(&mut rest) as u64 } else { frame.lsn };
        let length = varint(&mut rest);
        let key = take(&mut rest, length);
        let length = varint(&mut rest);
        let checksum = u32_at(take(&mut rest, 4), 0);
        let record = take(&mut rest, length);
        assert_eq!(checksum, crc32c::crc32c(&[key, record].concat()));
        let key = String::from_utf8(key.to_vec()).unwrap();
        if records.get(&key).is_none_or(|(there, _)| *there <= lsn) {
            records.insert(key, (lsn, record.to_vec()));
        }
        count += 1;
    }
    count
}

/// Returns the records of the log, and the position of its torn tail.
fn read(files: &Files) -> (Records, u64, (String, usize)) {
    let block = superblock(files);
    assert_eq!((u32_at(block, 8), u32_at(block, 12)), (1, 0));
    let id = &block[16..32];
    let mut records = Records::new();
    let mut expected = 1;
    if u64_at(block, 40) > 0 {
        let file = &files[&format!("checkpoint-{:010}", u64_at(block, 40))];
        expected = u64_at(header(id, file).unwrap(), 40);
        let (mut at, mut count, mut order) = (512, 0, 1);
        loop {
            let frame = frame(id, &file[at..]).expect("the checkpoint is whole");
            assert_eq!(frame.lsn, order);
            order += 1;
            at += frame.sectors * 512;
            if frame.kind == 3 {
                assert_eq!((u64_at(&frame.body, 0), at), (count, file.len()));
                break;
            }
            count += entries(&frame, &mut records);
        }
    }
    let numbers = u64_at(block, 48)..;
    let names = numbers.map(|number| format!("segment-{number:010}"));
    let segments: Vec<_> = names
        .map_while(|name| files.get(&name).map(|file| (name, file)))
        .map_while(|(name, file)| header(id, file).map(|header| (name, file, header)))
        .collect();
    let (mut end, mut last) = ((String::new(), 0), None);
    for (index, (name, file, header)) in segments.iter().enumerate() {
        assert_eq!(u64_at(header, 40), expected);
        assert!(last.is_none_or(|last| last == u32_at(header, 60)));
        let next = segments.get(index + 1).map(|(_, _, next)| u64_at(next, 40));
        let mut at = 512;
        while next != Some(expected) {
            let Some(frame) = frame(id, &file[at..]) else {
                assert_eq!(next, None, "only the last segment ends where nothing takes over");
                break;
            };
            assert_eq!((frame.kind, frame.lsn, frame.epoch), (1, expected, u32_at(header, 56)));
            entries(&frame, &mut records);
            last = Some(frame.checksum);
            expected += 1;
            at += frame.sectors * 512;
        }
        end = (name.clone(), at);
    }
    assert!(expected > u64_at(block, 56), "what was synced is there");
    if let Some((_, file, header)) = segments.last() {
        assert_nothing_proves_a_loss(block, file, header, expected, end.1);
    }
    (records, expected - 1, end)
}

/// Checks step 6 for the last segment, whose frames end at `at`, before the LSN `expected`.
fn assert_nothing_proves_a_loss(block: &[u8], file: &[u8], header: &[u8], expected: u64, at: usize) {
    let is_trimmed = u64_at(block, 80) == u64_at(header, 32) && u64_at(block, 56) == expected - 1;
    assert!(file.len() as u64 >= u64_at(header, 48) || is_trimmed, "the file is shorter than it was");
    let behind = file[at.min(file.len())..].chunks_exact(512);
    for sector in behind.filter(|sector| sector.starts_with(b"LSRf")) {
        let fits = crc32c::crc32c(&[&block[16..32], &sector[..48]].concat()) == u32_at(sector, 48);
        let is_of_segment = u32_at(sector, 16) == u32_at(header, 56);
        assert!(
            !fits || !is_of_segment || u64_at(sector, 28) < expected,
            "a frame that was synced is missing"
        );
    }
}

/// The page said "shorter than its header says without being `trimmed`, with `synced` at its last
/// frame", which was ambiguous. The reader and the library agree on every length.
#[test]
fn p5_the_document_states_which_segments_are_too_short() {
    let mut story = Story::begin();
    story.some("1");
    let (killed, ..) = story.kill();
    let mut story = Story::begin();
    story.some("1");
    let (closed, ..) = story.close();
    let (mut sound, mut damaged) = (0, 0);
    for disk in [closed, killed] {
        let mut last = disk.file_names().into_iter().filter(|name| name.starts_with("segment-"));
        let last = last.rfind(|name| disk.bytes(name).get(511) == Some(&0xD7)).unwrap();
        let length = disk.bytes(&last).len();
        for cut in (512..=length).filter(|cut| cut % 512 < 2 || cut % 97 == 0) {
            let shorter = disk.fork();
            shorter.truncate(&last, cut as u64);
            let report = check::verify_on(&shorter).unwrap();
            let files = files_of(&shorter);
            let is_read = std::panic::catch_unwind(|| read(&files)).is_ok();
            assert_eq!(is_read, report.is_sound(), "cut to {cut} of {length} bytes: {report}");
            *(if is_read { &mut sound } else { &mut damaged }) += 1;
        }
    }
    assert!(sound >= 2 && damaged > 10, "{sound} sound, {damaged} damaged");
}

fn files_of(disk: &SimDisk) -> Files {
    disk.file_names().into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect()
}

/// Checks that the reader and the library find the same records. The log is opened last.
fn assert_same(disk: &SimDisk) {
    let (records, last_lsn, end) = read(&files_of(disk));
    let (lines, report) = small::dump(disk);
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.last_lsn, last_lsn);
    if let Verdict::Sound { torn: Some(torn), .. } = &report.verdict {
        assert_eq!((torn.file.clone(), usize::try_from(torn.offset).unwrap()), end);
    }
    let shown: Vec<_> = lines.iter().map(|line| (line.key.to_string(), line.lsn)).collect();
    assert_eq!(shown, records.iter().map(|(key, (lsn, _))| (key.clone(), *lsn)).collect::<Vec<_>>());
    let store = small::open(disk, &ManualClock::new());
    for line in &lines {
        let record = store.load(&line.key).wait().unwrap().record.unwrap();
        assert_eq!(record.encode(), records[line.key.as_str()].1);
    }
    store.close().unwrap();
}

#[test]
fn the_document_suffices_to_read_a_log() {
    assert_same(&torn_log());
    let mut story = Story::begin();
    story.some("1");
    let (disk, clock, _) = story.kill();
    assert_same(&disk.fork());
    let mut story = Story::on(disk, clock);
    story.compact();
    story.some("2");
    let (disk, ..) = story.close();
    assert_same(&disk);
}

/// Returns a log with a checkpoint, segments, and a last frame without its last sector.
fn torn_log() -> SimDisk {
    let mut story = Story::begin();
    story.done("order:1", "a receipt");
    story.compact();
    story.some("2");
    let (mut disk, mut last_lsn, mut end) = look(&story);
    // Only a frame that the superblock does not cover can be torn, and the maintenance thread may
    // update the superblock at any time.
    while u64_at(superblock(&files_of(&disk)), 56) >= last_lsn {
        story.acquire("again").release().wait().unwrap();
        (disk, last_lsn, end) = look(&story);
    }
    let (name, end) = end;
    let mut bytes = disk.bytes(&name);
    bytes[end - 512..end].fill(0);
    disk.put(&name, &bytes);
    disk
}

/// Returns a copy of the disk, the LSN of the last frame of the log, and its end.
fn look(story: &Story) -> (SimDisk, u64, (String, usize)) {
    let disk = story.disk.fork();
    let (_, last_lsn, end) = read(&files_of(&disk));
    (disk, last_lsn, end)
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1")
}

/// With `LESSOR_WRITE_GOLDEN` the log is written again: for a new format, beside the old one.
#[test]
fn a_log_of_format_1_stays_readable() {
    if std::env::var_os("LESSOR_WRITE_GOLDEN").is_some() {
        fs::create_dir_all(golden()).unwrap();
        for (name, bytes) in files_of(&torn_log()) {
            fs::write(golden().join(name), bytes).unwrap();
        }
    }
    let disk = golden_disk();
    let report = check::verify_on(&disk).unwrap();
    let Verdict::Sound { torn: Some(_), .. } = &report.verdict else { panic!("{report}") };
    let names = disk.file_names();
    assert!(names.iter().any(|name| name.starts_with("checkpoint-")), "{names:?}");
    assert!(
        report.files.iter().filter(|file| file.name.starts_with("segment-") && file.frames > 0).count() >= 2
    );
    let stages: Vec<_> = report.records.iter().map(|(stage, count)| (*stage, *count)).collect();
    assert_eq!(stages, [("completed", 2), ("failed", 1), ("in_progress", 2), ("released", 1)], "{report}");
    assert_same(&disk);
}

fn golden_disk() -> SimDisk {
    let disk = SimDisk::new();
    for file in fs::read_dir(golden()).unwrap() {
        let file = file.unwrap();
        disk.put(&file.file_name().into_string().unwrap(), &fs::read(file.path()).unwrap());
    }
    disk
}

/// The hexadecimal example on the page shows the golden log.
#[test]
fn the_documents_example_shows_the_golden_log() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/file-format.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- example -->\n").unwrap();
    let (is, after) = rest.split_once("<!-- /example -->").unwrap();
    let example = example(&files_of(&golden_disk()));
    if std::env::var_os("LESSOR_WRITE_GOLDEN").is_some() {
        fs::write(&path, format!("{before}<!-- example -->\n{example}<!-- /example -->{after}")).unwrap();
        return;
    }
    assert_eq!(is, example);
}

fn example(files: &Files) -> String {
    let (name, file) = files.iter().find(|(name, _)| name.starts_with("segment-")).unwrap();
    let id = &superblock(files)[16..32];
    let frame = frame(id, &file[512..]).unwrap();
    let mut body = &frame.body[..];
    let key = varint(&mut body);
    let after_key = 1 + key;
    let mut rest = &body[key..];
    let before = rest.len();
    let record = varint(&mut rest);
    let length = before - rest.len();
    let parts: [(&str, usize); 17] = [
        ("magic", 4),
        ("kind: records of the log; zeros", 4),
        ("length of the data", 8),
        ("epoch", 4),
        ("LSN", 8),
        ("durable_upto", 8),
        ("clock", 8),
        ("CRC of the rest", 4),
        ("CRC of id and header", 4),
        ("length of the key", 1),
        ("key", after_key - 1),
        ("length of the record", length),
        ("CRC of key and record", 4),
        ("record: format, stage", 2),
        ("lease id", 16),
        ("times, token, version, attempt, fields present, holder", record - 18),
        ("zeros", 0),
    ];
    let mut out = format!("```text\n{name}, byte 512:\n");
    let mut at = 512;
    for (what, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
        for (line, bytes) in file[at..at + count].chunks(16).enumerate() {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let what = if line == 0 { what } else { "" };
            out += format!("{:5}  {:<48}{what}", at + line * 16, hex.join(" ")).trim_end();
            out += "\n";
        }
        at += count;
    }
    assert_eq!(at - 512, 52 + frame.body.len(), "the frame has one entry");
    let zeros = 1023 - at;
    assert!(file[at..1023].iter().all(|byte| *byte == 0));
    out + &format!(
        "{at:5}  {:<48}{zeros} zeros\n 1023  {:<48}mark\n```\n",
        "00 …",
        format!("{:02x}", file[1023])
    )
}
