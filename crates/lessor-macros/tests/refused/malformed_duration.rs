#[lessor_macros::once(engine = engine, key(), ttl = "30 parsecs", wait_timeout = 5)]
pub fn charge(engine: u8) -> Result<u8, String> {
    Ok(engine)
}

fn main() {}
