#[lessor_macros::once(engine = engine, key(), lease = lease)]
pub fn charge(engine: u8, lease: u8) -> Result<u8, String> {
    Ok(engine + lease)
}

fn main() {}
