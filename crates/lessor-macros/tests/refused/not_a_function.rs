#[lessor_macros::once(engine = engine, key())]
pub struct Charge;

fn main() {}
