//! The life of a repository: `agent repo`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Repository, World, shown, wait_until};
use crate::hook::{is_root, skipped};

/// Makes a repository and gives what the agent says of it as JSON, and the repository.
#[track_caller]
fn created<'w>(world: &'w World, arguments: &[&str]) -> (Value, Repository<'w>) {
    let said = world.agent_says(&[&["repo"], arguments, &["--json"]].concat());
    let made: Value = serde_json::from_str(&said).unwrap();
    let path = made["path"].as_str().unwrap().into();
    (made, Repository { world, path })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// What lies in a folder, hidden or not.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Configures the account with more lines.
fn account(world: &World, lines: &str) {
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{config}{lines}\n")).unwrap();
}

#[test]
fn t17_a_new_repository_is_private_plain_and_complete() {
    let world = World::new();
    account(&world, "clone = \"ssh://git@git.example.org/{repository}.git\"");
    // What a machine prefers has no say.
    let home = world.folder.join("home");
    fs::create_dir_all(home.join("template/hooks")).unwrap();
    fs::write(home.join("template/hooks/post-update"), "#!/bin/sh\n").unwrap();
    let config = format!("[init]\ndefaultBranch = other\ntemplateDir = {}/template\n", home.display());
    fs::write(home.join(".gitconfig"), config).unwrap();
    let (made, repository) = created(&world, &["create", "Tool", "--branch", "trunk"]);
    assert_eq!(made["clone"], "ssh://git@git.example.org/tool.git");
    assert_eq!(made["name"], "tool");
    assert_eq!(repository.path, world.folder.join("repositories/tool.git"));
    assert_eq!(mode(&repository.path), 0o700);
    assert_eq!(repository.git(&["config", "agent.repoid"]), made["id"].as_str().unwrap());
    assert_eq!(repository.git(&["symbolic-ref", "HEAD"]), "refs/heads/trunk");
    assert_eq!(repository.git(&["config", "receive.denyNonFastForwards"]), "false");
    assert_eq!(fs::read_to_string(repository.path.join("description")).unwrap(), "Tool\n");
    assert_eq!(names(&repository.path.join("hooks")), ["post-receive", "pre-receive"]);
    assert!(!repository.path.join("git-daemon-export-ok").exists());
    // Taking the hooks out works in the place where it is now.
    let said = world.agent_says(&["uninstall", repository.path.to_str().unwrap()]);
    assert!(said.contains("removed") && names(&world.folder.join("repositories")) == ["tool.git"], "{said}");
}

#[test]
fn t17_a_repository_of_a_group_is_written_by_it_and_a_public_one_read_by_all() {
    let world = World::new();
    let group = fs::metadata(&world.folder).unwrap().gid().to_string();
    let (_, repository) = created(&world, &["create", "a", "--group", &group]);
    assert_eq!(mode(&repository.path), 0o2770);
    assert_eq!(mode(&repository.path.join("objects")) & 0o2070, 0o2070);
    assert_eq!(mode(&repository.path.join("agent")) & 0o2070, 0o2070);
    assert_eq!(repository.git(&["config", "core.sharedRepository"]), "0660");
    assert_eq!(repository.git(&["config", "receive.denyNonFastForwards"]), "false");
    let (_, repository) = created(&world, &["create", "b", "--public"]);
    assert_eq!(mode(&repository.path), 0o755);
    assert!(repository.path.join("git-daemon-export-ok").exists());
}

#[test]
fn t17_with_a_readme_the_first_clone_has_it() {
    let world = World::new();
    let (_, repository) = created(&world, &["create", "Tool", "--readme"]);
    let clone = world.clone_of(&repository, "work");
    assert_eq!(fs::read_to_string(clone.path.join("README.md")).unwrap(), "# Tool\n");
    clone.commit("ABC-1 more");
    let answer = clone.push(&["origin", "main"]);
    assert!(answer.contains("1 commit"), "what it began with is told to nobody: {answer}");
}

#[test]
fn t18_h14_of_two_that_are_created_at_once_one_wins_and_the_other_is_told() {
    let world = World::new();
    for round in 0..5 {
        let create = |name: String| {
            let mut agent = world.agent(&["repo", "create", &name]);
            agent.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let both = [create(format!("Tool{round}")), create(format!("tOOL{round}"))];
        let outputs = both.map(|child| child.wait_with_output().unwrap());
        let failed: Vec<_> = outputs.iter().filter(|output| !output.status.success()).collect();
        assert_eq!(failed.len(), 1, "{outputs:?}");
        let said = String::from_utf8_lossy(&failed[0].stderr);
        assert!(said.contains("there is a repository with this address already"), "{said}");
        assert_eq!(names(&world.folder.join("repositories")).len(), round + 1, "nothing is left behind");
    }
}

#[test]
fn t17_what_fails_halfway_leaves_nothing_behind() {
    let world = World::new();
    let output = world.agent(&["repo", "create", "tool", "--branch", "no..branch"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no..branch"));
    assert!(names(&world.folder.join("repositories")).is_empty());
}

#[test]
fn t17_what_root_makes_in_a_folder_of_somebody_else_is_theirs() {
    if !is_root() {
        skipped("only root makes repositories for others");
        return;
    }
    let world = World::new();
    fs::set_permissions(&world.folder, fs::Permissions::from_mode(0o755)).unwrap();
    chown(world.folder.join("repositories"), Some(4711), Some(4712)).unwrap();
    let (_, repository) = created(&world, &["create", "tool", "--project", "team", "--group", "4713", "--readme"]);
    let mut seen = 0;
    let mut folders = vec![world.folder.join("repositories/team")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let meta = entry.path().symlink_metadata().unwrap();
            assert_eq!((meta.uid(), meta.gid()), (4711, 4713), "{}", entry.path().display());
            seen += 1;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    assert!(seen > 10 && repository.path.exists());
}

#[test]
fn t21_the_first_push_of_master_makes_it_what_clones_begin_on() {
    let world = World::new();
    let (_, repository) = created(&world, &["create", "tool"]);
    let history = world.plain_repository("elsewhere", &["--initial-branch=master"]);
    let clone = world.clone_of(&history, "history");
    clone.git(&["checkout", "--quiet", "-B", "master"]);
    clone.commit("ABC-1 long ago");
    clone.git(&["branch", "other"]);
    clone.git(&["remote", "set-url", "origin", repository.path.to_str().unwrap()]);
    let answer = clone.push(&["--set-upstream", "origin", "--all"]);
    assert!(answer.contains("remote: jira: clones begin on master from now on; HEAD led nowhere"), "{answer}");
    let next = world.clone_of(&repository, "next");
    assert_eq!(next.git(&["log", "--format=%s"]), "ABC-1 long ago");
    assert_eq!(next.git(&["symbolic-ref", "--short", "HEAD"]), "master");
    // From then on it stays.
    clone.commit("ABC-2 more");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(!answer.contains("HEAD led nowhere"), "{answer}");
    assert_eq!(repository.git(&["symbolic-ref", "HEAD"]), "refs/heads/master");
}

#[test]
fn t22_an_import_has_all_branches_and_tags_and_runs_nothing_of_the_other() {
    let world = World::new();
    let _daemon = world.daemon();
    let other = world.plain_repository("../Elsewhere", &["--initial-branch=trunk"]);
    let clone = world.clone_of(&other, "history");
    let first = clone.commit("ABC-1 #comment long ago");
    clone.git(&["tag", "-a", "-m", "a tag", "v1"]);
    clone.git(&["push", "--quiet", "origin", "HEAD:trunk", "HEAD:refs/heads/ABC-2-side", "v1"]);
    let ran = world.folder.join("ran");
    let program = world.folder.join("program");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\nexec \"$@\"\n", ran.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for key in ["uploadpack.packObjectsHook", "core.fsmonitor", "core.sshCommand", "core.gitProxy"] {
        other.git(&["config", key, program.to_str().unwrap()]);
    }
    let (made, repository) = created(&world, &["import", other.path.to_str().unwrap()]);
    assert_eq!((made["name"].as_str(), made["branch"].as_str()), (Some("elsewhere"), Some("trunk")));
    let refs = |repository: &Repository| repository.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
    assert_eq!(refs(&repository), refs(&other));
    assert_eq!(mode(&repository.path), 0o700);
    assert!(!ran.exists(), "a program of the other repository was run");
    let config = fs::read_to_string(repository.path.join("config")).unwrap();
    assert!(!config.contains("remote") && !config.contains("Elsewhere"), "{config}");
    assert!(!repository.path.join("FETCH_HEAD").exists());
    // What comes now is linked, and what was there is not.
    let next = world.clone_of(&repository, "next");
    assert_eq!(next.git(&["rev-parse", "HEAD"]), first);
    let second = next.commit("ABC-3 now");
    let answer = next.push(&["origin", "trunk"]);
    assert!(answer.contains("1 commit queued"), "{answer}");
    world.wait_until_idle();
    assert_eq!(world.owed("commit"), [second]);
}

#[test]
fn t22_an_import_that_fails_says_why_and_leaves_nothing() {
    let world = World::new();
    let marker = world.folder.join("ran");
    let program = format!("ext::touch {}", marker.display());
    for (source, because) in [
        (program.as_str(), "transport 'ext' not allowed"),
        ("https://ann:secret@git.example.org/tool", "a password in an address"),
        ("--upload-pack=touch", "is no address of a repository"),
        ("nowhere/at/all", "does not appear to be a git repository"),
    ] {
        let output = world.agent(&["repo", "import", "--name", "tool", "--", source]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(because), "{source}: {said}");
        assert!(names(&world.folder.join("repositories")).is_empty(), "{source}");
    }
    assert!(!marker.exists());
}

#[test]
fn t16_a_list_tells_what_hinders_each_repository() {
    let world = World::new();
    account(&world, "[[account.repository]]\nmatch = \"b\"\nsmart_commits = false");
    let (a, repository) = created(&world, &["create", "a"]);
    created(&world, &["create", "b", "--project", "team"]);
    world.plain_repository("c", &[]);
    fs::create_dir(world.folder.join("repositories/.hidden.git")).unwrap();
    let list = || -> Vec<Value> { serde_json::from_str(&world.agent_says(&["repo", "list", "--json"])).unwrap() };
    let rows = list();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "c", "team/b"]);
    assert_eq!((&rows[0]["id"], &rows[0]["hooks"]), (&a["id"], &Value::Bool(true)));
    assert!(rows[1]["hindrance"].as_str().unwrap().starts_with("pre-receive is not there; agent install"));
    repository.git(&["config", "core.hooksPath", "/elsewhere"]);
    let hindrance = list()[0]["hindrance"].as_str().unwrap().to_owned();
    assert!(hindrance.contains("core.hooksPath makes Git look in /elsewhere"), "{hindrance}");
    repository.git(&["config", "--unset", "core.hooksPath"]);
    fs::write(world.folder.join("home/.gitconfig"), "[core]\nhooksPath = /other\n").unwrap();
    let hindrance = list()[0]["hindrance"].as_str().unwrap().to_owned();
    assert!(hindrance.contains("/other"), "{hindrance}");
}

#[test]
fn b16_what_is_removed_is_gone_here_and_in_jira() {
    let world = World::new();
    let mut daemon = world.daemon();
    let (_, repository) = created(&world, &["create", "tool"]);
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main", "HEAD:ABC-2-side"]);
    world.wait_for_jira(1, 1);
    let output = world.agent(&["repo", "remove", "tool"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("say --yes where nobody can be asked"), "{said}");
    assert!(repository.path.exists());
    let said = world.agent_says(&["repo", "remove", "tool", "--yes"]);
    assert!(said.contains("with 2 branches and all their history"), "{said}");
    assert!(said.contains("Jira forgets it: 1 commits, 1 branches"), "{said}");
    assert!(names(&world.folder.join("repositories")).is_empty());
    world.wait_for_jira(0, 0);
    // Without the daemon nothing is removed that Jira is to forget.
    let (_, repository) = created(&world, &["create", "tool"]);
    daemon.stop();
    let output = world.agent(&["repo", "remove", "tool", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(repository.path.exists());
    world.agent_says(&["repo", "remove", "tool", "--yes", "--keep-in-jira"]);
    assert!(names(&world.folder.join("repositories")).is_empty());
}

#[test]
fn t16_commands_of_one_repository_are_switched_and_nothing_else_in_the_configuration() {
    let world = World::new();
    created(&world, &["create", "tool"]);
    let before = fs::read_to_string(world.config()).unwrap() + "# the end\n";
    fs::write(world.config(), &before).unwrap();
    world.agent_says(&["repo", "set", "tool", "--smart-commits", "off"]);
    let after = fs::read_to_string(world.config()).unwrap();
    let own = "\n[[account.repository]]\nmatch = \"tool\"\nsmart_commits = false\n";
    assert_eq!(after.replace(own, ""), before, "{after}");
    world.agent_says(&["repo", "set", "tool", "--smart-commits", "on"]);
    assert_eq!(
        fs::read_to_string(world.config()).unwrap(),
        after.replace("smart_commits = false", "smart_commits = true")
    );
    let output = world.agent(&["repo", "set", "tol", "--smart-commits", "on"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no repository tol"));
}

#[test]
fn b15_a_repository_that_is_renamed_or_moved_is_the_same_in_jira() {
    let world = World::new();
    fs::create_dir_all(world.folder.join("archive")).unwrap();
    let web =
        "[account.web]\nrepository = \"https://git/{repository}\"\ncommit = \"https://git/{repository}/{commit}\"";
    account(&world, web);
    account(&world, "[[account]]\nname = \"archive\"\nroot = \"archive\"\nsite = \"jira\"");
    let mut daemon = world.daemon();
    let (made, repository) = created(&world, &["create", "tool", "--account", "main"]);
    created(&world, &["create", "taken", "--account", "main"]);
    let clone = world.clone_of(&repository, "work");
    let first = clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main", "HEAD:ABC-2-side"]);
    world.wait_for_jira(1, 1);
    let output = world.agent(&["repo", "rename", "tool", "Taken"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is a repository with this address already"));
    let said = world.agent_says(&["repo", "rename", "tool", "Better"]);
    assert!(said.contains("2 commits and branches are told to Jira anew"), "{said}");
    let told = |url: &str| {
        let state = world.sandbox.state();
        shown(&state, "commits").iter().any(|commit| commit.to_string().contains(url))
    };
    let url = format!("https://git/better/{first}");
    wait_until("Jira has the new links", || told(&url));
    world.agent_says(&["repo", "move", "better", "--to", "archive"]);
    let place = world.folder.join("archive/better.git");
    clone.git(&["remote", "set-url", "origin", place.to_str().unwrap()]);
    clone.commit("ABC-3 more");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(2, 1);
    let state = world.sandbox.state();
    assert_eq!(state["repositories"].as_object().unwrap().len(), 1, "{state}");
    assert!(state["repositories"][made["id"].as_str().unwrap()].to_string().contains("better"));
    // Without the daemon it keeps its name, and the hooks come out wherever it is.
    daemon.stop();
    let output = world.agent(&["repo", "rename", "better", "best"]).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", String::from_utf8_lossy(&output.stderr));
    let said = world.agent_says(&["uninstall", place.to_str().unwrap()]);
    assert!(said.contains("removed") && said.contains("archive/better.git/hooks/pre-receive"), "{said}");
}

#[test]
fn t15_a14_one_repository_is_switched_off_and_on_and_given_projects_of_its_own() {
    let world = World::with("projects = [\"ABC\", \"XYZ\"]\n", "");
    let (_, repository) = created(&world, &["create", "tool"]);
    let before = fs::read_to_string(world.config()).unwrap();
    let _daemon = world.daemon();
    let clone = world.clone_of(&repository, "work");
    clone.commit("ABC-1 XYZ-1 begin");
    let said = world.agent_says(&["repo", "set", "tool", "--keys", "xyz"]);
    assert!(said.contains("tool is linked to jira, for keys of XYZ"), "{said}");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("not linked: ABC-1 (account main links only XYZ)"), "{answer}");
    let said = world.agent_says(&["repo", "set", "tool", "--keys", "default", "--enabled", "off"]);
    assert!(said.contains("tool is not linked: account main leaves out tool"), "{said}");
    clone.commit("ABC-2 meanwhile");
    assert!(!clone.push(&["origin", "HEAD:main"]).contains("ABC-2"), "a repository that is off says nothing");
    let said = world.agent_says(&["repo", "set", "tool", "--enabled", "on"]);
    assert!(said.contains("tool is linked to jira, for keys of any project"), "{said}");
    clone.commit("ABC-3 again");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-2") && answer.contains("ABC-3"), "what was pushed meanwhile comes along: {answer}");
    assert!(!world.agent(&["repo", "set", "tool"]).output().unwrap().status.success(), "something has to be said");
    for wrong in [["--keys", "no key"], ["--site", "elsewhere"]] {
        let output = world.agent(&[&["repo", "set", "tool"], &wrong[..]].concat()).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
    }
    world.agent_says(&["repo", "set", "tool", "--site", "none"]);
    world.agent_says(&["repo", "set", "tool", "--site", "default"]);
    let after = fs::read_to_string(world.config()).unwrap();
    assert_eq!(after.replace("\n[[account.repository]]\nmatch = \"tool\"\n", ""), before, "{after}");
}
