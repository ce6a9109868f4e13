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

/// Gitaly runs its own hooks out of a folder of its own, and then what lies in the folders that are ours; it stops at the
/// first that fails.
fn gitaly(world: &World, repository: &Repository<'_>, global: Option<&Path>) {
    let own = world.folder.join("gitaly-hooks");
    for name in HOOKS {
        let global = global.map(|dir| format!("{}/{name}.d/*", dir.display())).unwrap_or_default();
        let script = format!(
            "data=$(cat)\nexport GL_ID=user-7 GL_USERNAME=ann GL_REPOSITORY=project-1 GL_PROTOCOL=ssh GL_PROJECT_PATH=team/tool\n\
             echo the host was asked >&2\n\
             for hook in \"$GIT_DIR\"/custom_hooks/{name} \"$GIT_DIR\"/custom_hooks/{name}.d/* {global}; do\n\
             case $hook in *~) continue ;; esac\n[ -f \"$hook\" ] && [ -x \"$hook\" ] || continue\n\
             printf '%s\\n' \"$data\" | \"$hook\" \"$@\" || exit 1\ndone"
        );
        write_script(&own.join(name), &script);
    }
    // It says so in the environment of git; for the one that serves the push that is the same as here.
    repository.git(&["config", "core.hooksPath", own.to_str().unwrap()]);
}

const HASHED: &str = "@hashed/6b/86/6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";

/// A storage as GitLab lays it out, with a project, its wiki and a pool of objects.
fn gitlab<'w>(world: &'w World, global: Option<&Path>) -> Repository<'w> {
    let project = bare(world, &format!("data/{HASHED}.git"));
    bare(world, &format!("data/{HASHED}.wiki.git"));
    bare(world, "data/@pools/6b/86/6b86.git");
    // The template that it makes repositories of has no hooks.
    fs::remove_dir_all(project.path.join("hooks")).unwrap();
    gitaly(world, &project, global);
    project
}

fn without_objects(folder: &Path) -> std::collections::BTreeMap<std::path::PathBuf, (u32, Vec<u8>)> {
    let changes =
        |path: &Path| path.components().any(|part| part.as_os_str() == "objects" || part.as_os_str() == "refs");
    tree(folder).into_iter().filter(|(path, _)| !changes(path)).collect()
}

#[test]
fn b7_gitlabs_folder_for_all_is_given_a_file_and_what_a_project_is_called_is_the_hosts_word() {
    let world = World::new();
    let _daemon = world.daemon();
    let global = world.folder.join("custom_hooks");
    fs::create_dir_all(global.join("post-receive.d")).unwrap();
    write_script(&global.join("post-receive.d/10-other"), "cat >/dev/null; echo another ran >&2");
    let project = gitlab(&world, Some(&global));
    fs::create_dir_all(world.folder.join("srv/gitaly")).unwrap();
    let config_of_gitaly = format!("socket_path = \"/x\"\n[hooks]\ncustom_hooks_dir = \"{}\"\n", global.display());
    fs::write(world.folder.join("srv/gitaly/config.toml"), config_of_gitaly).unwrap();
    let before = [tree(&global), without_objects(&world.folder.join("srv"))];
    let said = world.agent_says(&["account", "add", "lab", "--root", "srv/data", "--smart-commits", "on", "--yes"]);
    assert!(said.contains("1 of kind gitlab") && said.contains("1 repositories got hooks"), "{said}");
    assert!(config(&world).contains("host_users = ["), "{}", config(&world));
    assert_eq!(json(&world, &["account", "show", "lab"])["repositories"][0]["reached"], "shared-drop-in");
    assert!(global.join("pre-receive.d/zz-agent").exists());

    let clone = world.clone_of(&project, "a");
    let answer = push(&clone, "ABC-1 begin");
    assert!(answer.contains("the host was asked") && answer.contains("another ran"), "{answer}");
    assert!(answer.contains("ABC-1  "), "{answer}");
    wait_for_link(&world, "ABC-1");
    assert_eq!(json(&world, &["account", "show", "lab"])["repositories"][0]["name"], "team/tool");
    let told = world.sandbox.state()["repositories"].to_string();
    assert!(told.contains("\"team/tool\"") && !told.contains("@hashed"), "{told}");
    // Its wiki is nobody's work, although the same hooks run there.
    let wiki = world.folder.join(format!("srv/data/{HASHED}.wiki.git"));
    gitaly(&world, &Repository { world: &world, path: wiki.clone() }, Some(&global));
    let page = world.clone_of(&Repository { world: &world, path: wiki.clone() }, "wiki");
    assert!(!push(&page, "ABC-2 a page").contains("ABC-2  "));
    success(
        world.command("git").args(["config", "--file"]).arg(wiki.join("config")).args(["--unset", "core.hooksPath"]),
    );

    world.agent_says(&["account", "remove", "lab", "--yes"]);
    assert_same(&before[0], &tree(&global));
    assert_same(&before[1], &without_objects(&world.folder.join("srv")));
}

#[test]
fn b7_without_a_folder_for_all_gitlab_is_given_a_file_in_each_repository() {
    let world = World::new();
    let _daemon = world.daemon();
    let project = gitlab(&world, None);
    let before = without_objects(&world.folder.join("srv"));
    let said = world.agent_says(&["account", "add", "lab", "--root", "srv/data", "--yes"]);
    assert!(said.contains("1 repositories got hooks"), "{said}");
    assert_eq!(json(&world, &["account", "show", "lab"])["repositories"][0]["reached"], "drop-in");
    let answer = push(&world.clone_of(&project, "a"), "ABC-1 begin");
    assert!(answer.contains("ABC-1  "), "{answer}");
    wait_for_link(&world, "ABC-1");
    world.agent_says(&["account", "remove", "lab", "--yes"]);
    assert_same(&before, &without_objects(&world.folder.join("srv")));
}

/// What Gerrit does when a branch was pushed to or a change submitted: it moves the ref itself and tells its hook.
fn gerrit_moves(repository: &Repository<'_>, clone: &Repository<'_>, message: &str) -> String {
    let world = repository.world;
    let old = repository.command(&["rev-parse", "--verify", "--quiet", "main"]).output().unwrap().stdout;
    let old = String::from_utf8(old).unwrap().trim().to_owned();
    let old = if old.is_empty() { "0".repeat(40) } else { old };
    let new = clone.commit(message);
    repository.git(&["-c", "core.hooksPath=/dev/null", "fetch", "--quiet", clone.path.to_str().unwrap(), "+HEAD:main"]);
    let mut hook = world.command(world.folder.join("srv/site/hooks/ref-updated"));
    hook.args(["--oldrev", &old, "--newrev", &new, "--refname", "refs/heads/main", "--project", "team/change"]);
    hook.args(["--submitter", "Ann Example (ann@example.org)", "--submitter-username", "ann", "--new-in-9", "x"]);
    let output = hook.env("GIT_DIR", &repository.path).current_dir(world.folder.join("srv/site")).output().unwrap();
    assert!(output.status.code() == Some(3) || output.status.success(), "{output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn b8_gerrits_site_is_given_a_hook_and_who_submitted_is_its_word() {
    let site = "executor = \"agent\"\nprojects = [\"ABC\"]\n[site.account]\nemail = \"agent@example.org\"\nsecret_file = \"token\"\n";
    let world = World::with(site, "");
    fs::write(world.folder.join("token"), "agent-token").unwrap();
    fs::set_permissions(world.folder.join("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let _daemon = world.daemon();
    let change = bare(&world, "site/git/team/change.git");
    for folder in ["etc", "plugins", "hooks"] {
        fs::create_dir_all(world.folder.join("srv/site").join(folder)).unwrap();
    }
    fs::write(world.folder.join("srv/site/etc/gerrit.config"), "[gerrit]\n\tbasePath = git\n").unwrap();
    let (done, said) = run(&world, &["account", "add", "g", "--root", "srv/site/git", "--yes"]);
    assert!(!done && said.contains("only where its plugin `hooks` is installed"), "{said}");
    world.agent_says(&["account", "remove", "g", "--yes"]);
    fs::write(world.folder.join("srv/site/plugins/hooks.jar"), "").unwrap();
    write_script(
        &world.folder.join("srv/site/hooks/ref-updated"),
        "echo \"it was told: $*\"; . \"${0%/*}/lib.sh\"; exit 3",
    );
    fs::write(world.folder.join("srv/site/hooks/lib.sh"), "echo with its library\n").unwrap();
    let before = without_objects(&world.folder.join("srv"));

    let said = world.agent_says(&["account", "add", "g", "--root", "srv/site/git", "--smart-commits", "on", "--yes"]);
    assert!(said.contains("1 of kind gerrit") && said.contains("1 repositories got hooks"), "{said}");
    assert!(said.contains("in 1 of them other hooks are"), "{said}");
    assert_eq!(json(&world, &["account", "show", "g"])["repositories"][0]["reached"], "shared-file");
    let clone = world.clone_of(&change, "a");
    let ran = gerrit_moves(&change, &clone, "ABC-1 #comment submitted");
    assert!(ran.contains("it was told: --oldrev 0000") && ran.contains("--new-in-9 x"), "{ran}");
    assert!(ran.contains("with its library") && !ran.contains("jira"), "{ran}");
    wait_for_link(&world, "ABC-1");
    wait_until("the order is carried out", || !world.effects(&["list", "--state", "settled"]).is_empty());
    assert_eq!(world.effects(&["list"])[0]["pusher"], "ann");
    gerrit_moves(&change, &clone, "ABC-2 go on");
    wait_for_link(&world, "ABC-2");

    world.agent_says(&["account", "remove", "g", "--yes"]);
    let after = without_objects(&world.folder.join("srv"));
    let without_head = |tree: &std::collections::BTreeMap<std::path::PathBuf, (u32, Vec<u8>)>| {
        let mut tree = tree.clone();
        tree.retain(|path, _| !path.ends_with("FETCH_HEAD"));
        tree
    };
    assert_same(&without_head(&before), &without_head(&after));
}

#[test]
fn b7_b9_where_a_file_is_not_enough_it_is_said_what_is_and_a_trial_of_a_merge_is_no_push() {
    let world = World::new();
    let _daemon = world.daemon();
    bare(&world, "@cluster/repositories/6b/86/1.git");
    let bitbucket = bare(&world, "stash/1.git");
    fs::write(bitbucket.path.join("repository-config"), "").unwrap();
    let before = tree(&world.folder.join("srv"));
    let (done, said) = run(&world, &["account", "add", "all", "--root", "srv", "--yes"]);
    assert!(!done && said.contains("2 repositories, 0 with hooks already"), "{said}");
    for what in ["custom_hooks_dir, on every node", "register as POST script"] {
        assert_eq!(said.matches(what).count(), 2, "before and after: {what}: {said}");
    }
    assert_same(&before, &tree(&world.folder.join("srv")));
    // What it says does it; and Bitbucket asks its scripts about merges that it only tries.
    let clone = world.clone_of(&bitbucket, "a");
    let script = format!("exec {} hook post-receive", env!("CARGO_BIN_EXE_agent"));
    write_script(&bitbucket.path.join("hooks/post-receive"), &format!("export BB_IS_DRY_RUN=true\n{script}"));
    assert!(!push(&clone, "ABC-1 tried").contains("ABC-1"));
    write_script(
        &bitbucket.path.join("hooks/post-receive"),
        &format!("export BB_IS_DRY_RUN=false BB_USER_NAME=ann\n{script}"),
    );
    assert!(push(&clone, "ABC-2 done").contains("ABC-2  "));
    wait_for_link(&world, "ABC-2");
}

/// What is made in an account goes the way that its host lets hooks go.
#[test]
fn b7_t17_a_repository_that_is_made_in_an_account_is_covered_as_its_host_wants_it() {
    let world = World::new();
    let _daemon = world.daemon();
    let site = world.folder.join("srv/site");
    for folder in ["etc", "plugins", "hooks", "git"] {
        fs::create_dir_all(site.join(folder)).unwrap();
    }
    fs::write(site.join("etc/gerrit.config"), "").unwrap();
    fs::write(site.join("plugins/hooks.jar"), "").unwrap();
    world.agent_says(&["account", "add", "g", "--root", "srv/site/git", "--yes"]);
    let made = world.agent_says(&["repo", "create", "Tool", "--account", "g"]);
    assert!(made.contains("made tool of account g"), "{made}");
    assert!(site.join("hooks/ref-updated").exists());
    let path = site.join("git/tool.git");
    assert!(!path.join("hooks/post-receive").exists() && path.join("agent/told").exists());
    let repository = Repository { world: &world, path };
    gerrit_moves(&repository, &world.clone_of(&repository, "a"), "ABC-1 begin");
    wait_for_link(&world, "ABC-1");
}
