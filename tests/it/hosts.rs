//! Hosts with hooks of their own, their layouts rebuilt and driven with real git: ours goes where theirs lets it, and out again.

use std::fs;
use std::path::Path;

use crate::accounts::{bare, config, json, push, run, wait_for_link};
use crate::harness::{Repository, World, success, wait_until};
use crate::hook::write_script;
use crate::uninstall::{assert_same, tree};

const HOOKS: [&str; 3] = ["pre-receive", "update", "post-receive"];

/// What such a host keeps in a folder of hooks: for each hook a script that runs all of a folder, and its own file in that.
fn dispatcher(hooks: &Path, folder: &str, own: &str) {
    fs::create_dir_all(hooks).unwrap();
    for name in HOOKS {
        let script = format!(
            "data=$(cat)\ncode=0\nfor hook in {folder}/{name}.d/*; do\n\
             [ -x \"$hook\" ] && [ -f \"$hook\" ] || continue\n\
             printf '%s\\n' \"$data\" | \"$hook\" \"$@\" || code=$?\ndone\nexit $code"
        );
        write_script(&hooks.join(name), &script);
        fs::create_dir_all(hooks.join(format!("{name}.d"))).unwrap();
        write_script(&hooks.join(format!("{name}.d")).join(own), "cat >/dev/null; echo the host was asked >&2");
    }
}

fn gitea<'w>(world: &'w World, name: &str) -> Repository<'w> {
    let repository = bare(world, name);
    dispatcher(&repository.path.join("hooks"), "\"${GIT_DIR:-.}\"/hooks", "gitea");
    repository
}

#[test]
fn b5_gitea_is_given_a_file_beside_its_own_and_keeps_what_it_writes() {
    let world = World::new();
    let _daemon = world.daemon();
    let tool = gitea(&world, "ann/tool.git");
    let wiki = gitea(&world, "ann/tool.wiki.git");
    let before = tree(&world.folder.join("srv"));
    let said = world.agent_says(&["account", "add", "git", "--root", "srv", "--smart-commits", "on", "--yes"]);
    assert!(said.contains("1 of kind gitea") && said.contains("1 repositories got hooks"), "{said}");
    let user = success(world.command("id").arg("-un"));
    assert!(config(&world).contains(&format!("host_users = [\"{}\"]", user.trim())), "{}", config(&world));
    assert_eq!(json(&world, &["account", "show", "git"])["repositories"][0]["reached"], "drop-in");
    // The host writes its own anew whenever it likes.
    dispatcher(&tool.path.join("hooks"), "\"${GIT_DIR:-.}\"/hooks", "gitea");
    let answer = push(&world.clone_of(&tool, "a"), "ABC-1 begin");
    assert!(answer.contains("the host was asked") && answer.contains("ABC-1  "), "{answer}");
    wait_for_link(&world, "ABC-1");
    assert!(!push(&world.clone_of(&wiki, "b"), "ABC-2 a page").contains("ABC-2  "));
    let new = gitea(&world, "ann/new.git");
    wait_until("it is covered", || new.path.join("agent/told").exists());
    assert!(new.path.join("hooks/post-receive.d/zz-agent").exists());
    fs::remove_dir_all(&new.path).unwrap();
    let answer = push(&world.clone_of(&tool, "c"), "ABC-3 once");
    assert_eq!(answer.matches("queued for Jira").count(), 1, "{answer}");
    world.agent_says(&["account", "remove", "git", "--yes"]);
    let hooks = |tree: &std::collections::BTreeMap<std::path::PathBuf, (u32, Vec<u8>)>| {
        let kept = tree.iter().filter(|(path, _)| !path.components().any(|part| part.as_os_str() == "objects"));
        kept.filter(|(path, _)| !path.to_string_lossy().contains("/refs/"))
            .map(|(path, what)| (path.clone(), what.clone()))
            .collect()
    };
    assert_same(&hooks(&before), &hooks(&tree(&world.folder.join("srv"))));
}

#[test]
fn b5_forgejos_one_folder_serves_all_repositories_and_is_left_as_it_was() {
    let world = World::new();
    let _daemon = world.daemon();
    let shared = world.folder.join("forgejo-home/hooks");
    dispatcher(&shared, "\"$(dirname \"$0\")\"", "forgejo");
    let repositories = ["ann/tool.git", "ann/other.git"].map(|name| {
        let repository = bare(&world, name);
        repository.git(&["config", "core.hooksPath", shared.to_str().unwrap()]);
        repository
    });
    let before = [tree(&shared), tree(&world.folder.join("srv"))];
    let said = world.agent_says(&["account", "add", "forge", "--root", "srv", "--yes"]);
    assert!(said.contains("2 of kind forgejo") && said.contains("2 repositories got hooks"), "{said}");
    assert_eq!(json(&world, &["account", "show", "forge"])["repositories"][0]["reached"], "shared-drop-in");
    world.agent_says(&["account", "remove", "forge", "--yes"]);
    assert_same(&before[0], &tree(&shared));
    assert_same(&before[1], &tree(&world.folder.join("srv")));

    world.agent_says(&["account", "add", "forge", "--root", "srv", "--yes"]);
    let [tool, other] = &repositories;
    let clone = world.clone_of(tool, "a");
    let answer = push(&clone, "ABC-1 begin");
    assert!(answer.contains("the host was asked") && answer.contains("ABC-1  "), "{answer}");
    // One of them switched off says nothing, and the file that serves the other stays.
    let said = world.agent_says(&["uninstall", tool.path.to_str().unwrap()]);
    assert!(said.contains("leaves out ann/tool"), "{said}");
    assert!(!push(&clone, "ABC-2 unheard").contains("ABC-2"));
    assert!(push(&world.clone_of(other, "b"), "ABC-3 heard").contains("ABC-3  "));
}

#[test]
fn b7_b8_b9_where_a_file_in_a_repository_is_not_enough_it_is_said_what_is() {
    let world = World::new();
    let _daemon = world.daemon();
    let gitlab = bare(&world, "@hashed/aa/bb/aabb.git");
    bare(&world, "@hashed/aa/bb/aabb.wiki.git");
    let bitbucket = bare(&world, "stash/1.git");
    fs::write(bitbucket.path.join("repository-config"), "").unwrap();
    bare(&world, "site/git/change.git");
    fs::create_dir_all(world.folder.join("srv/site/etc")).unwrap();
    fs::write(world.folder.join("srv/site/etc/gerrit.config"), "").unwrap();
    let before = tree(&world.folder.join("srv"));
    let (done, said) = run(&world, &["account", "add", "all", "--root", "srv", "--yes"]);
    assert!(!done && said.contains("3 repositories, 0 with hooks already"), "{said}");
    for what in [
        "pre-receive.d and post-receive.d of gitaly's custom_hooks_dir",
        "Gerrit runs no hooks",
        "feature.hook.scripts=true",
    ] {
        assert_eq!(said.matches(what).count(), 2, "before and after: {what}: {said}");
    }
    assert_same(&before, &tree(&world.folder.join("srv")));

    // What it says of GitLab does it: gitaly leads git away from the repository, and stops at the first that fails.
    let custom = world.folder.join("custom_hooks");
    let gitaly = world.folder.join("gitaly");
    fs::create_dir_all(&gitaly).unwrap();
    for name in ["pre-receive", "post-receive"] {
        let folder = custom.join(format!("{name}.d"));
        fs::create_dir_all(&folder).unwrap();
        write_script(&folder.join("50-agent"), &format!("exec {} hook {name}", env!("CARGO_BIN_EXE_agent")));
        let script = format!(
            "data=$(cat)\nfor hook in {}/*; do\nprintf '%s\\n' \"$data\" | \"$hook\" || exit 1\ndone",
            folder.display()
        );
        write_script(&gitaly.join(name), &script);
    }
    gitlab.git(&["config", "core.hooksPath", gitaly.to_str().unwrap()]);
    let answer = push(&world.clone_of(&gitlab, "a"), "ABC-1 begin");
    assert!(answer.contains("ABC-1  "), "{answer}");
    wait_for_link(&world, "ABC-1");
}
