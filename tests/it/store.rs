//! A disk that is full, read-only, failing or damaged: nothing is promised that is not stored, and
//! everything flows once the disk is well again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crash::peak_mib;
use crate::direct::{Chance, Direct, Promise, has, number, wait_for_commits};
use crate::harness::{Daemon, Process, World, wait_until, wait_until_or};

const TOP: &str = "[hook]\nread_ms = 1500\ndeadline_ms = 2000\n";

fn world() -> World {
    World::with("projects = [\"ABC\"]\n", TOP)
}

/// A small file system of its own, unmounted when dropped.
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Mounts a new ext4 as the queue's folder; `None`, with a word, where that is not permitted.
    fn of(world: &World, mib: u64, make: &[&str]) -> Option<Disk> {
        Disk::at(world, world.state(), mib, make)
    }

    /// The same as another folder of the world.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub fn at(world: &World, at: PathBuf, mib: u64, make: &[&str]) -> Option<Disk> {
        let disk = Disk { image: world.folder.join("disk.img"), at };
        std::fs::File::create(&disk.image).unwrap().set_len(mib << 20).unwrap();
        let _ = std::fs::remove_dir_all(&disk.at);
        std::fs::create_dir(&disk.at).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).args(make).arg(&disk.image).output();
        if !made.is_ok_and(|output| output.status.success()) || !disk.mount() {
            eprintln!("skipped: a file system cannot be made and mounted here");
            return None;
        }
        Some(disk)
    }

    fn mount(&self) -> bool {
        let mut mount = Command::new("mount");
        let output = mount.args(["-o", "loop,errors=remount-ro"]).arg(&self.image).arg(&self.at).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn unmount(&self) -> bool {
        Command::new("umount").arg(&self.at).output().is_ok_and(|output| output.status.success())
    }

    pub fn make_read_only(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,ro"]).arg(&self.at).output().is_ok_and(|output| output.status.success())
    }

    /// Writes until nothing fits any more.
    pub fn fill(&self) -> PathBuf {
        use std::io::Write;
        let path = self.at.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![0x55; size]).is_ok() && file.sync_data().is_ok() && size > 1 {}
        }
        path
    }

    /// Takes all of its file numbers.
    fn fill_with_files(&self) -> PathBuf {
        let path = self.at.join("filler");
        std::fs::create_dir(&path).unwrap();
        let mut made = 0;
        while std::fs::File::create(path.join(made.to_string())).is_ok() {
            made += 1;
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.unmount() {
            let _ = Command::new("umount").arg("-l").arg(&self.at).output();
        }
    }
}

/// Pushes numbers until `until` says enough, and gives the commits that were promised.
fn push_until(
    direct: &Direct<'_>,
    numbers: &mut impl Iterator<Item = usize>,
    mut until: impl FnMut(&Promise) -> bool,
) -> Vec<String> {
    let mut promised = Vec::new();
    for number in numbers {
        let promise = direct.push(number);
        if !matches!(promise, Promise::Nothing(_)) {
            promised.push(direct.commits[number].clone());
        }
        if until(&promise) {
            break;
        }
    }
    promised
}

#[track_caller]
fn wait_until_not_ready(world: &World, because: &str) {
    let not_ready = || world.status()["running"]["not_ready"].to_string();
    wait_until_or("no events are taken", || not_ready().contains(because), not_ready);
}

#[test]
fn f19_below_the_low_water_mark_hooks_use_the_spool_until_there_is_room() {
    let world = world();
    let Some(disk) = Disk::of(&world, 8, &[]) else { return };
    let direct = Direct::new(&world, "tool", 3);
    let mut daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    let filler = disk.fill();
    wait_until_not_ready(&world, "the disk of the queue has");
    assert_eq!(direct.push(1), Promise::Kept);
    assert_eq!(world.agent(&["daemon", "status"]).output().unwrap().status.code(), Some(69));
    assert_eq!(world.agent(&["status"]).output().unwrap().status.code(), Some(1));
    std::fs::remove_file(filler).unwrap();
    wait_until("events are taken again", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    assert_eq!(direct.push(2), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
}

/// Without a low-water mark the store itself meets the end of the disk.
#[test]
fn f19_a3_a_full_disk_is_never_acknowledged() {
    let world = World::with("projects = [\"ABC\"]\n", &format!("{TOP}[queue]\nmin_free_mib = 0\n"));
    let Some(disk) = Disk::of(&world, 8, &[]) else { return };
    let direct = Direct::new(&world, "tool", 200);
    let mut daemon = world.daemon();
    let mut numbers = 0..200;
    let mut promised = push_until(&direct, &mut numbers, |_| true);
    world.wait_until_idle();
    let filler = disk.fill();
    // The log is as long as it was, so a few commits may still fit into it.
    promised.extend(push_until(&direct, &mut numbers, |promise| *promise == Promise::Kept));
    let full = promised.len();
    promised.extend(push_until(&direct, &mut numbers.by_ref().take(3), |_| false));
    assert!(full < 200, "the disk did not get full");
    std::fs::remove_file(filler).unwrap();
    if daemon.process.0.try_wait().unwrap().is_some() {
        daemon = world.daemon();
    }
    wait_for_commits(&world, &promised);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn f20_a_disk_without_inodes_is_told_by_that_name() {
    let world = world();
    let Some(disk) = Disk::of(&world, 16, &["-N", "256"]) else { return };
    let direct = Direct::new(&world, "tool", 2);
    let _daemon = world.daemon();
    let filler = disk.fill_with_files();
    wait_until_not_ready(&world, "the disk of the queue has no inodes left");
    assert_eq!(direct.push(0), Promise::Kept);
    std::fs::remove_dir_all(filler).unwrap();
    wait_until("events are taken again", || world.agent(&["daemon", "status"]).output().unwrap().status.success());
    assert_eq!(direct.push(1), Promise::Queued);
    wait_for_commits(&world, &direct.commits);
}

/// The kernel makes a file system read-only under the daemon when it meets an error.
#[test]
fn f21_a_disk_that_turns_read_only_takes_no_promise_and_tells_jira_nothing_unrecorded() {
    let world = world();
    let Some(disk) = Disk::of(&world, 8, &[]) else { return };
    let Some(trigger) = trigger_of(&disk) else { return };
    let direct = Direct::new(&world, "tool", 4);
    let mut daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    wait_for_commits(&world, &direct.commits[..1]);
    world.wait_until_idle();
    std::fs::write(trigger, "1").unwrap();
    let promised = push_until(&direct, &mut (1..4), |_| false);
    assert_eq!(promised.len(), 3);
    wait_until("the daemon has ended or says that it takes nothing", || {
        daemon.process.0.try_wait().unwrap().is_some_and(|status| status.code() == Some(74))
            || !world.agent(&["daemon", "status"]).output().unwrap().status.success()
    });
    let bulks = world.sandbox.requests("/bulk").len();
    assert_eq!(bulks, 1, "{}", world.log());
    daemon.process.kill();
    assert!(disk.unmount() && disk.mount());
    let _daemon = world.daemon();
    wait_for_commits(&world, &direct.commits);
}

/// Where an error of the disk's file system can be ordered.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn trigger_of(disk: &Disk) -> Option<PathBuf> {
    let output = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(&disk.at).output().ok()?;
    let source = String::from_utf8(output.stdout).ok()?;
    let device = Path::new(source.trim()).file_name()?.to_owned();
    let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
    let there = trigger.exists();
    if !there {
        eprintln!("skipped: an error of a file system cannot be ordered here");
    }
    there.then_some(trigger)
}

/// Makes the daemon's syncs fail from the `when`th on, as strace counts.
fn fail_syncs(daemon: &Daemon, when: &str) -> Process {
    let pid = daemon.process.0.id();
    let inject = format!("inject=fsync,fdatasync:error=EIO:when={when}");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject, "-p", &pid.to_string()]);
    let strace = Process(strace.stderr(Stdio::null()).spawn().unwrap());
    let traced = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    };
    wait_until("all threads are traced", || {
        std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.filter_map(Result::ok).all(traced))
    });
    strace
}

#[test]
fn f17_a3_a_sync_that_fails_ends_the_daemon_and_nothing_promised_is_lost() {
    if !has("strace") {
        return;
    }
    let world = world();
    let direct = Direct::new(&world, "tool", 100);
    let mut numbers = 0..100;
    let mut promised = Vec::new();
    for when in ["1", "4", "9"] {
        let mut daemon = world.daemon();
        let strace = fail_syncs(&daemon, when);
        let mut code = None;
        let more = push_until(&direct, &mut numbers.by_ref().take(30), |_| {
            code = daemon.process.0.try_wait().unwrap();
            code.is_some()
        });
        promised.extend(more);
        assert_eq!(daemon.process.wait(), Some(74), "{}", world.log());
        drop(strace);
    }
    assert!(world.log().contains("the queue cannot be written"), "{}", world.log());
    let mut daemon = world.daemon();
    wait_for_commits(&world, &promised);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(number(&world, "SELECT count(*) - count(DISTINCT sequence) FROM entity"), 0);
}

#[test]
fn f18_a3_while_every_sync_fails_the_spool_collects_and_afterwards_all_flows_once() {
    if !has("strace") {
        return;
    }
    let world = world();
    let direct = Direct::new(&world, "tool", 3);
    let mut daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    world.wait_until_idle();
    daemon.process.kill();
    for number in 1..3 {
        let run = world.agent(&["daemon", "run"]);
        let mut strace = world.command("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "inject=fsync,fdatasync:error=EIO:when=1+"]);
        let output = strace.arg(run.get_program()).args(run.get_args()).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(direct.push(number), Promise::Kept);
    }
    let mut daemon = world.daemon();
    wait_for_commits(&world, &direct.commits);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(number(&world, "SELECT count(*) FROM event WHERE kind = 'push'"), 3);
}

/// A store in which a repository is known, with a copy of it if asked for, and one push that Jira has not heard of.
fn store_with_an_unsent_push(world: &World, snapshot: bool) -> crate::harness::Repository<'_> {
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let copy = world.state().join("queue.snapshot");
    let mut daemon = world.daemon();
    clone.commit("ABC-1 before");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    let _ = std::fs::remove_file(&copy);
    // Makes a copy right away, as there is none.
    let mut daemon = world.daemon();
    wait_until("the queue was copied", || copy.exists());
    world.sandbox.misbehave(json!([{"on": "bulk", "act": "drop"}]));
    clone.commit("ABC-2 after");
    assert!(clone.push(&["origin", "HEAD:main"]).contains("queued for Jira"));
    daemon.process.kill();
    world.sandbox.behave();
    if !snapshot {
        std::fs::remove_file(copy).unwrap();
    }
    repository
}

/// Overwrites all but the first page of the queue.
fn damage(world: &World) {
    let path = world.state().join("queue.db");
    let mut bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 8192, "the queue was never written back");
    bytes[4096..].fill(0xa5);
    std::fs::write(path, bytes).unwrap();
    std::fs::remove_file(world.state().join("queue.db-wal")).unwrap();
}

#[test]
fn f22_a_damaged_queue_without_a_copy_stops_the_start_and_says_why() {
    let world = world();
    store_with_an_unsent_push(&world, false);
    damage(&world);
    let output = world.agent(&["daemon", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("is damaged") && said.contains("no snapshot to restore; move it aside"), "{said}");
}

#[test]
fn f22_a_damaged_queue_is_moved_aside_and_its_copy_and_the_refs_bring_everything_back() {
    let world = world();
    store_with_an_unsent_push(&world, true);
    damage(&world);
    let _daemon = world.daemon();
    world.wait_for_jira(2, 0);
    let names: Vec<_> = std::fs::read_dir(world.state())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("queue.db.corrupt-")), "{names:?}");
    assert!(world.log().contains("the last snapshot restored"), "{}", world.log());
}

/// Whatever byte is wrong, the daemon runs, or refuses with the status that says so; it never breaks down.
#[test]
fn f22_flipped_bytes_anywhere_are_a_refusal_at_most() {
    let world = world();
    store_with_an_unsent_push(&world, false);
    let path = world.state().join("queue.db");
    let wal = world.state().join("queue.db-wal");
    let (whole, log) = (std::fs::read(&path).unwrap(), std::fs::read(&wal).unwrap());
    let mut chance = Chance(7);
    for _ in 0..10 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << chance.below(8);
        }
        std::fs::write(&path, bytes).unwrap();
        std::fs::write(&wal, &log).unwrap();
        let mut daemon = world.spawn_daemon(&[]);
        let mut ended = None;
        wait_until("the daemon runs or has ended", || {
            ended = daemon.process.0.try_wait().unwrap();
            ended.is_some() || world.agent(&["daemon", "status"]).output().unwrap().status.success()
        });
        if let Some(status) = ended {
            assert!(matches!(status.code(), Some(65 | 74)), "{status:?}\n{}", world.log());
        }
        daemon.process.kill();
        assert!(!world.log().contains("panicked"), "{}", world.log());
        for name in ["queue.snapshot", "queue.part"] {
            let _ = std::fs::remove_file(world.state().join(name));
        }
    }
}

#[test]
fn f23_what_went_with_a_deleted_wal_is_found_by_comparing_refs() {
    let world = world();
    store_with_an_unsent_push(&world, true);
    std::fs::remove_file(world.state().join("queue.db-wal")).unwrap();
    let _daemon = world.daemon();
    world.wait_for_jira(2, 0);
    world.wait_until_idle();
}

#[test]
fn f25_the_linked_sqlite_is_one_without_the_wal_reset_bug() {
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

/// A copy made while hooks hand over is whole, and with it and the refs nothing is missing afterwards.
#[test]
fn f80_f26_a_copy_made_in_use_can_be_put_back_and_numbers_never_fall() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let mut daemon = world.daemon();
    let copy = world.folder.join("copy.db");
    for turn in 0..4 {
        clone.commit(&format!("ABC-1 turn {turn}"));
        clone.push(&["origin", "HEAD:refs/heads/ABC-1-x"]);
        if turn == 1 {
            let store = rusqlite::Connection::open(world.state().join("queue.db")).unwrap();
            store.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        }
    }
    world.wait_for_jira(4, 1);
    world.wait_until_idle();
    let highest = number(&world, "SELECT max(sequence) FROM entity");
    assert_eq!(daemon.stop(), Some(0));
    std::fs::rename(copy, world.state().join("queue.db")).unwrap();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.state().join(format!("queue.db{suffix}")));
    }
    let mut daemon = world.daemon();
    clone.commit("ABC-3 afterwards");
    clone.push(&["origin", "HEAD:refs/heads/ABC-1-x"]);
    world.wait_for_jira(5, 1);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    let lowest = number(
        &world,
        "SELECT min(sequence) FROM entity WHERE entity_id = (SELECT entity_id FROM entity ORDER BY added_at DESC LIMIT 1)",
    );
    assert!(lowest > highest, "{lowest} after {highest}");
}

#[test]
fn f29_a_second_daemon_ends_with_75_and_names_the_first() {
    let world = world();
    let daemon = world.daemon();
    let output = world.agent(&["daemon", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("process {}", daemon.process.0.id())), "{said}");
    // It took nothing away from the first.
    assert!(world.agent(&["daemon", "status"]).output().unwrap().status.success());
}

#[test]
fn f78_a_queue_of_a_newer_agent_is_refused_and_left_alone() {
    let world = world();
    let mut daemon = world.daemon();
    assert_eq!(daemon.stop(), Some(0));
    let path = world.state().join("queue.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();
    let output = world.agent(&["daemon", "run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(said.contains("install the newer version again"), "{said}");
    assert!(std::fs::read(&path).unwrap() == before, "the queue was changed");
}

/// A tenth of a million rows, most of them history; goal 13 has the number for ten million.
#[test]
fn f27_a_backlog_is_taken_up_at_once_and_in_little_memory() {
    let world = world();
    let direct = Direct::new(&world, "tool", 2);
    let mut daemon = world.daemon();
    assert_eq!(direct.push(0), Promise::Queued);
    wait_for_commits(&world, &direct.commits[..1]);
    world.wait_until_idle();
    assert_eq!(daemon.stop(), Some(0));
    // A site that refuses us leaves the backlog where it is.
    world.sandbox.misbehave(json!([{"on": "token", "act": {"status": {"code": 401}}}]));
    let store = rusqlite::Connection::open(world.state().join("queue.db")).unwrap();
    store.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO entity SELECT site_id, repo_id, kind, printf('%040x', i), class, event_id, 1 + i,
           iif(i % 2, 'settled', 'ready'), ready_at, 0, 0, added_at, iif(i % 2, settled_at, NULL), issue_keys, body, body_hash || i, NULL, '', NULL, 0
         FROM n, (SELECT * FROM entity LIMIT 1);
         UPDATE lane SET ready_at = 1;",
    ).unwrap();
    drop(store);
    let began = Instant::now();
    let daemon = world.daemon();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    wait_until("the site rests", || !world.status()["running"]["sites"]["jira"]["resting"].is_null());
    assert_eq!(direct.push(1), Promise::Queued);
    assert!(peak_mib(&daemon) <= 150, "{} MiB", peak_mib(&daemon));
}

/// Hooks of a week without a daemon, in small.
#[test]
fn f74_what_a_long_absence_left_in_the_spool_is_caught_up_in_order() {
    let world = world();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    for turn in 0..20 {
        clone.commit(&format!("ABC-2 turn {turn}"));
        let said = clone.push(&["origin", "HEAD:refs/heads/ABC-2-x"]);
        assert!(said.contains("kept for Jira"), "{said}");
    }
    let last = clone.git(&["rev-parse", "HEAD"]);
    let _daemon = world.daemon();
    world.wait_for_jira(20, 1);
    world.wait_until_idle();
    let state = world.sandbox.state();
    let branch = &crate::harness::shown(&state, "branches")[0];
    assert_eq!(branch["data"]["lastCommit"]["id"], last.as_str());
    assert_eq!(std::fs::read_dir(world.spool().join("incoming")).unwrap().count(), 0);
}

#[test]
fn s27_the_queue_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = world();
    let _daemon = world.daemon();
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(world.state()), 0o700);
    assert_eq!(mode(world.state().join("queue.db")), 0o600);
}
