#[lessor_macros::once(key(order_id))]
pub fn charge(order_id: u64) -> Result<u64, String> {
    Ok(order_id)
}

fn main() {}
