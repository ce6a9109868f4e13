//! Named places where a test lets the process die, or a thread panic.
//!
//! `AGENT_ABORT_AT=name` aborts at the first passage of that place, `name:3` at the third;
//! `AGENT_PANIC_AT` panics there. A debug build carries them, a release build carries nothing.

#[cfg(debug_assertions)]
pub fn failpoint(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Chosen {
        place: String,
        nth: u32,
        panics: bool,
    }

    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "no part of the configuration: exists in debug builds only")]
    let chosen = CHOSEN.get_or_init(|| {
        let asked = |variable| std::env::var(variable).ok();
        let panics = asked("AGENT_PANIC_AT");
        let (value, panics) = (panics.clone().or_else(|| asked("AGENT_ABORT_AT"))?, panics.is_some());
        let (place, nth) = value.split_once(':').unwrap_or((&value, "1"));
        Some(Chosen { place: place.to_owned(), nth: nth.parse().ok()?, panics })
    });
    if let Some(Chosen { place, nth, panics }) = chosen
        && place == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        if *panics {
            panic!("a test asked for it at {name}");
        }
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
