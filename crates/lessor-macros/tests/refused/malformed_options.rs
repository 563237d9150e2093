#[lessor_macros::once(engine, key = order_id, fingerprint, ttl("30s"), holder, lease, with("x"))]
pub fn charge(order_id: u8) -> Result<u8, String> {
    Ok(order_id)
}

fn main() {}
