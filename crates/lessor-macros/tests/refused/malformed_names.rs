#[lessor_macros::once(engine = engine, key(), name = " ", lease = "lease", crate = 7)]
pub fn charge(engine: u8) -> Result<u8, String> {
    Ok(engine)
}

#[lessor_macros::once(engine = engine, key(), name = NAME)]
pub fn refund(engine: u8) -> Result<u8, String> {
    Ok(engine)
}

fn main() {}
