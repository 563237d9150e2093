#[lessor_macros::once(engine = engine, key())]
pub async fn charge(_engine: u8) -> Option<u8> {
    None
}

fn main() {}
