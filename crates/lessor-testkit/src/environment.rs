//! Numbers from the environment.

pub(crate) fn number_from_env(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(otherwise)
}
