//! Measures the resident memory per completed record with a 64-byte result, in one process per
//! guard so that none reuses pages of another.

use std::process::Command;

use lessor_counted::{Guard, HandDashMap, Lessor, Receipt, key};

/// The capacity of a hash map doubles, so these counts are just before and just after a growth: the
/// best and the worst case.
const COUNTS: [u64; 4] = [700_000, 1_000_000, 1_400_000, 2_000_000];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [kind, count] if count.parse::<u64>().is_ok() => measure(kind, count.parse().expect("a number")),
        _ => {
            println!("resident bytes per completed record, with a key of 24 bytes and a result of 64 bytes");
            for kind in ["lessor", "dashmap"] {
                for count in COUNTS {
                    let own = std::env::current_exe().expect("this program");
                    let ran = Command::new(own).args([kind, &count.to_string()]).status().expect("a process");
                    assert!(ran.success());
                }
            }
        }
    }
}

fn measure(kind: &str, count: u64) {
    let guard: Box<dyn Guard> = match kind {
        "lessor" => Box::new(Lessor::default()),
        _ => Box::new(HandDashMap::default()),
    };
    let before = resident();
    for n in 0..count {
        guard.run(&key(0, n), &Receipt::new(n));
    }
    println!("{:>16} {count:>9} records: {} bytes each", guard.name(), (resident() - before) / count);
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux's /proc");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}
