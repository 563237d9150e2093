//! Hash slots: a key's slot is the CRC16 of its name, modulo the number of slots.

use redis::{Arg, Cmd};

pub(crate) const SLOTS: usize = 16_384;

/// Returns the slot of the only key of a command.
pub(super) fn slot_of(command: &Cmd) -> usize {
    let arg = |at| match command.args_iter().nth(at) {
        Some(Arg::Simple(bytes)) => bytes,
        _ => &[],
    };
    let key = arg(if arg(0).starts_with(b"EVAL") { 3 } else { 1 });
    usize::from(crc16(key)) % SLOTS
}

/// Returns the slot of a record name. Record names contain no braces, so they have no hash tag.
pub(super) fn slot_of_name(name: &str) -> usize {
    usize::from(crc16(name.as_bytes())) % SLOTS
}

/// Computes CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    #[test]
    fn slots_match_those_of_redis_servers() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let slot = |command: &mut Cmd| slot_of(command);
        assert_eq!(slot(cmd("GET").arg("123456789")), 12_739);
        assert_eq!(slot(cmd("EVALSHA").arg("hash").arg(1).arg("123456789").arg("more")), 12_739);
    }
}
