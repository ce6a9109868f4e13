//! A person's own daemon that does not run is started by the hook that misses it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::config::{Config, Places};

/// How long nobody tries again after somebody tried: what ends at once is not started by every commit of a rebase.
const AGAIN: Duration = Duration::from_secs(60);
/// What Git tells a hook of the repository it runs in, which is no business of a daemon's.
const OF_GIT: [&str; 11] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_PUSH_OPTION_COUNT",
];

/// Starts the daemon without waiting for it, and tells whether it did. What was left in the drop-box it finds there.
///
/// Two that are started at once are one: the second finds the first one's lock on the queue, and ends.
pub(super) fn daemon(config: &Config, places: &Places) -> bool {
    if !config.daemon.on_demand || places.shared || !is_own(places) || !is_due(places) {
        return false;
    }
    let Ok(agent) = std::env::current_exe() else { return false };
    let mut command = Command::new(agent);
    command.arg("daemon").arg("start").env("GIT_JIRA_AGENT_CONFIG", &places.config).current_dir("/");
    for name in OF_GIT {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().is_ok()
}

/// Whether the queue is this user's: nobody starts a daemon for somebody else.
fn is_own(places: &Places) -> bool {
    fs::metadata(&places.state).is_ok_and(|meta| meta.uid() == rustix::process::geteuid().as_raw())
}

/// Whether nobody has tried lately, and notes that somebody does now.
fn is_due(places: &Places) -> bool {
    let mark = places.state.join("started");
    let tried = fs::metadata(&mark).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    tried.is_none_or(|since| since > AGAIN) && fs::write(&mark, b"").is_ok()
}
