//! Orders that count for whoever signed them: real signatures by `ssh-keygen` and `gpg`, whoever pushes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Repository, World, success, wait_until_or};
use crate::hook::skipped;
use crate::smart::{self, counts, issue, start, wait_for, with_people};

const SIGNED: &str = "policy = \"signed\"";

/// Whether a program that signs is here.
fn have(world: &World, program: &str) -> bool {
    let found = world.command(program).arg("--version").output().is_ok();
    if !found {
        skipped(&format!("there is no {program} here"));
    }
    found
}

/// Makes an SSH key and gives its public half.
fn ssh_key(world: &World, name: &str) -> String {
    success(world.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name]));
    fs::read_to_string(world.folder.join(format!("{name}.pub"))).unwrap().trim().to_owned()
}

fn person(name: &str, email: &str, more: &str) -> String {
    format!("[[person]]\nname = \"{name}\"\nemails = [\"{email}\"]\n{more}\n")
}

/// Ann and Eve sign, and Max pushes for everybody: he is the user that runs the tests.
fn signers(world: &World) -> String {
    let keys = |name: &str| format!("keys = [\"{}\"]", ssh_key(world, name));
    let user = success(world.command("id").arg("-un"));
    let max = format!("unix = [\"{}\"]", user.trim());
    person("Ann Example", "ann@example.org", &keys("ann"))
        + &person("Eve", "eve@example.org", &keys("eve"))
        + &person("Max", "max@example.org", &max)
}

/// From now on commits are signed with this key of SSH.
fn sign_with(clone: &Repository<'_>, key: &str) {
    clone.git(&["config", "commit.gpgsign", "true"]);
    clone.git(&["config", "gpg.format", "ssh"]);
    clone.git(&["config", "user.signingkey", clone.world.folder.join(key).to_str().unwrap()]);
}

/// Waits for refused orders of an issue, and gives the reasons.
#[track_caller]
fn refused(world: &World, key: &str, count: usize) -> String {
    let found = || world.effects(&["list", "--state", "refused", "--key", key]);
    wait_until_or(
        "the orders are refused",
        || found().len() == count,
        || format!("{:?} {}", world.effects(&["list"]), world.log()),
    );
    found().iter().map(|effect| effect["note"].as_str().unwrap().to_owned() + "\n").collect()
}

#[test]
fn g5_f13_orders_count_for_whoever_signed_the_commit_and_not_for_its_pusher() {
    let world = with_people(SIGNED, signers);
    let (_daemon, _repository, clone) = start(&world);
    sign_with(&clone, "ann");
    clone.commit_by("ann@example.org", "ABC-1 #time 1h 30m #comment signed #start-progress");
    sign_with(&clone, "eve");
    clone.commit_by("ann@example.org", "ABC-2 #time 2h not hers #comment in her own name");
    let answer = clone.push(&["origin", "HEAD:main"]);
    assert!(answer.contains("ABC-1 #time 1h 30m is queued, and counts if its signature does"), "{answer}");
    wait_for(&world, "ABC-1", [1, 1, 1]);
    wait_for(&world, "ABC-2", [1, 0, 0]);
    let because = refused(&world, "ABC-2", 1);
    assert!(because.contains("the commit's author is not Eve"), "{because}");
    let [comments, ..] = issue(&world, "ABC-2");
    assert!(comments[0]["body"].to_string().contains("Eve"), "{comments:?}");
    let given = world.effects(&["list", "--key", "ABC-1"]);
    assert!(given.len() == 3 && given.iter().all(|effect| effect["pusher"] == "Ann Example"), "{given:?}");
}

#[test]
fn g5_what_nobody_in_the_table_signed_orders_nothing_and_says_what_would() {
    let world = with_people(SIGNED, signers);
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("ann@example.org", "ABC-1 #comment unsigned");
    ssh_key(&world, "stranger");
    sign_with(&clone, "stranger");
    clone.commit_by("ann@example.org", "ABC-2 #comment signed by a stranger");
    sign_with(&clone, "ann");
    clone.commit_by("ann@example.org", "ABC-3 #comment original");
    // The same signature under another message.
    let object = clone.git(&["cat-file", "commit", "HEAD"]).replace("original", "forged");
    fs::write(clone.world.folder.join("forged"), object + "\n").unwrap();
    let forged = clone.git(&["hash-object", "-t", "commit", "-w", world.folder.join("forged").to_str().unwrap()]);
    clone.push(&["origin", &format!("{forged}:refs/heads/main")]);
    let because = refused(&world, "ABC-1", 1);
    assert!(because.contains("not signed") && because.contains("`git commit -S`"), "{because}");
    assert!(refused(&world, "ABC-2", 1).contains("an SSH key that no [[person]] has"));
    assert!(refused(&world, "ABC-3", 1).contains("does not fit"));
    world.wait_until_idle();
    for key in ["ABC-1", "ABC-2", "ABC-3"] {
        assert_eq!(counts(&world, key), [0, 0, 0], "{key}");
    }
    // The order of a commit that is signed after all is taken up.
    clone.git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    clone.git(&["commit", "--quiet", "--amend", "--allow-empty", "-S", "--no-edit"]);
    clone.push(&["origin", "HEAD:refs/heads/again"]);
    wait_for(&world, "ABC-1", [1, 0, 0]);
}

#[test]
fn g5_a_repository_of_sha256_has_signatures_of_its_own() {
    let world = with_people(SIGNED, signers);
    let _daemon = world.daemon();
    let repository = world.plain_repository("long", &["--object-format=sha256"]);
    world.agent_says(&["install", repository.path.to_str().unwrap()]);
    let clone = world.clone_of(&repository, "work");
    sign_with(&clone, "ann");
    clone.commit_by("ann@example.org", "ABC-1 #time 1h");
    assert!(clone.git(&["cat-file", "commit", "HEAD"]).contains("gpgsig-sha256 "));
    clone.push(&["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [0, 1, 0]);
}

/// An agent of GnuPG that ends with its test.
struct Gpg<'w>(&'w World);

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        let _ = self.0.command("gpgconf").args(["--kill", "all"]).output();
    }
}

impl Gpg<'_> {
    fn command(&self, time: Option<&str>) -> Command {
        let mut gpg = self.0.command("gpg");
        gpg.args(["--batch", "--quiet", "--no-tty", "--passphrase", ""]);
        if let Some(time) = time {
            gpg.args(["--faked-system-time", time]);
        }
        gpg
    }

    /// Makes a key and gives its fingerprint.
    fn key(&self, email: &str, time: Option<&str>, expires: &str) -> String {
        success(self.command(time).args(["--quick-gen-key", &format!("X <{email}>"), "ed25519", "sign", expires]));
        let listed = success(self.command(None).args(["--list-keys", "--with-colons", email]));
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn export(&self, keyring: &str) {
        let file = self.0.folder.join(keyring);
        success(self.command(None).arg("--yes").arg("--output").arg(file).arg("--export"));
    }
}

/// From now on commits are signed with this key of OpenPGP, at another time where one is given.
fn sign_with_openpgp(clone: &Repository<'_>, key: &str, time: Option<&str>) {
    let program = clone.world.folder.join("gpg-then");
    let time = time.map(|time| format!("--faked-system-time {time}")).unwrap_or_default();
    fs::write(&program, format!("#!/bin/sh\nexec gpg --batch {time} \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, value) in [
        ("commit.gpgsign", "true"),
        ("gpg.format", "openpgp"),
        ("gpg.program", program.to_str().unwrap()),
        ("user.signingkey", key),
    ] {
        clone.git(&["config", name, value]);
    }
}

#[test]
fn g5_openpgp_counts_while_its_key_lives_and_waits_while_it_cannot_be_checked() {
    let mut keys = Vec::new();
    let mut gone = false;
    let world = with_people(SIGNED, |world| {
        gone = !(have(world, "gpg") && have(world, "gpgv"));
        if gone {
            return String::new();
        }
        fs::create_dir_all(world.folder.join("home/.gnupg")).unwrap();
        fs::set_permissions(world.folder.join("home/.gnupg"), fs::Permissions::from_mode(0o700)).unwrap();
        let gpg = Gpg(world);
        keys = vec![
            gpg.key("ann@example.org", None, "never"),
            gpg.key("old@example.org", Some("20200101T000000"), "1d"),
            gpg.key("lost@example.org", None, "never"),
        ];
        let all = keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(", ");
        let ann = person("Ann Example", "ann@example.org", &format!("keys = [{all}]"));
        format!("{ann}[people]\nopenpgp_keyring = \"ring.gpg\"\n")
    });
    if gone {
        return;
    }
    let gpg = Gpg(&world);
    let (_daemon, _repository, clone) = start(&world);
    sign_with_openpgp(&clone, &keys[0], None);
    clone.commit_by("ann@example.org", "ABC-1 #time 1h #comment signed");
    sign_with_openpgp(&clone, &keys[1], Some("20200101T010000"));
    clone.commit_by("ann@example.org", "ABC-2 #comment with a key that has expired");
    sign_with_openpgp(&clone, &keys[2], None);
    clone.commit_by("ann@example.org", "ABC-3 #comment with a key that was revoked");
    clone.push(&["origin", "HEAD:main"]);
    // There is no keyring yet: nothing is refused, the rest goes on, and what waits says for what.
    world.wait_for_jira(3, 0);
    let waiting = || {
        world.events().iter().any(|event| event["note"].as_str().is_some_and(|note| note.contains("wait: the keyring")))
    };
    wait_until_or("the orders wait", waiting, || format!("{:?} {}", world.events(), world.log()));
    assert_eq!(world.effects(&["list", "--state", "planned"]).len(), 4);
    let doctor = world.agent(&["doctor", "--offline"]).output().unwrap();
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("BAD  the keyring"), "{doctor:?}");
    let certificate = world.folder.join(format!("home/.gnupg/openpgp-revocs.d/{}.rev", keys[2]));
    let certificate = fs::read_to_string(certificate).unwrap().replace("\n:---", "\n---");
    fs::write(world.folder.join("revocation"), certificate).unwrap();
    success(gpg.command(None).args(["--import", "revocation"]));
    gpg.export("ring.gpg");
    world.agent_says(&["daemon", "reload"]);
    wait_for(&world, "ABC-1", [1, 1, 0]);
    assert!(refused(&world, "ABC-2", 1).contains("has expired"));
    assert!(refused(&world, "ABC-3", 1).contains("was revoked"));
    assert_eq!([counts(&world, "ABC-2"), counts(&world, "ABC-3")], [[0, 0, 0]; 2]);
}

/// Who signs the push vouches for what comes with it, where a host checks that.
#[test]
fn g4_g5_a_signed_push_vouches_for_commits_that_nobody_signed() {
    let user = success(Command::new("id").arg("-un"));
    let world = with_people(&format!("{SIGNED}\nhost_users = [\"{}\"]", user.trim()), signers);
    let (_daemon, repository, clone) = start(&world);
    let key = fs::read_to_string(world.folder.join("ann.pub")).unwrap();
    fs::write(world.folder.join("allowed"), format!("ann@example.org namespaces=\"git\" {key}")).unwrap();
    repository.git(&["config", "receive.certNonceSeed", "chance"]);
    repository.git(&["config", "gpg.format", "ssh"]);
    repository.git(&["config", "gpg.ssh.allowedSignersFile", world.folder.join("allowed").to_str().unwrap()]);
    clone.commit_by("ann@example.org", "ABC-1 #comment unsigned, and so is the push");
    clone.push(&["origin", "HEAD:main"]);
    assert!(refused(&world, "ABC-1", 1).contains("`git push --signed`"));
    sign_with(&clone, "ann");
    clone.git(&["config", "commit.gpgsign", "false"]);
    clone.commit_by("ann@example.org", "ABC-2 #time 1h #comment unsigned, but the push is not");
    clone.push(&["--signed=true", "origin", "HEAD:main"]);
    wait_for(&world, "ABC-2", [1, 1, 0]);
    assert_eq!(counts(&world, "ABC-1"), [0, 0, 0]);
}

/// Nobody says who pushed, and the author's line is a claim: only the policy that says so believes it.
#[test]
fn g5_t24_a_forged_author_gives_no_orders_under_any_policy_but_email() {
    let user = success(Command::new("id").arg("-un"));
    let hosted = format!("host_users = [\"{}\"]", user.trim());
    for policy in ["off", "bot", "signed", "email"] {
        let accepted = if policy == "email" { "i_accept_forgery = true" } else { "" };
        let world = with_people(&format!("policy = \"{policy}\"\n{hosted}\n{accepted}"), signers);
        world.sandbox.person(serde_json::json!({"name": "ann", "email": "ann@example.org"}));
        let (_daemon, _repository, clone) = start(&world);
        clone.commit_by("ann@example.org", "ABC-1 #time 1h #comment forged #start-progress");
        clone.push(&["origin", "HEAD:main"]);
        world.wait_for_jira(1, 0);
        let expected = if policy == "email" { [1, 1, 1] } else { [0, 0, 0] };
        smart::wait_for(&world, "ABC-1", expected);
        let all = world.effects(&["list"]);
        assert_eq!(all.len(), if policy == "off" { 0 } else { 3 }, "{policy}: {all:?}");
    }
}

#[test]
fn g2_g5_aliases_and_groups_decide_with_the_table() {
    let world = with_people("policy = \"bot\"\n[[account.smart.allow]]\ngroups = [\"devs\"]", |world| {
        fs::write(world.folder.join("map"), "Max <max@old.example>\n").unwrap();
        fs::write(world.folder.join("more.csv"), "email,name\nmax@home.example,Max\n").unwrap();
        signers(world)
            + "[[group]]\nname = \"devs\"\nmembers = [\"Max\"]\n[people]\nmailmap = \"map\"\naliases = \"more.csv\"\n"
    });
    let (_daemon, _repository, clone) = start(&world);
    clone.commit_by("max@old.example", "ABC-1 #time 1h");
    clone.commit_by("max@home.example", "ABC-2 #time 1h");
    clone.push(&["origin", "HEAD:main"]);
    wait_for(&world, "ABC-1", [0, 1, 0]);
    wait_for(&world, "ABC-2", [0, 1, 0]);
    fs::write(world.folder.join("map"), "# nothing\nMax\n").unwrap();
    let reload = world.agent(&["daemon", "reload"]).output().unwrap();
    let said = String::from_utf8_lossy(&reload.stderr).into_owned() + &String::from_utf8_lossy(&reload.stdout);
    assert!(said.contains("map:2: a line has an address between < and >"), "{said}");
    clone.commit_by("max@old.example", "ABC-3 #time 1h");
    clone.push(&["origin", "HEAD:main"]);
    wait_for(&world, "ABC-3", [0, 1, 0]);
}

#[test]
fn t16_a_repository_can_be_left_out() {
    let world =
        with_people("policy = \"bot\"\n[[account.repository]]\nmatch = \"quiet*\"\nsmart_commits = false", signers);
    let (_daemon, _repository, clone) = start(&world);
    let quiet = world.repository("quiet");
    clone.commit_by("max@example.org", "ABC-1 #comment unheard");
    let answer = clone.push(&[quiet.path.to_str().unwrap(), "HEAD:main"]);
    assert!(answer.contains("1 command: switched off here"), "{answer}");
    clone.commit_by("max@example.org", "ABC-2 #comment heard");
    clone.push(&["origin", "HEAD:main"]);
    wait_for(&world, "ABC-2", [1, 0, 0]);
    assert_eq!(
        world
            .effects(&["list"])
            .iter()
            .filter(|effect| effect["repository"] == quiet.git(&["config", "agent.repoid"]))
            .count(),
        0
    );
}
