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
        Clock::start(world, &[("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1")])
    }

    /// As [`Clock::of_day`], but its timers move too.
    pub fn of_everything(world: &World) -> Option<(Clock, Daemon)> {
        Clock::start(world, &[])
    }

    /// Moves the clock; `offset` is counted from the true time, such as `+16m` or `+9d`.
    pub fn set(&self, offset: &str) {
        let temporary = self.offset.with_extension("new");
        std::fs::write(&temporary, offset).unwrap();
        std::fs::rename(temporary, &self.offset).unwrap();
    }

    fn start(world: &World, more: &[(&str, &str)]) -> Option<(Clock, Daemon)> {
        if !has("faketime") || !Path::new(FAKETIME).exists() {
            return None;
        }
        let clock = Clock { offset: world.folder.join("clock") };
        clock.set("+0");
        let moved = [
            ("LD_PRELOAD", FAKETIME),
            ("FAKETIME_TIMESTAMP_FILE", clock.offset.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
        ];
        let daemon = world.daemon_with(&[&moved, more].concat());
        Some((clock, daemon))
    }
}
