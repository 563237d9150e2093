pub trait Payments {
    #[lessor_macros::once(engine = self.engine(), key())]
    fn charge(&self) -> Result<(), String>;
}

fn main() {}
