//! Who looks after an account, who belongs to a group, and what that lets them do.

use crate::accounts::{config, json, run};
use crate::harness::{Repository, World};
use crate::smart::{start, wait_for, with_people};

const SMART: &str = "policy = \"bot\"\nhost_users = [\"root\"]\n[[account.smart.allow]]\ngroups = [\"devs\"]\n\
    [[account.smart.allow]]\ngroups = [\"administrators\"]\nverbs = [\"comment\"]";

fn world() -> World {
    let world = with_people(SMART, |_| {
        "[[person]] # the first\nname = \"Ann Example\"\nemails = [\"ann@example.org\"]\nlogins = [\"ann\"]\n\
         # who may do all\n[[group]]\nname = \"devs\" # all of them\nmembers = [\"ann\"] # so far\n"
            .to_owned()
    });
    let text =
        config(&world).replace("history = \"none\"", "history = \"none\"\nadministrators = [\"login:root-of-it\"]");
    std::fs::write(world.config(), text).unwrap();
    world
}

/// Pushes a commit as a login of the host, and gives the answer.
#[track_caller]
fn push_as(clone: &Repository<'_>, login: &str, message: &str) -> String {
    clone.commit(message);
    let output = clone.command(&["push", "origin", "HEAD:main"]).env("GL_USER", login).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn t23_an_invited_address_counts_once_somebody_is_vouched_for_under_it() {
    let world = world();
    let (_daemon, _repository, clone) = start(&world);
    let said = push_as(&clone, "grace@example.org", "ABC-1 #comment too early");
    assert!(said.contains("grace@example.org may not do that here; ask login:root-of-it"), "{said}");
    let text = world.agent_says(&["group", "add", "devs", "grace@example.org", "eve@example.org"]);
    assert!(text.contains("+ members = [\"ann\", \"grace@example.org\", \"eve@example.org\"] # so far"), "{text}");
    assert!(
        text.contains("devs: ann (known as Ann Example), grace@example.org (known), eve@example.org (invited)"),
        "{text}"
    );
    assert!(
        config(&world).contains("# who may do all\n[[group]]\nname = \"devs\" # all of them\n"),
        "{}",
        config(&world)
    );
    let said = push_as(&clone, "Grace@example.org", "ABC-1 #comment by an invited one");
    assert!(said.contains("ABC-1 #comment is queued"), "{said}");
    wait_for(&world, "ABC-1", [1, 0, 0]);

    // The same address becomes a person's, who comes with another login.
    let person = "[[person]]\nname = \"Eve\"\nemails = [\"eve@example.org\"]\nlogins = [\"eve\"]\n";
    std::fs::write(world.config(), format!("{}{person}", config(&world))).unwrap();
    world.agent_says(&["daemon", "reload"]);
    let listed = json(&world, &["group", "list"]);
    let members = &listed[0]["members"];
    assert_eq!((&members[2]["state"], &members[2]["person"]), (&"known".into(), &"Eve".into()), "{listed}");
    assert!(push_as(&clone, "eve", "ABC-2 #comment by a person").contains("ABC-2 #comment is queued"));
    wait_for(&world, "ABC-2", [1, 0, 0]);
    let shown = world.agent_says(&["account", "show", "main"]);
    assert!(shown.contains("administrators: login:root-of-it (named)"), "{shown}");
    assert!(shown.contains("group devs: ann (known as Ann Example)"), "{shown}");

    // Taken out, they may nothing any more; and nobody is taken out of what they are not in.
    world.agent_says(&["group", "remove", "devs", "eve@example.org"]);
    assert!(push_as(&clone, "eve", "ABC-2 #comment no more").contains("Eve may not do that here"));
    let before = config(&world);
    let (done, text) = run(&world, &["group", "remove", "devs", "eve@example.org"]);
    assert!(!done && text.contains("eve@example.org is not among the members of group devs"), "{text}");
    let (done, text) = run(&world, &["group", "remove", "devs"]);
    assert!(!done && text.contains("there is no group called devs"), "a rule names it: {text}");
    let (done, text) = run(&world, &["group", "add", "devs", "an"]);
    assert!(!done && text.contains("there is no person called an"), "{text}");
    assert_eq!(config(&world), before);
    let text = world.agent_says(&["group", "add", "other", "unix:root", "--dry-run"]);
    assert!(text.contains("+ name = \"other\"") && config(&world) == before, "{text}");
}

#[test]
fn t23_administrators_are_a_group_of_their_account() {
    let world = world();
    let (_daemon, _repository, clone) = start(&world);
    let said = push_as(&clone, "root-of-it", "ABC-1 #comment as the administrator #close");
    assert!(said.contains("ABC-1 #comment is queued"), "{said}");
    assert!(said.contains("#close is not carried out: root-of-it may not do that here"), "{said}");
    wait_for(&world, "ABC-1", [1, 0, 0]);
    let text = world.agent_says(&["account", "set", "main", "--administrators", "ann@example.org", "ada@example.org"]);
    assert!(text.contains("+ administrators = [\"ann@example.org\", \"ada@example.org\"]"), "{text}");
    assert!(push_as(&clone, "root-of-it", "ABC-1 #comment no more").contains("ask ann@example.org, ada@example.org"));
    let before = config(&world);
    for (member, because) in [("x@", "x@ is no address"), ("nobody", "there is no person called nobody")] {
        let (done, text) = run(&world, &["account", "set", "main", "--administrators", member]);
        assert!(!done && text.contains(&format!("account main: administrators: {because}")), "{text}");
    }
    assert_eq!(config(&world), before);
}
