//! A daemon whose clock a test can move.

use std::path::{Path, PathBuf};

use crate::direct::has;
use crate::harness::{Daemon, World};

/// The clock of a daemon.
pub struct Clock {
    offset: PathBuf,
}

/// Where Debian puts the library that moves a process's clock.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

impl Clock {
    /// A daemon whose time of day can be moved, unless that is not possible here.
    pub fn of_day(world: &World) -> Option<(Clock, Daemon)> {
        let clock = Clock::new(world)?;
        let daemon = world.daemon_with(&clock.of_the_day());
        Some((clock, daemon))
    }

    /// As [`Clock::of_day`], but its timers move too.
    pub fn of_everything(world: &World) -> Option<(Clock, Daemon)> {
        let clock = Clock::new(world)?;
        let daemon = world.daemon_with(&clock.environment());
        Some((clock, daemon))
    }

    /// A clock that stands right, for daemons to come.
    pub fn new(world: &World) -> Option<Clock> {
        if !has("faketime") || !Path::new(FAKETIME).exists() {
            return None;
        }
        let clock = Clock { offset: world.folder.join("clock") };
        clock.set("+0");
        Some(clock)
    }

    /// Starts a daemon whose time of day this clock tells, with more in its environment.
    pub fn start(&self, world: &World, more: &[(&str, &str)]) -> Daemon {
        world.spawn_daemon(&[&self.of_the_day()[..], more].concat())
    }

    /// Moves the clock; `offset` is counted from the true time, such as `+16m` or `+9d`.
    pub fn set(&self, offset: &str) {
        let temporary = self.offset.with_extension("new");
        std::fs::write(&temporary, offset).unwrap();
        std::fs::rename(temporary, &self.offset).unwrap();
    }

    fn of_the_day(&self) -> [(&str, &str); 5] {
        let [library, file, uncached] = self.environment();
        [library, file, uncached, ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1")]
    }

    fn environment(&self) -> [(&str, &str); 3] {
        [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", self.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
        ]
    }
}
