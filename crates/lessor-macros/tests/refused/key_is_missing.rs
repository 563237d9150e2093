#[lessor_macros::once(engine = engine, ttl = "30s")]
pub fn charge(engine: u8) -> Result<u8, String> {
    Ok(engine)
}

fn main() {}
