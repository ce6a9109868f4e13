//! Links that a person puts right: in Jira at once, kept over everything that tells it again, and taken back.

use serde_json::{Value, json};

use crate::harness::{World, shown, wait_until_or};
use crate::hook::{calm_world, met};

/// The issues that Jira shows a commit or a branch with; none where it does not show it.
fn shown_with(world: &World, kind: &str, id: &str) -> Vec<String> {
    let all = shown(&world.sandbox.state(), kind);
    let its = all.iter().find(|one| one["data"]["id"] == id);
    its.map_or(Vec::new(), |one| {
        one["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    })
}

/// Waits until Jira shows it with exactly these issues, and nothing more is on its way.
#[track_caller]
fn wait_for_links(world: &World, kind: &str, id: &str, keys: &[&str]) {
    wait_until_or(
        "it is linked",
        || world.sandbox.state()["pending"] == 0 && shown_with(world, kind, id) == keys,
        || format!("{:?} instead of {keys:?}\n{}", shown_with(world, kind, id), world.log()),
    );
    world.wait_until_idle();
    assert_eq!(shown_with(world, kind, id), keys);
}

#[track_caller]
fn refused(world: &World, arguments: &[&str]) -> String {
    let output = world.agent(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn e17_a_link_is_put_right_and_stays_so_whatever_tells_it_again() {
    let world = calm_world();
    let config = std::fs::read_to_string(world.config()).unwrap() + "forget_rewritten = \"0 seconds\"\n";
    std::fs::write(world.config(), config).unwrap();
    let daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let path = repository.path.to_str().unwrap();
    let second = clone.commit("ABC-2 the wrong issue #comment not for others");
    clone.push(&["origin", "HEAD:main"]);
    wait_for_links(&world, "commits", &second, &["ABC-2"]);

    let said = world.agent_says(&["relink", &second[..8], "--repo", path, "--issue", "ABC-3", "--issue", "abc-4"]);
    for part in [&*second, "was       linked to ABC-2", "is        linked to ABC-3, ABC-4", "this only links"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    wait_for_links(&world, "commits", &second, &["ABC-3", "ABC-4"]);
    assert_eq!(shown_with(&world, "commits", &first), ["ABC-1"], "others stay as they are");
    let why = world.agent_says(&["why", &second]);
    assert!(why.contains("pushed at"), "it came with its push: {why}");
    assert!(world.effects(&["list"]).is_empty());

    // History is read anew, refs are compared, and Jira is laid beside Git.
    world.agent_says(&["sync", "start", path]);
    wait_until_or(
        "history is read",
        || world.agent_says(&["sync", "status"]).contains("done"),
        || world.agent_says(&["sync", "status"]),
    );
    wait_for_links(&world, "commits", &second, &["ABC-3", "ABC-4"]);
    world.agent_says(&["sync", "start", path, "--issue", "ABC-3"]);
    wait_for_links(&world, "commits", &second, &["ABC-3", "ABC-4"]);
    let daemon = world.restarted(daemon);
    world.sandbox.lose(&[&second]);
    assert!(!world.agent(&["verify", "--repair"]).output().unwrap().stdout.is_empty());
    wait_for_links(&world, "commits", &second, &["ABC-3", "ABC-4"]);
    // It is left behind, and comes back.
    clone.push(&["--force", "origin", &format!("{first}:main")]);
    wait_for_links(&world, "commits", &second, &[]);
    clone.push(&["origin", &format!("{second}:main")]);
    wait_for_links(&world, "commits", &second, &["ABC-3", "ABC-4"]);

    let why = world.agent_says(&["why", &second]);
    assert!(why.contains("put right linked to ABC-3, ABC-4 alone, whatever its message says, by "), "{why}");
    assert!(world.agent_says(&["why", "ABC-4"]).contains(&second));

    // One goes, all go, and it comes back as its message says.
    world.agent_says(&["relink", &second, "--repo", path, "--unlink", "ABC-4"]);
    wait_for_links(&world, "commits", &second, &["ABC-3"]);
    // Jira says that it does, and does not: laid beside Git that is seen.
    world.sandbox.misbehave(json!([{"on": "delete", "times": 1, "act": {"status": {"code": 202}}}]));
    world.agent_says(&["relink", &second, "--repo", path, "--unlink"]);
    world.wait_until_idle();
    wait_for_links(&world, "commits", &second, &["ABC-3"]);
    assert!(world.agent_says(&["verify", "--repair", path]).contains("1 superfluous"));
    wait_for_links(&world, "commits", &second, &[]);
    let daemon = world.restarted(daemon);
    world.agent_says(&["sync", "start", path]);
    world.wait_until_idle();
    wait_for_links(&world, "commits", &second, &[]);
    assert!(world.agent_says(&["why", &second]).contains("linked to nothing"));
    world.agent_says(&["verify", path]);
    let listed: Value = serde_json::from_str(&world.agent_says(&["relink", "--list", "--json"])).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &second.as_str().into()));
    let said = world.agent_says(&["relink", &second, "--repo", path, "--reset"]);
    assert!(said.contains("linked to ABC-2, as it says itself"), "{said}");
    wait_for_links(&world, "commits", &second, &["ABC-2"]);
    assert!(world.agent_says(&["relink", "--list"]).contains("no link was put right"));
    assert!(world.effects(&["list"]).is_empty());
    drop(daemon);
}

#[test]
fn e17_e21_what_lost_its_key_is_linked_and_only_in_its_own_repository() {
    let world = calm_world();
    let _daemon = world.daemon();
    let (one, clone, _first) = met(&world, "one");
    let two = world.repository("two");
    let squashed = clone.commit("squashed, with no key at all");
    clone.push(&["origin", "HEAD:main"]);
    clone.push(&[two.path.to_str().unwrap(), "HEAD:main"]);
    world.wait_until_idle();
    assert!(shown_with(&world, "commits", &squashed).is_empty());
    // Said in the repository itself, as it would be on a server.
    for (name, key) in [("main~0", "ABC-4"), (&squashed[..7], "ABC-5")] {
        let mut here = world.agent(&["relink", name, "--issue", key]);
        let output = here.current_dir(&one.path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    wait_for_links(&world, "commits", &squashed, &["ABC-5"]);
    let id_of = |path: &std::path::Path| {
        let git = world.command("git").arg("--git-dir").arg(path).args(["config", "agent.repoid"]).output().unwrap();
        String::from_utf8(git.stdout).unwrap().trim().to_owned()
    };
    let state = world.sandbox.state();
    assert!(state["repositories"][id_of(&one.path)]["commits"][&squashed].is_object(), "{state}");
    assert!(state["repositories"][id_of(&two.path)]["commits"][&squashed].is_null(), "{state}");
    // A branch by its name.
    clone.push(&["origin", "HEAD:refs/heads/fix/it"]);
    world.wait_until_idle();
    let said =
        world.agent_says(&["relink", "--branch", "fix/it", "--repo", one.path.to_str().unwrap(), "--issue", "ABC-6"]);
    assert!(said.contains("branch fix/it") && said.contains("is        linked to ABC-6"), "{said}");
    wait_for_links(&world, "branches", "~6669782f6974", &["ABC-6"]);
    let third = clone.commit("ABC-7 the branch goes on");
    clone.push(&["origin", "HEAD:refs/heads/fix/it"]);
    wait_for_links(&world, "commits", &third, &["ABC-7"]);
    wait_for_links(&world, "branches", "~6669782f6974", &["ABC-6"]);
    assert!(world.agent_says(&["why", "fix/it"]).contains("linked to ABC-6 alone, whatever its name says"));
    world.agent_says(&["relink", "--branch", "fix/it", "--repo", one.path.to_str().unwrap(), "--reset"]);
    wait_for_links(&world, "branches", "~6669782f6974", &[]);
}

#[test]
fn e17_what_cannot_be_put_right_is_said_and_changes_nothing() {
    let world = calm_world();
    let mut daemon = world.daemon();
    let (repository, clone, first) = met(&world, "tool");
    let path = repository.path.to_str().unwrap();
    for (arguments, part) in [
        (vec!["relink", &first, "--repo", path], "--issue KEY"),
        (vec!["relink", "--repo", path, "--unlink"], "required"),
        (vec!["relink", &first, "--repo", path, "--issue", "what"], "no issue key"),
        (vec!["relink", &first, "--repo", path, "--issue", "XYZ-1"], "none of the projects of site jira: ABC"),
        (vec!["relink", "0000000000", "--repo", path, "--issue", "ABC-2"], "begins with 0000000000"),
        (vec!["relink", "no-such~1", "--repo", path, "--issue", "ABC-2"], "no-such~1 names no commit"),
        (vec!["relink", "abc", "--repo", path, "--issue", "ABC-2"], "not an object id"),
        (vec!["relink", "--branch", "none", "--repo", path, "--issue", "ABC-2"], "no branch none"),
    ] {
        let said = refused(&world, &arguments);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    assert!(world.agent_says(&["relink", "--list"]).contains("no link was put right"));
    // What no branch reaches any more is not shown again for it.
    let left = clone.commit("ABC-2 never pushed to a branch");
    clone.push(&["origin", &format!("{left}:refs/other/place")]);
    let said = world.agent_says(&["relink", &left, "--repo", path, "--issue", "ABC-3"]);
    assert!(said.contains("no branch and no tag reaches it"), "{said}");
    clone.push(&["origin", &format!("{left}:refs/heads/main")]);
    wait_for_links(&world, "commits", &left, &["ABC-3"]);
    daemon.stop();
    let output = world.agent(&["relink", &first, "--repo", path, "--issue", "ABC-2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the daemon is not running"), "{output:?}");
}

#[test]
fn e18_merges_are_left_out_with_their_commands_unless_a_person_links_one() {
    let world = crate::smart::world("policy = \"bot\"");
    let config = std::fs::read_to_string(world.config()).unwrap();
    std::fs::write(
        world.config(),
        config.replace("history = \"none\"\n", "history = \"none\"\nignore_merges = true\n"),
    )
    .unwrap();
    let (_daemon, repository, clone) = crate::smart::start(&world);
    let path = repository.path.to_str().unwrap();
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    clone.git(&["checkout", "--quiet", "-b", "side"]);
    let side = clone.commit("ABC-2 beside");
    clone.git(&["checkout", "--quiet", "main"]);
    clone.git(&["merge", "--quiet", "--no-ff", "-m", "ABC-3 join #comment not said", &side]);
    let join = clone.git(&["rev-parse", "HEAD"]);
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-2") && !answer.contains("ABC-3"), "{answer}");
    wait_for_links(&world, "commits", &side, &["ABC-2"]);
    assert!(shown_with(&world, "commits", &join).is_empty());
    world.agent_says(&["sync", "start", path]);
    wait_until_or(
        "history is read",
        || world.agent_says(&["sync", "status"]).contains("done"),
        || world.agent_says(&["sync", "status"]),
    );
    world.wait_until_idle();
    assert!(shown_with(&world, "commits", &join).is_empty());
    assert!(world.effects(&["list"]).is_empty());
    world.agent_says(&["relink", &join, "--repo", path, "--also", "ABC-4"]);
    wait_for_links(&world, "commits", &join, &["ABC-4"]);
    assert!(world.effects(&["list"]).is_empty());
}
