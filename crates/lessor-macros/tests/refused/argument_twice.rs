#[lessor_macros::once(engine = engine, key(order_id, tenant, order_id))]
pub fn charge(engine: u8, order_id: u64, tenant: &str) -> Result<usize, String> {
    Ok(engine as usize + order_id as usize + tenant.len())
}

#[lessor_macros::once(engine = engine, key(), fingerprint(order.id, order.id))]
pub fn refund(engine: u8, order: Order) -> Result<u8, String> {
    Ok(engine + order.id)
}

pub struct Order {
    id: u8,
}

fn main() {}
