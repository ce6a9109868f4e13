//! Repositories that lie: what is in one, whatever its name, runs nothing, leads nowhere and shows nobody else's work.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::direct::{feed, missing};
use crate::harness::{Repository, World, success, wait_until_or};
use crate::hook::{calm_world, is_root, met, skipped, write_script};

#[test]
fn s08_f71_nothing_that_a_repository_says_of_itself_runs_or_changes_what_is_read() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let ran = world.folder.join("ran");
    let script = world.folder.join("script");
    write_script(&script, &format!("echo \"$0 $*\" >> {}; cat", ran.display()));
    let script = script.to_str().unwrap();
    for (key, value) in [
        ("core.fsmonitor", script),
        ("core.sshCommand", script),
        ("core.pager", script),
        ("core.editor", script),
        ("core.alternateRefsCommand", script),
        ("uploadpack.packObjectsHook", script),
        ("filter.x.clean", script),
        ("filter.x.process", script),
        ("diff.x.textconv", script),
        ("diff.external", script),
        ("credential.helper", script),
        ("gpg.program", script),
        ("gpg.ssh.program", script),
        ("alias.for-each-ref", &format!("!{script}")),
        ("include.path", "/dev/zero/none"),
    ] {
        repository.git(&["config", key, value]);
    }
    fs::create_dir_all(repository.path.join("info")).unwrap();
    fs::write(repository.path.join("info/attributes"), "* filter=x diff=x\n").unwrap();
    for name in ["post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"] {
        write_script(&repository.path.join("hooks").join(name), "exit 0");
    }
    // Another commit in the first one's place, and one more parent than it has.
    let decoy = clone.commit("ABC-9 in the place of another");
    clone.git(&["reset", "--quiet", "--hard", &first]);
    let second = clone.commit("ABC-2 the true one");
    clone.push(&[
        "--receive-pack=git -c core.hooksPath=/dev/null receive-pack",
        "origin",
        &format!("{decoy}:refs/tmp/x"),
    ]);
    clone.push(&["--receive-pack=git -c core.hooksPath=/dev/null receive-pack", "origin", "HEAD:main"]);
    // That was for git's own part in a push to say.
    let _ = fs::remove_file(&ran);
    repository.git(&["update-ref", &format!("refs/replace/{second}"), &decoy]);
    fs::write(repository.path.join("info/grafts"), format!("{second} {decoy}\n")).unwrap();
    let _daemon = world.restarted(daemon);
    world.wait_for_owed("commit", &[&first, &second]);
    world.wait_until_idle();
    world.agent_says(&["why", &second]);
    world.agent_says(&["sync", "start", repository.path.to_str().unwrap()]);
    world.wait_until_idle();
    world.wait_for_owed("commit", &[&first, &second]);
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap());
}

#[test]
fn s09_f71_what_a_repository_takes_from_somebody_else_is_not_shown() {
    if !is_root() {
        return skipped("only root has repositories of several users");
    }
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let secret = world.repository("secret");
    let theirs = world.clone_of(&secret, "theirs");
    let hidden = theirs.commit("ABC-8 theirs");
    theirs.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &hidden]);
    success(world.command("chown").args(["-R", "12345:12345"]).arg(&secret.path));
    let unseen = theirs.commit("ABC-7 nobody's business");
    fs::write(world.folder.join("home/.gitconfig"), "[safe]\n\tdirectory = *\n").unwrap();
    theirs.push(&["--receive-pack=git -c core.hooksPath=/dev/null receive-pack", "origin", "HEAD:refs/tmp/x"]);
    let borrow = repository.path.join("objects/info/alternates");
    fs::write(&borrow, format!("# x\n{}\n", secret.path.join("objects").display())).unwrap();
    repository.git(&["update-ref", "refs/heads/ABC-7-mine", &unseen]);
    let says = || world.status()["repositories"].to_string();
    let daemon = world.restarted(daemon);
    wait_until_or("it is said", || says().contains("from somebody who is not its owner"), says);
    assert_eq!(missing(&world, std::slice::from_ref(&unseen)).len(), 1, "it is told to nobody");
    // What comes by a hook was read as whoever pushed; and a way by links is one too.
    fs::remove_file(&borrow).unwrap();
    repository.git(&["update-ref", "-d", "refs/heads/ABC-7-mine"]);
    let second = clone.commit("ABC-2 go on");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&hidden, &first, &second]);
    symlink(secret.path.join("objects"), repository.path.join("objects/zz")).unwrap();
    let _daemon = world.restarted(daemon);
    wait_until_or("it is said", || says().contains("from somebody who is not its owner"), says);
    assert_eq!(missing(&world, std::slice::from_ref(&unseen)).len(), 1, "it is told to nobody");
}

#[test]
fn s10_names_of_repositories_are_labels_whatever_is_in_them() {
    let world = calm_world();
    let daemon = world.daemon();
    let mut expected = Vec::new();
    let root = world.folder.join("repositories");
    for (number, name) in [
        &b"a%2e%2e%2fb.git"[..],
        b"$(id) `x`;y.git",
        b"..dots.git",
        b"two\nlines.git",
        b"-dash.git",
        b"uml\xc3\xa4ut.git",
    ]
    .iter()
    .enumerate()
    {
        let path = root.join(OsStr::from_bytes(name));
        success(world.command("git").args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&path));
        success(world.command(env!("CARGO_BIN_EXE_agent")).args(["install", "--"]).arg(&path));
        let repository = Repository { world: &world, path };
        let clone = world.clone_of(&repository, &format!("work-{number}"));
        expected.push(clone.commit(&format!("ABC-{} begin", number + 1)));
        clone.push(&["origin", "HEAD:main"]);
    }
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    world.wait_for_owed("commit", &expected);
    world.wait_for_jira(expected.len(), 0);
    let _daemon = world.restarted(daemon);
    world.wait_until_idle();
    for word in ["status", "queue list", "repo list", "account show main"] {
        let said = world.agent(&word.split(' ').collect::<Vec<_>>()).output().unwrap().stdout;
        assert!(!String::from_utf8_lossy(&said).contains("two\nlines"), "{word}");
    }
    assert!(!Path::new("/tmp/b.git").exists());
}

#[test]
fn f66_a_repository_deleted_while_its_history_is_read_ends_that_and_nothing_else() {
    let world = World::with("projects = [\"ABC\"]\n", crate::hook::CALM);
    let _daemon = world.daemon();
    let repository = world.plain_repository("tool", &[]);
    let mut import = Vec::new();
    for number in 0..20_000 {
        let head = format!(
            "commit refs/heads/old\nmark :{}\ncommitter A <a@example.org> {} +0000\n",
            number + 1,
            1_600_000_000 + number
        );
        import.extend_from_slice(head.as_bytes());
        import.extend_from_slice(b"data 8\nABC-3 x\n\n");
    }
    assert!(feed(&mut repository.command(&["fast-import", "--quiet"]), &import).status.success());
    let path = repository.path.to_str().unwrap();
    world.agent_says(&["install", path]);
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    let other = world.repository("other");
    let other_clone = world.clone_of(&other, "other");
    let beside = other_clone.commit("ABC-2 beside");
    other_clone.push(&["origin", "HEAD:main"]);
    world.wait_for_owed("commit", &[&first, &beside]);
    world.wait_until_idle();
    world.agent_says(&["sync", "start", path]);
    wait_until_or("it is under way", || world.owed("commit").len() > 2, || world.log());
    fs::remove_dir_all(&repository.path).unwrap();
    let runs = || world.agent_says(&["sync", "status", "--json"]);
    wait_until_or("it has ended", || !runs().contains("\"running\"") && !runs().contains("\"waiting\""), runs);
    let more = other_clone.commit("ABC-4 go on");
    other_clone.push(&["origin", "HEAD:main"]);
    wait_until_or(
        "the other goes on",
        || missing(&world, &[first.clone(), beside.clone(), more.clone()]).is_empty(),
        || world.log(),
    );
    let settled = || world.log().matches("cannot read").count();
    let before = settled();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert!(settled() <= before + 1, "it is not tried again and again: {}", world.log());
}

/// Hooks that hand over in another order than git moved the refs, as those of two machines do.
#[test]
fn f73_pushes_that_arrive_in_the_opposite_order_end_where_the_refs_are() {
    let world = calm_world();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let second = clone.commit("ABC-2 the earlier");
    let third = clone.commit("ABC-3 the later");
    for id in [&second, &third] {
        clone.push(&[
            "--receive-pack=git -c core.hooksPath=/dev/null receive-pack",
            "origin",
            &format!("{id}:refs/heads/ABC-5"),
        ]);
    }
    let hook = |old: &str, new: &str| {
        let mut hook = world.agent(&["hook", "post-receive"]);
        hook.current_dir(&repository.path).env("GIT_DIR", ".");
        let output = feed(&mut hook, format!("{old} {new} refs/heads/ABC-5\n").as_bytes());
        assert!(output.status.success());
    };
    hook(&second, &third);
    hook(&"0".repeat(40), &second);
    world.wait_for_owed("commit", &[&first, &second, &third]);
    world.wait_until_idle();
    let _daemon = world.restarted(daemon);
    wait_until_or(
        "the branch is where it is",
        || {
            let branches = crate::harness::shown(&world.sandbox.state(), "branches");
            branches.len() == 1 && branches[0]["data"]["lastCommit"]["id"] == third.as_str()
        },
        || world.sandbox.state()["repositories"].to_string(),
    );
}
