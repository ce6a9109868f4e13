//! Named places where a test lets the process die.
//!
//! `AGENT_ABORT_AT=name` aborts at the first passage of that place, `name:3` at the third. A debug
//! build carries them, a release build carries nothing.

#[cfg(debug_assertions)]
pub fn failpoint(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static CHOSEN: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "no part of the configuration: exists in debug builds only")]
    let chosen = CHOSEN.get_or_init(|| {
        let value = std::env::var("AGENT_ABORT_AT").ok()?;
        match value.split_once(':') {
            Some((name, nth)) => Some((name.to_owned(), nth.parse().ok()?)),
            None => Some((value, 1)),
        }
    });
    if let Some((place, nth)) = chosen
        && place == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        std::process::abort();
    }
}

#[cfg(not(debug_assertions))]
pub fn failpoint(_name: &str) {}

/// Whether a safety is taken away (`AGENT_WEAKEN=name`), so that a test can show that it would be missed.
#[cfg(debug_assertions)]
pub fn weakened(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "no part of the configuration: exists in debug builds only")]
    std::env::var("AGENT_WEAKEN").is_ok_and(|value| value == name)
}

#[cfg(not(debug_assertions))]
pub fn weakened(_name: &str) -> bool {
    false
}
