//! Which projects an account links, and to which site each of its repositories goes.

use serde_json::Value;

use crate::accounts::{bare, config, json, push, run, wait_for_link};
use crate::harness::{Sandbox, World, shown, wait_until_or};

/// The account over `srv`, with further lines for it, and a second site called `pay`.
fn configure(world: &World, other: &Sandbox, account: &str) {
    let before = config(world);
    let first = before.split("\n[[site]]\nname = \"pay\"").next().unwrap();
    let url = other.url();
    let text = format!(
        "{first}\n[[site]]\nname = \"pay\"\nurl = \"{url}\"\napi_url = \"{url}\"\nauth_url = \"{url}/oauth/token\"\n\
         client_id = \"sandbox-client\"\nsecret_file = \"secret\"\nprojects = [\"ABC\"]\n\n\
         [[account]]\nname = \"all\"\nroot = \"srv\"\nsite = \"jira\"\nauto_link = true\nhistory = \"none\"\n{account}"
    );
    std::fs::create_dir_all(world.folder.join("srv")).unwrap();
    std::fs::write(world.config(), text).unwrap();
}

/// The commits that a Jira shows, by their messages.
fn messages(sandbox: &Sandbox) -> Vec<String> {
    let text = |commit: &Value| commit["data"]["message"].as_str().unwrap().trim().to_owned();
    let mut all: Vec<String> = shown(&sandbox.state(), "commits").iter().map(text).collect();
    all.sort();
    all
}

#[track_caller]
fn wait_for(world: &World, sandbox: &Sandbox, expected: &[&str]) {
    let is = || sandbox.state()["pending"] == 0 && messages(sandbox) == expected;
    wait_until_or("Jira shows these commits", is, || format!("{:?}\n{}", messages(sandbox), world.log()));
}

#[test]
fn a14_an_account_links_only_its_own_keys_and_everybody_says_so() {
    let world = World::with("projects = [\"ABC\", \"XYZ\"]\n", "");
    let text = config(&world).replace("root = \"repositories\"", "root = \"srv\"\nkeys = [\"ABC\"]");
    std::fs::create_dir(world.folder.join("srv")).unwrap();
    std::fs::write(world.config(), text).unwrap();
    let tool = bare(&world, "tool.git");
    let _daemon = world.daemon();
    world.agent_says(&["install", tool.path.to_str().unwrap()]);
    let clone = world.clone_of(&tool, "a");
    clone.commit("XYZ-1 #close alone");
    clone.commit("ABC-1 after XYZ-2");
    let said = clone.push(&["origin", "HEAD:main", "HEAD:refs/heads/XYZ-3"]);
    assert!(said.contains("1 commit queued for Jira"), "{said}");
    assert!(said.contains("not linked: XYZ-2 (account main links only ABC)"), "{said}");
    assert!(said.contains("XYZ-1 #close is not carried out: its project is not linked here"), "{said}");
    assert!(!said.contains("1 branch"), "{said}");
    wait_for_link(&world, "ABC-1");
    world.wait_for_jira(1, 0);
    let commit = shown(&world.sandbox.state(), "commits").remove(0);
    assert!(!commit["data"]["issueKeys"].to_string().contains("XYZ"), "{commit}");

    // Words and history say the same as the push.
    let parsed = clone.world.agent(&["parse", "HEAD"]).current_dir(&clone.path).output().unwrap();
    assert!(!String::from_utf8_lossy(&parsed.stdout).contains("links only"), "a clone has no account of its own");
    let parsed = world.agent(&["parse", "main"]).current_dir(&tool.path).output().unwrap();
    let parsed = String::from_utf8_lossy(&parsed.stdout).into_owned();
    assert!(parsed.contains("XYZ-2 links nothing: account main links only ABC"), "{parsed}");
    let parsed = world.agent(&["parse", "main", "--json"]).current_dir(&tool.path).output().unwrap();
    let parsed: Value = serde_json::from_slice(&parsed.stdout).unwrap();
    assert_eq!(parsed["mentions"]["rejected"][0]["because"], "other_project");
    assert_eq!(parsed["rejected_because"][0], "account main links only ABC");
    let (_, why) = run(&world, &["why", "XYZ-2"]);
    assert!(why.contains("never owed") && why.contains("account main links only ABC"), "{why}");
    world.agent_says(&["sync", "start", tool.path.to_str().unwrap()]);
    wait_until_or("history is read", || json(&world, &["sync", "status"])[0]["state"] == "done", || world.log());
    world.wait_until_idle();
    world.wait_for_jira(1, 0);
    let verified = world.agent_says(&["verify"]);
    assert!(verified.contains("0 missing") && verified.contains("0 superfluous"), "{verified}");
}

#[test]
fn a13_r9_a_route_leads_to_another_site_or_nowhere() {
    let world = World::new();
    let other = Sandbox::start(&world.folder);
    let routes = "[[account.route]]\nrepositories = [\"pay/secret\"]\nsite = \"none\"\n\
                  [[account.route]]\nrepositories = [\"pay/*\"]\nsite = \"pay\"\n";
    configure(&world, &other, routes);
    let [tool, paid, secret] = ["tool.git", "pay/tool.git", "pay/secret.git"].map(|name| bare(&world, name));
    let _daemon = world.daemon();
    world.agent_says(&["account", "cover", "all"]);
    assert!(!crate::accounts::is_covered(&secret.path));
    // Hooks that were put in before, or by hand, say and tell nothing.
    std::fs::copy(tool.path.join("hooks/pre-receive"), secret.path.join("hooks/pre-receive")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_agent"), secret.path.join("hooks/post-receive")).unwrap();
    secret.git(&["config", "agent.repoid", "0198a7a0-0000-7000-8000-000000000001"]);
    std::fs::create_dir_all(secret.path.join("agent")).unwrap();
    std::fs::write(secret.path.join("agent/config"), world.config().to_str().unwrap()).unwrap();
    let said = push(&world.clone_of(&secret, "c"), "ABC-3 secret");
    assert!(!said.contains("jira"), "{said}");
    let said = push(&world.clone_of(&tool, "a"), "ABC-1 here");
    assert!(said.contains(&format!("{}/browse/ABC-1", world.sandbox.url())), "{said}");
    let said = push(&world.clone_of(&paid, "b"), "ABC-2 there");
    assert!(said.contains(&format!("{}/browse/ABC-2", other.url())), "{said}");
    wait_for(&world, &world.sandbox, &["ABC-1 here"]);
    wait_for(&world, &other, &["ABC-2 there"]);
    let (_, why) = run(&world, &["why", "ABC-3"]);
    assert!(why.contains("never owed"), "{why}");
    let why = world.agent(&["why", "ABC-3"]).current_dir(&secret.path).output().unwrap();
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("account all sends nothing of pay/secret: a route of it says \"none\""), "{why}");
    assert_eq!(world.status()["running"]["refused"], 0);
    let shown = json(&world, &["account", "show", "all"]);
    let sites: Vec<_> =
        shown["repositories"].as_array().unwrap().iter().map(|one| one["site"].as_str().unwrap()).collect();
    assert_eq!(sites, ["pay", "jira"], "{shown}");
    // A name by which it would go elsewhere is refused.
    let (done, text) = run(&world, &["repo", "rename", "tool", "pay/other"]);
    assert!(!done && text.contains("it is linked to jira here and would be to pay there"), "{text}");
}

#[test]
fn a14_what_was_told_to_a_former_site_stays_there_until_it_is_forgotten() {
    let world = World::new();
    let other = Sandbox::start(&world.folder);
    configure(&world, &other, "");
    let tool = bare(&world, "tool.git");
    let path = tool.path.to_str().unwrap();
    let _daemon = world.daemon();
    world.agent_says(&["account", "cover", "all"]);
    let clone = world.clone_of(&tool, "a");
    push(&clone, "ABC-1 first");
    wait_for(&world, &world.sandbox, &["ABC-1 first"]);
    let (done, text) = run(&world, &["forget", path, "--site", "jira"]);
    assert!(!done && text.contains("goes to site jira still"), "{text}");

    // What is pushed while the route is changed is told once, to the new site.
    configure(&world, &other, "[[account.route]]\nrepositories = [\"*\"]\nsite = \"pay\"\n");
    world.agent_says(&["daemon", "reload"]);
    push(&clone, "ABC-2 second");
    wait_for(&world, &other, &["ABC-2 second"]);
    assert_eq!(messages(&world.sandbox), ["ABC-1 first"], "what was told stays");
    let (_, text) = run(&world, &["verify"]);
    assert!(
        text.contains("1 are at site jira") && text.contains(&format!("agent forget {path} --site jira")),
        "{text}"
    );
    let (done, text) = run(&world, &["forget", path, "--site", "nosuch"]);
    assert!(!done && text.contains("no site called nosuch"), "{text}");
    // The new site gets what came before when it is asked for, and the former one loses it.
    world.agent_says(&["sync", "start", path]);
    wait_for(&world, &other, &["ABC-1 first", "ABC-2 second"]);
    let text = world.agent_says(&["forget", path, "--site", "jira"]);
    assert!(text.starts_with("1 sites were told"), "{text}");
    wait_for(&world, &world.sandbox, &[]);
    let text = world.agent_says(&["verify"]);
    assert!(!text.contains("at site jira") && text.contains("0 missing"), "{text}");
    push(&clone, "ABC-3 third");
    wait_for(&world, &other, &["ABC-1 first", "ABC-2 second", "ABC-3 third"]);

    // And back again: nothing was forgotten for good.
    configure(&world, &other, "");
    world.agent_says(&["daemon", "reload"]);
    world.agent_says(&["sync", "start", path]);
    wait_for(&world, &world.sandbox, &["ABC-1 first", "ABC-2 second", "ABC-3 third"]);
}

#[test]
fn m8_a14_what_an_account_is_to_be_is_shown_and_written_and_everything_else_stays() {
    let world = World::new();
    let other = Sandbox::start(&world.folder);
    configure(
        &world,
        &other,
        "# to be kept\nexclude = [\"old/*\"] # long gone\n\n# at the end\n[account.web]\nhost = \"gitea\"\nurl = \"https://git.example.org\"\n",
    );
    let tool = bare(&world, "pay/tool.git");
    let _daemon = world.daemon();
    world.agent_says(&["account", "cover", "all"]);
    let before = config(&world);
    let words = ["account", "set", "all", "--keys", "abc", "--route", "pay/secret*=none", "--route", "pay/*=pay"];
    let text = world.agent_says(&[&words[..], &["--dry-run"]].concat());
    assert!(text.contains("+ keys = [\"ABC\"]") && text.contains("+ site = \"none\""), "{text}");
    assert!(!text.contains("\n- ") && text.contains("1 repositories go elsewhere with that"), "{text}");
    assert_eq!(config(&world), before);
    world.agent_says(&words);
    let after = config(&world);
    let kept: Vec<&str> = after.lines().filter(|line| before.lines().any(|one| one == *line)).collect();
    assert_eq!(
        kept.iter().filter(|line| !line.is_empty()).count(),
        before.lines().filter(|line| !line.is_empty()).count(),
        "{after}"
    );
    assert!(world.agent_says(&words).contains("account all is that way already"));
    assert_eq!(config(&world), after);
    let shown = world.agent_says(&["account", "show", "all"]);
    for line in
        ["links only: ABC", "exclude: old/*", "route to none: pay/secret*", "route to pay: pay/*", "pay/tool -> pay:"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    push(&world.clone_of(&tool, "a"), "ABC-1 there");
    wait_for(&world, &other, &["ABC-1 there"]);
    for (words, because) in [
        (&["--route", "pay/*=nosuch"][..], "account all: route: there is no site called nosuch"),
        (&["--keys", "XYZ"], "account all: keys: no `projects` of its sites names XYZ"),
        (&["--route", "pay"], "names of repositories, `=` and a site"),
        (&["--site", "nosuch"], "there is no site called nosuch"),
        (&[], "say what is to be different"),
    ] {
        let (done, text) = run(&world, &[&["account", "set", "all"], words].concat());
        assert!(!done && text.contains(because), "{text}");
    }
    world.agent_says(&["account", "set", "all", "--no-routes", "--keys", "all"]);
    assert_eq!(config(&world), before);
}

#[test]
fn b20_accounts_are_exported_and_linked_at_once_elsewhere() {
    let world = World::new();
    let other = Sandbox::start(&world.folder);
    configure(
        &world,
        &other,
        "# which go elsewhere\n[[account.route]]\nrepositories = [\"pay/*\"] # all\nsite = \"pay\"\n\
        [[account.repository]]\nmatch = \"x\"\nsmart_commits = false\n",
    );
    let [tool, paid] = ["tool.git", "pay/tool.git"].map(|name| bare(&world, name));
    std::fs::create_dir(world.folder.join("second")).unwrap();
    let file = world.folder.join("accounts.toml");
    let exported = world.agent_says(&["account", "export", "all"]);
    let root = world.folder.join("srv");
    assert!(exported.contains(&format!("root = \"{}\"", root.display())) && exported.contains("# all"), "{exported}");
    assert!(
        !exported.contains("[[site]]") && !exported.contains("\"main\"") && !exported.contains("daemon"),
        "{exported}"
    );
    let second = format!(
        "{exported}\n[[account]]\nname = \"second\"\nroot = \"{}\"\nsite = \"pay\"\nkeys = [\"ABC\"]\n",
        world.folder.join("second").display()
    );
    std::fs::write(&file, &second).unwrap();

    // On a machine that knows the sites and no accounts.
    let all = config(&world);
    let bare_config = all.split("[[account]]\nname = \"all\"").next().unwrap().to_owned();
    std::fs::write(world.config(), &bare_config).unwrap();
    let _daemon = world.daemon();
    let import = ["account", "import", file.to_str().unwrap()];
    let (done, text) = run(&world, &import);
    assert!(!done && text.contains("nothing was written: --yes"), "{text}");
    let text = world.agent_says(&[&import[..], &["--dry-run"]].concat());
    assert!(text.contains("account all (") && text.contains("is new; 2 repositories, 0 with hooks"), "{text}");
    assert!(text.contains("+ [[account.route]]"), "{text}");
    assert_eq!(config(&world), bare_config);
    let text = world.agent_says(&[&import[..], &["--yes"]].concat());
    assert!(text.contains("2 repositories got hooks"), "{text}");
    assert!(bare_config.lines().all(|line| config(&world).lines().any(|one| one == line)), "{}", config(&world));
    push(&world.clone_of(&tool, "a"), "ABC-1 here");
    push(&world.clone_of(&paid, "b"), "ABC-2 there");
    wait_for(&world, &world.sandbox, &["ABC-1 here"]);
    wait_for(&world, &other, &["ABC-2 there"]);

    // Again, and as JSON: nothing is left to do.
    let once = config(&world);
    let text = world.agent_says(&import);
    assert!(text.contains("account all (") && text.contains("is that way already"), "{text}");
    let as_json = world.folder.join("accounts.json");
    std::fs::write(&as_json, world.agent_says(&["account", "export", "--json", "all", "second"])).unwrap();
    let found = json(&world, &["account", "import", as_json.to_str().unwrap(), "--yes"]);
    assert_eq!(found["accounts"].as_array().unwrap().iter().filter(|one| one["fate"] == "same").count(), 2, "{found}");
    assert_eq!(config(&world), once);
    // What is different is changed, what is not in the file any more is taken back, and others stay.
    std::fs::write(&file, second.replace("keys = [\"ABC\"]", "history = \"none\"")).unwrap();
    let text = world.agent_says(&[&import[..], &["--yes"]].concat());
    assert!(text.contains("changes: keys, history"), "{text}");
    assert_eq!(config(&world), once.replace("keys = [\"ABC\"]", "history = \"none\""));
    for (wrong, because) in [
        ("[[site]]\nname = \"x\"\n", "`site` is not for here"),
        ("[[account]]\nname = \"x\"\nroot = \"rel\"\n", "account x: root rel is no absolute path"),
        ("[[account]]\nname = \"x\"\nroot = \"/no/such\"\n", "account x: /no/such is no folder here"),
        ("[[account]]\nname = \"x\"\nroot = \"/\"\nsite = \"nosuch\"\n", "there is no site called nosuch"),
        ("[[account]]\nname = \"x\"\nroot = \"/\"\nsite = \"pay\"\nsit = 1\n", "sit"),
        ("", "there is no [[account]] in it"),
        ("{", "EOF"),
    ] {
        let before = config(&world);
        std::fs::write(&file, wrong).unwrap();
        let (done, text) = run(&world, &[&import[..], &["--yes"]].concat());
        assert!(!done && text.contains(because), "{text}");
        assert_eq!(config(&world), before);
    }
}

#[test]
fn r9_a_branch_that_is_excluded_is_never_sent_and_its_commits_come_with_another() {
    let world = World::new();
    let other = Sandbox::start(&world.folder);
    let account = "exclude_branches = [\"secret/*\"]\nforget_rewritten = \"0 seconds\"\n";
    configure(&world, &other, account);
    let tool = bare(&world, "tool.git");
    let clone = world.clone_of(&tool, "a");
    clone.commit("ABC-1 before the hooks");
    clone.push(&["origin", "HEAD:main"]);
    clone.git(&["checkout", "--quiet", "-b", "secret/ABC-2"]);
    clone.commit("ABC-2 secret before the hooks");
    clone.push(&["origin", "HEAD"]);
    let daemon = world.daemon();
    world.agent_says(&["account", "cover", "all"]);
    clone.commit("ABC-3 secret");
    let said = clone.push(&["origin", "HEAD"]);
    assert!(!said.contains("jira:"), "{said}");
    clone.git(&["checkout", "--quiet", "-B", "main", "origin/main"]);
    clone.commit("ABC-4 for all");
    let said = clone.push(&["origin", "main", "main:refs/heads/secret/ABC-5", "main:refs/heads/ABC-6"]);
    assert!(said.contains("jira: 1 commit, 1 branch queued for Jira") && !said.contains("browse/ABC-5"), "{said}");
    wait_for(&world, &world.sandbox, &["ABC-4 for all"]);
    // Behind the hook's back, in history, and where Jira is laid beside Git.
    tool.git(&["update-ref", "refs/heads/secret/ABC-7", "refs/heads/secret/ABC-2"]);
    let daemon = world.restarted(daemon);
    let counted = world.agent_says(&["sync", "start", tool.path.to_str().unwrap(), "--dry-run"]);
    assert!(counted.contains("2 commits, 2 name an issue"), "{counted}");
    world.agent_says(&["sync", "start", tool.path.to_str().unwrap()]);
    wait_for(&world, &world.sandbox, &["ABC-1 before the hooks", "ABC-4 for all"]);
    assert!(world.agent_says(&["verify"]).contains("0 missing"));
    assert_eq!(shown(&world.sandbox.state(), "branches").len(), 1);

    // What another branch reaches is no secret, however old it is.
    clone.git(&["merge", "--quiet", "--no-edit", "-m", "joined", "secret/ABC-2"]);
    let said = clone.push(&["origin", "main"]);
    assert!(said.contains("2 commits queued for Jira"), "{said}");
    let all = ["ABC-1 before the hooks", "ABC-2 secret before the hooks", "ABC-3 secret", "ABC-4 for all"];
    wait_for(&world, &world.sandbox, &all);

    // What is excluded later leaves Jira like a branch that is deleted, and comes back with its pattern.
    clone.git(&["checkout", "--quiet", "-b", "ABC-8"]);
    clone.commit("ABC-8 not meant for all");
    clone.push(&["origin", "HEAD"]);
    wait_for(&world, &world.sandbox, &[&all[..], &["ABC-8 not meant for all"]].concat());
    assert_eq!(shown(&world.sandbox.state(), "branches").len(), 2);
    configure(&world, &other, &account.replace("\"secret/*\"", "\"secret/*\", \"ABC-8\""));
    let daemon = world.restarted(daemon);
    wait_for(&world, &world.sandbox, &all);
    assert_eq!(shown(&world.sandbox.state(), "branches").len(), 1);
    configure(&world, &other, account);
    let _daemon = world.restarted(daemon);
    wait_for(&world, &world.sandbox, &[&all[..], &["ABC-8 not meant for all"]].concat());
    assert!(world.agent_says(&["verify"]).contains("0 superfluous"));
}

#[test]
fn r9_what_is_still_queued_of_a_repository_that_becomes_secret_stays_here() {
    let world = World::new();
    let other = Sandbox::start(&world.folder);
    configure(&world, &other, "");
    let [tool, secret] = ["tool.git", "secret.git"].map(|name| bare(&world, name));
    let _daemon = world.daemon();
    world.agent_says(&["account", "cover", "all"]);
    let [clone, hidden] = [(&tool, "a"), (&secret, "b")].map(|(repository, name)| world.clone_of(repository, name));
    push(&hidden, "ABC-1 told before");
    wait_for(&world, &world.sandbox, &["ABC-1 told before"]);
    world.sandbox.misbehave(serde_json::json!([{"on": "any", "act": {"status": {"code": 503}}}]));
    let id = hidden.commit("ABC-2 not sent yet");
    hidden.push(&["origin", "HEAD:main"]);
    wait_until_or("it is queued", || world.owed("commit").contains(&id), || world.log());
    configure(&world, &other, "[[account.route]]\nrepositories = [\"secret\"]\nsite = \"none\"\n");
    world.agent_says(&["daemon", "reload"]);
    let parked = || world.queue(&["--state", "parked"]);
    wait_until_or("it is held back", || parked().len() == 1, || world.log());
    assert!(parked()[0]["note"].as_str().unwrap().contains("a route says"), "{:?}", parked());
    world.sandbox.behave();
    push(&clone, "ABC-3 for all");
    wait_for(&world, &world.sandbox, &["ABC-1 told before", "ABC-3 for all"]);
    let verified = world.agent(&["verify", secret.path.to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(
        text.contains("2 are at site jira") && text.contains("not compared: account all sends nothing of secret"),
        "{text}"
    );
    world.agent_says(&["forget", secret.path.to_str().unwrap(), "--site", "jira"]);
    wait_for(&world, &world.sandbox, &["ABC-3 for all"]);
    let text = world.agent_says(&["verify"]);
    assert!(text.contains("tool.git") && !text.contains("secret.git"), "{text}");
    // No secret after all: what is pushed comes again, and history when it is asked for.
    configure(&world, &other, "");
    world.agent_says(&["daemon", "reload"]);
    world.agent_says(&["sync", "start", secret.path.to_str().unwrap()]);
    wait_for(&world, &world.sandbox, &["ABC-1 told before", "ABC-2 not sent yet", "ABC-3 for all"]);
}
