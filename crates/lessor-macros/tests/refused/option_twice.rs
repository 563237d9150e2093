#[lessor_macros::once(engine = engine, key(), ttl = "30s", ttl = "40s", key())]
pub fn charge(engine: u8) -> Result<u8, String> {
    Ok(engine)
}

fn main() {}
