#[lessor_macros::once(engine = engine, key(order_id, oder_id.number), fingerprint(amount))]
pub fn charge(engine: u8, (order_id, _): (u64, u64)) -> Result<u8, String> {
    Ok(engine + order_id as u8)
}

#[lessor_macros::once(engine = ENGINE, key(self.id))]
pub fn refund() -> Result<u8, String> {
    Ok(1)
}

fn main() {}
