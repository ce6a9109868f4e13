//! People's own accounts in Jira: linked by whoever they are, used for nobody else, and each order once.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use git_jira_agent::intake::{Outcome, Reply, frame, socket};
use git_jira_agent::login::{Request, Wish};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::crash::{PLACES, assert_aborted};
use crate::harness::{Repository, World, success, wait_until_or};
use crate::hook::skipped;
use crate::operations::{contains, find};

const SITE: &str = "projects = [\"ABC\"]\nexecutor = \"agent\"\n";
const SERVER: &str =
    "projects = [\"ABC\"]\nexecutor = \"agent\"\nkind = \"data-center\"\n[site.account]\nsecret_file = \"secret\"\n";
/// Ann is a user of the machine, Bob another one, and Eve only has a login at the host.
const PEOPLE: &str = "[[person]]\nname = \"Ann Example\"\nemails = [\"ann@example.org\"]\nunix = [\"root\"]\nlogins = [\"ann\"]\n\
    [[person]]\nname = \"Bob\"\nemails = [\"bob@example.org\"]\nunix = [\"12345\"]\nlogins = [\"bob\"]\njira = \"712020:bob\"\n\
    [[person]]\nname = \"Eve\"\nemails = [\"eve@example.org\"]\nlogins = [\"eve\"]\n";
/// Everybody pushes as the user of a host, which says who it is.
const HOST: &str = "policy = \"linked\"\nhost_users = [\"root\"]\ntransition_evidence = \"command\"";
const OWN: &str = "policy = \"linked\"";

/// A world in which orders are carried out in the accounts that people have linked.
fn world_at(site: &str, smart: &str) -> World {
    let world = World::with(site, PEOPLE);
    for (name, shown) in [("ann", "Ann Own"), ("bob", "Bob Own"), ("eve", "Eve Own")] {
        world.sandbox.person(json!({"name": name, "account_id": format!("712020:{name}"), "display_name": shown,
            "email": format!("{name}@example.org"), "token": format!("{name}-token")}));
    }
    let config = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{config}[account.smart]\n{smart}\n")).unwrap();
    world
}

fn world(smart: &str) -> World {
    world_at(SITE, smart)
}

fn with_token(mut command: Command, token: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    // Whoever is refused early does not wait for a token.
    let _ = child.stdin.take().unwrap().write_all(token.as_bytes());
    child.wait_with_output().unwrap()
}

/// `agent login` with these arguments, for the account of this name, with this token on standard input.
fn login(world: &World, arguments: &[&str], name: &str, token: &str) -> Output {
    let email = format!("{name}@example.org");
    with_token(world.agent(&[&["login", "--email", &email], arguments].concat()), token)
}

#[track_caller]
fn linked(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn check_refused(output: &Output, because: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(because), "{said} lacks {because}");
}

/// Links the account of a person, as an administrator does.
#[track_caller]
fn link(world: &World, person: &str, name: &str) {
    linked(&login(world, &["--person", person], name, &format!("{name}-token\n")));
}

/// Pushes as somebody whom the host names, and gives what they see.
#[track_caller]
fn push_as(clone: &Repository<'_>, login: &str, what: &[&str]) -> String {
    let mut command = clone.command(&[&["push"], what].concat());
    let output = command.env("AGENT_USER", login).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn logins(world: &World) -> Vec<Value> {
    serde_json::from_str(&world.agent_says(&["login", "--list", "--json"])).unwrap()
}

/// The authors of comments, entries of work and changes of an issue, in order.
fn authors(world: &World, key: &str) -> [Vec<String>; 3] {
    let issue = world.sandbox.issue(key);
    ["comments", "worklogs", "changelog"].map(|part| {
        let all = issue[part].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["author"].as_str().unwrap().to_owned()).collect()
    })
}

fn open(world: &World) -> Vec<Value> {
    let states = ["ready", "intent", "unknown", "probing"];
    states.iter().flat_map(|state| world.effects(&["list", "--state", state])).collect()
}

#[track_caller]
fn wait_for(world: &World, key: &str, expected: [&[&str]; 3]) {
    wait_until_or(
        "the orders are carried out",
        || authors(world, key) == expected.map(<[&str]>::to_vec),
        || {
            format!(
                "{:?} instead of {expected:?}; {:?}; {}",
                authors(world, key),
                world.effects(&["list"]),
                world.log()
            )
        },
    );
}

/// Waits until somebody's account rests, and gives why.
#[track_caller]
fn wait_for_rest(world: &World, person: &str) -> String {
    let because = || world.status()["running"]["sites"]["jira"]["people_resting"][person]["because"].clone();
    wait_until_or("the account rests", || because().is_string(), || format!("{:?} {}", world.status(), world.log()));
    because().as_str().unwrap().to_owned()
}

fn has_setpriv(world: &World) -> bool {
    rustix::process::geteuid().is_root() && world.command("setpriv").arg("--version").output().is_ok()
}

#[test]
fn f13_orders_are_carried_out_in_the_own_account_of_whoever_pushed() {
    let world = world(HOST);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    link(&world, "Ann Example", "ann");
    link(&world, "Bob", "bob");
    clone.commit_by("ann@example.org", "ABC-1 #time 1h 30m looked #comment *mine* #start-progress on it");
    assert!(push_as(&clone, "ann", &["origin", "HEAD:main"]).contains("ABC-1 #time 1h 30m is queued"));
    clone.commit_by("bob@example.org", "ABC-2 #comment his");
    push_as(&clone, "bob", &["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [&["ann", "ann"], &["ann"], &["ann"]]);
    wait_for(&world, "ABC-2", [&["bob"], &[], &[]]);
    let comments = world.sandbox.issue("ABC-1")["comments"].to_string();
    assert!(comments.contains("*mine*") && !comments.contains('—'), "nobody is spoken for: {comments}");
    let rows = world.effects(&["list", "--key", "ABC-2"]);
    assert_eq!(rows[0]["actor"], "712020:bob");
    let list = logins(&world);
    assert_eq!((list.len(), &list[0]["holder"], &list[0]["name"]), (2, &json!("Ann Example"), &json!("Ann Own")));
    assert!(list[0]["used_at"].is_i64() && list[0]["refusal"].is_null() && list[0]["sealed"].is_null(), "{list:?}");
}

#[test]
fn g5_who_has_linked_no_account_orders_nothing_until_they_have() {
    let world = world(HOST);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    link(&world, "Ann Example", "ann");
    clone.commit_by("eve@example.org", "ABC-3 #comment hello");
    let answer = push_as(&clone, "eve", &["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-3 #comment is not carried out: commands go through your own"), "{answer}");
    assert!(answer.contains("`agent login --person 'Eve'`"), "{answer}");
    let refused = || world.effects(&["list", "--state", "refused"]);
    wait_until_or("it is refused", || refused().len() == 1, || world.log());
    let row = refused().remove(0);
    assert!(row["refusal"] == "unverified" && row["note"].as_str().unwrap().contains("agent login"), "{row}");
    assert_eq!(authors(&world, "ABC-3"), [vec![] as Vec<String>, vec![], vec![]]);
    link(&world, "Eve", "eve");
    let mut amend = clone.command(&["commit", "--quiet", "--amend", "--no-edit", "--allow-empty"]);
    success(amend.env("GIT_COMMITTER_DATE", "@1900000000 +0000"));
    let answer = push_as(&clone, "eve", &["--force", "origin", "HEAD:main"]);
    assert!(answer.contains("ABC-3 #comment is queued"), "{answer}");
    wait_for(&world, "ABC-3", [&["eve"], &[], &[]]);
    world.agent_says(&["logout", "--person", "Eve"]);
    clone.commit_by("eve@example.org", "ABC-4 #comment again");
    assert!(push_as(&clone, "eve", &["origin", "HEAD:main"]).contains("is not carried out"));
    check_refused(&world.agent(&["logout", "--person", "Eve"]).output().unwrap(), "Eve has linked no account");
}

#[test]
fn g4_an_account_is_linked_by_whom_the_kernel_names_and_for_nobody_else() {
    let world = world(OWN);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    clone.commit_by("ann@example.org", "ABC-1 #comment early");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("link it with `agent login`"), "{answer}");
    let refused = || world.effects(&["list", "--state", "refused"]).len() == 1;
    wait_until_or("it is refused", refused, || world.log());
    check_refused(&login(&world, &[], "ann", "wrong-token"), "Jira does not take this token, nothing was kept");
    check_refused(&login(&world, &[], "ann", ""), "the token is empty");
    assert_eq!(logins(&world), Vec::<Value>::new());
    let said = linked(&login(&world, &[], "ann", "ann-token\n"));
    assert!(said.contains("Ann Example is Ann Own (712020:ann) at site jira"), "{said}");
    clone.commit_by("ann@example.org", "ABC-1 #comment mine");
    clone.push(&["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [&["ann"], &[], &[]]);
    // Words that an administrator says at their own socket count for nothing at everybody's.
    let wish =
        Wish::In { token: "ann-token".to_owned().into(), email: Some("ann@example.org".to_owned()), scoped: false };
    let request = Request { site: "jira".to_owned(), wish, person: Some("Bob".to_owned()) };
    let bytes = frame::wrap_as(frame::LOGIN, &request.encode()).unwrap();
    let (reply, _) =
        socket::deliver::<Reply>(&world.socket(), &bytes, Instant::now() + Duration::from_secs(20)).unwrap();
    assert!(
        matches!(&reply.outcome, Outcome::Refused { because } if because.contains("only an administrator")),
        "{reply:?}"
    );
    if !has_setpriv(&world) {
        return skipped("another user cannot be taken on without root and setpriv");
    }
    fs::set_permissions(&world.folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(world.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let as_bob = |arguments: &[&str], token: &str| {
        let mut command = world.command("setpriv");
        command.args(["--reuid=12345", "--regid=12345", "--clear-groups", env!("CARGO_BIN_EXE_agent"), "login"]);
        with_token(
            {
                command.args(arguments);
                command
            },
            token,
        )
    };
    let ann = ["--email", "ann@example.org"];
    check_refused(&as_bob(&[&ann[..], &["--person", "Ann Example"]].concat(), "ann-token"), "no permission to ask");
    check_refused(&as_bob(&ann, "ann-token"), "`jira` of [[person]] Bob says 712020:bob; nothing was kept");
    let said = linked(&as_bob(&["--email", "bob@example.org"], "bob-token"));
    assert!(said.contains("Bob is Bob Own (712020:bob)"), "{said}");
    let holders: Vec<Value> = logins(&world).iter().map(|row| json!([row["holder"], row["account"]])).collect();
    assert_eq!(holders, [json!(["Ann Example", "712020:ann"]), json!(["Bob", "712020:bob"])]);
}

#[test]
fn g4_who_runs_the_hooks_of_a_host_is_nobody_and_services_link_nothing() {
    let world = world(HOST);
    let text = fs::read_to_string(world.config()).unwrap();
    fs::write(world.config(), format!("{text}[[person]]\nname = \"ci\"\nlogins = [\"ci\"]\nbot = true\n")).unwrap();
    let _daemon = world.daemon();
    check_refused(&login(&world, &[], "ann", "ann-token"), "everybody pushes as root here");
    check_refused(&login(&world, &["--person", "Nobody"], "ann", "ann-token"), "no [[person]] is called Nobody");
    check_refused(&login(&world, &["--person", "ci"], "ann", "ann-token"), "ci is a service");
    check_refused(&login(&world, &["--site", "other"], "ann", "ann-token"), "there is no site called other");
    check_refused(&world.agent(&["login"]).output().unwrap(), "give --email");
    assert_eq!(logins(&world), Vec::<Value>::new());
}

/// A token that is refused stops one person, whose orders wait; a new one is used within seconds.
#[test]
fn f43_a_person_whose_token_is_revoked_waits_alone_and_goes_on_after_a_new_login() {
    let world = world(HOST);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    link(&world, "Ann Example", "ann");
    link(&world, "Bob", "bob");
    world.sandbox.person(json!({"name": "ann", "token": "another"}));
    clone.commit_by("ann@example.org", "ABC-1 #comment first #close");
    push_as(&clone, "ann", &["origin", "HEAD:main"]);
    let because = wait_for_rest(&world, "Ann Example");
    assert!(because.contains("`agent login` takes a new token") && because.contains("401"), "{because}");
    // Also on the issue that Ann's orders wait for.
    clone.commit_by("bob@example.org", "ABC-1 ABC-2 #comment second");
    push_as(&clone, "bob", &["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [&["bob"], &[], &[]]);
    wait_for(&world, "ABC-2", [&["bob"], &[], &[]]);
    let waiting = open(&world);
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    assert!(
        waiting.iter().any(|row| row["note"].as_str().is_some_and(|note| note.contains("agent login"))),
        "{waiting:?}"
    );
    let said = |words: &[&str]| String::from_utf8_lossy(&world.agent(words).output().unwrap().stdout).into_owned();
    assert!(said(&["status"]).contains("commands of Ann Example wait: "), "{}", said(&["status"]));
    assert!(
        said(&["doctor", "--offline"]).contains("commands of Ann Example at site jira wait"),
        "{}",
        said(&["doctor"])
    );
    assert!(said(&["login", "--list"]).contains("REFUSED"), "{}", said(&["login", "--list"]));
    let began = Instant::now();
    linked(&login(&world, &["--person", "Ann Example"], "ann", "another"));
    wait_for(&world, "ABC-1", [&["bob", "ann"], &[], &["ann"]]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!said(&["login", "--list"]).contains("REFUSED"), "{}", said(&["login", "--list"]));
}

/// What is sealed is lost with the key; what was ordered is not.
#[test]
fn f13_with_another_key_people_log_in_again_and_nothing_is_lost() {
    let world = world(HOST);
    let mut daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    link(&world, "Ann Example", "ann");
    let key = world.state().join("logins.key");
    for (number, key_then) in [(1, None), (2, Some([7; 32]))] {
        daemon.stop();
        match key_then {
            None => fs::remove_file(&key).unwrap(),
            Some(bytes) => fs::write(&key, bytes).unwrap(),
        }
        daemon = world.daemon();
        clone.commit_by("ann@example.org", &format!("ABC-{number} #comment kept"));
        push_as(&clone, "ann", &["origin", "HEAD:main"]);
        let because = wait_for_rest(&world, "Ann Example");
        assert!(because.contains("the key of the logins") && because.contains("`agent login` again"), "{because}");
        link(&world, "Ann Example", "ann");
        wait_for(&world, &format!("ABC-{number}"), [&["ann"], &[], &[]]);
    }
}

/// Orders wait for the account they were taken for, whoever logs in meanwhile.
#[test]
fn f13_an_order_is_never_carried_out_in_a_name_that_it_was_not_taken_for() {
    let world = world(HOST);
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    link(&world, "Eve", "eve");
    world.sandbox.person(json!({"name": "eve", "token": "another"}));
    clone.commit_by("eve@example.org", "ABC-1 #comment as eve");
    push_as(&clone, "eve", &["origin", "HEAD:main"]);
    wait_for_rest(&world, "Eve");
    let said = linked(&login(&world, &["--person", "Eve"], "ann", "ann-token"));
    assert!(said.contains("what was ordered in the name of 712020:eve waits"), "{said}");
    clone.commit_by("eve@example.org", "ABC-1 #comment as ann");
    push_as(&clone, "eve", &["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [&["ann"], &[], &[]]);
    assert_eq!(open(&world).len(), 1);
    linked(&login(&world, &["--person", "Eve"], "eve", "another"));
    wait_for(&world, "ABC-1", [&["ann", "eve"], &[], &[]]);
}

/// As with the site's own account, wherever the daemon dies.
#[test]
fn f28_f31_an_order_in_an_own_account_is_carried_out_once_wherever_the_daemon_dies() {
    for (name, passages) in PLACES.iter().filter(|(name, _)| name.starts_with("effects.")) {
        for passage in *passages {
            let world = world(HOST);
            let place = format!("{name}:{passage}");
            let mut daemon = world.daemon_with(&[("AGENT_ABORT_AT", &place)]);
            let repository = world.repository("tool");
            let clone = world.clone_of(&repository, "work");
            link(&world, "Ann Example", "ann");
            clone.commit_by("ann@example.org", "ABC-1 #comment once");
            push_as(&clone, "ann", &["origin", "HEAD:main"]);
            assert_aborted(&mut daemon, &place);
            let Some((clock, _daemon)) = Clock::of_day(&world) else {
                return skipped("there is no faketime here");
            };
            clock.set("+10m");
            wait_for(&world, "ABC-1", [&["ann"], &[], &[]]);
            wait_until_or("it is settled", || open(&world).is_empty(), || format!("{:?}", open(&world)));
            assert_eq!(authors(&world, "ABC-1")[0], ["ann"]);
        }
    }
}

#[test]
fn f13_on_data_center_a_token_alone_says_who_it_is() {
    let world = world_at(SERVER, HOST);
    let text = fs::read_to_string(world.config()).unwrap().replace("\"712020:bob\"", "\"bob\"");
    fs::write(world.config(), text).unwrap();
    let _daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let by_token = |token: &str| with_token(world.agent(&["login", "--person", "Bob"]), token);
    check_refused(&by_token("ann-token"), "`jira` of [[person]] Bob says bob");
    assert!(linked(&by_token("bob-token")).contains("Bob is Bob Own (JIRAUSER"));
    clone.commit_by("bob@example.org", "ABC-1 #time 1h #comment here #start-progress");
    push_as(&clone, "bob", &["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [&["bob"], &["bob"], &["bob"]]);
    // Who an administrator says they are may change later.
    let text = fs::read_to_string(world.config()).unwrap().replace("jira = \"bob\"", "jira = \"robert\"");
    fs::write(world.config(), text).unwrap();
    world.agent_says(&["daemon", "reload"]);
    clone.commit_by("bob@example.org", "ABC-2 #comment whose");
    let answer = push_as(&clone, "bob", &["origin", "HEAD:main"]);
    assert!(answer.contains("`jira` of [[person]] Bob says robert"), "{answer}");
}

/// Neither the token nor the form in which it travels is anywhere but in the hands of Jira.
#[test]
fn s13_s14_the_token_of_a_person_is_in_no_file_no_log_no_argument_and_no_answer() {
    let canary = "canary-9c1e4d-own";
    let world = world(HOST);
    world.sandbox.person(json!({"name": "ann", "token": canary}));
    let text = fs::read_to_string(world.config()).unwrap().replace("[daemon]\n", "[daemon]\nlog = \"trace\"\n");
    fs::write(world.config(), text).unwrap();
    let mut daemon = world.daemon();
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let packed = success(world.command("sh").args(["-c", &format!("printf ann@example.org:{canary} | base64 -w0")]));
    let mut answers = Vec::new();
    let said = |output: Output| [output.stdout, output.stderr].concat();
    // Jira may quote what it was sent.
    let quoting = json!({"status": {"code": 401, "body": format!("bad token {canary} {packed}")}});
    world.sandbox.misbehave(json!([{"on": "myself", "times": 1, "act": quoting}]));
    answers.extend(said(login(&world, &["--person", "Ann Example"], "ann", canary)));
    answers.extend(said(login(&world, &["--person", "Ann Example"], "ann", canary)));
    clone.commit_by("ann@example.org", "ABC-1 #comment done");
    push_as(&clone, "ann", &["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [&["ann"], &[], &[]]);
    world.sandbox.misbehave(
        json!([{"on": "read_issue", "times": 2, "act": quoting}, {"on": "myself", "times": 2, "act": quoting}]),
    );
    clone.commit_by("ann@example.org", "ABC-2 #comment refused");
    push_as(&clone, "ann", &["origin", "HEAD:main"]);
    wait_for_rest(&world, "Ann Example");
    let arguments = fs::read(format!("/proc/{}/cmdline", daemon.process.0.id())).unwrap();
    assert!(!contains(&arguments, canary.as_bytes()));
    for words in [
        &["login", "--list"][..],
        &["login", "--list", "--json"],
        &["effects", "list"],
        &["effects", "list", "--json"],
        &["status", "--json"],
        &["doctor", "--offline"],
    ] {
        answers.extend(said(world.agent(words).output().unwrap()));
    }
    assert_eq!(daemon.stop(), Some(0));
    for secret in [canary, &packed] {
        assert!(!contains(&answers, secret.as_bytes()), "{}", String::from_utf8_lossy(&answers));
        assert_eq!(places_of(&world.folder, secret), Vec::<PathBuf>::new(), "{secret}");
    }
    assert_eq!(fs::metadata(world.state().join("logins.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(world.log().contains("TRACE") || world.log().contains("DEBUG"), "so that this test can fail");
}

fn places_of(folder: &Path, secret: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find(folder, secret.as_bytes(), &mut found);
    found
}
