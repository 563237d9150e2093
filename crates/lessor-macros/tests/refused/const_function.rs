#[lessor_macros::once(engine = ENGINE, key())]
pub const fn charge() -> Result<(), String> {
    Ok(())
}

fn main() {}
