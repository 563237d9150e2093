#[lessor_macros::once(engine = engine, key("v1", order_id, now()))]
pub fn charge(engine: u8, order_id: u8) -> Result<u8, String> {
    Ok(engine + order_id)
}

fn main() {}
