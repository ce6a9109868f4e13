//! What is sent and what is answered, held against a description of Jira's API by a proxy that checks both.
//!
//! The description lies beside the project, and the proxy is Stoplight's Prism, which `tests/run` installs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::direct::has;
use crate::harness::{Process, Repository, World, shown, wait_until, wait_until_or};
use crate::jira::{SITE, TOP, commits, owed, rests, world};

/// A checking proxy before a world's sandbox.
pub struct Prism {
    address: String,
    log: std::path::PathBuf,
    _process: Process,
}

impl Prism {
    /// Starts one for development information.
    fn start(world: &World) -> Option<Prism> {
        Prism::with(world, "jira-devops-gateway.derived.openapi.json")
    }

    /// Starts one that checks against this description, if both are there.
    pub fn with(world: &World, description: &str) -> Option<Prism> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = root.join("target/prism/node_modules/.bin/prism");
        let description = root.join("../shared/specs").join(description);
        if !has("node") || missing(&program) || missing(&description) {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = world.folder.join("prism.log");
        let file = std::fs::File::create(&log).unwrap();
        let mut command: Command = world.command(program);
        command.arg("proxy").arg(description).arg(world.sandbox.url()).args(["--errors", "-h", "127.0.0.1", "-p"]);
        command.arg(port.to_string()).stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null());
        let process = Process(command.spawn().unwrap());
        let prism = Prism { address: format!("127.0.0.1:{port}"), log, _process: process };
        wait_until_or("Prism listens", || prism.said().contains("Prism is listening"), || prism.said());
        Some(prism)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The lines in which it complains.
    pub fn complaints(&self) -> Vec<String> {
        // At its start it lists what it knows with made-up values, in which any word may stand.
        let complains = |line: &&str| {
            !line.contains("[CLI]") && ["error", "iolation", "warn"].iter().any(|word| line.contains(word))
        };
        self.said().lines().filter(complains).map(str::to_owned).collect()
    }

    /// Links the world through it, with these lines for the site.
    ///
    /// The site itself has a name as real ones have, because it is part of what is sent and checked.
    fn link(&self, world: &World, lines: &str) {
        let id = world.sandbox.state()["cloudId"].as_str().unwrap().to_owned();
        world.configure(&format!("cloud_id = \"{id}\"\n{lines}{SITE}"), TOP);
        let text = std::fs::read_to_string(world.config()).unwrap();
        let text = text.replace(&world.sandbox.url(), &format!("http://{}", self.address));
        let own = format!("\nurl = \"http://{}\"", self.address);
        let text = text.replacen(&own, "\nurl = \"https://jira.example.org\"", 1);
        std::fs::write(world.config(), text + WEB).unwrap();
    }

    /// Asks with a JSON body and gives the whole answer.
    pub fn ask(&self, head: &str, body: &Value) -> String {
        ask(&self.address, head, body)
    }
}

/// Asks whoever listens there with a JSON body, none if it is null, and gives the whole answer.
pub fn ask(address: &str, head: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut line = TcpStream::connect(address).unwrap();
    let length = body.len();
    let fields = "Host: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length";
    line.write_all(format!("{head}\r\n{fields}: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    line.read_to_string(&mut answer).unwrap();
    answer
}

const WEB: &str = r#"
[account.web]
repository = "https://git.example.org/{repository}"
commit = "https://git.example.org/{repository}/commit/{commit}"
branch = "https://git.example.org/{repository}/log?h={branch}"
file = "https://git.example.org/{repository}/tree/{path}?id={commit}"
create_pull_request = "https://git.example.org/{repository}/compare/{branch}"
"#;

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn missing(path: &Path) -> bool {
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
    }
    !path.exists()
}

/// Commits with whatever may stand in one: files of all kinds of change and name, authors, encodings, a merge.
fn history(clone: &Repository<'_>) {
    let name = |number: u32| clone.path.join(format!("f\u{e4} {number}&#?.txt"));
    for number in 0..14 {
        std::fs::write(name(number), "one\ntwo\n").unwrap();
    }
    clone.commit("ABC-1 many files\n\nwith a body, \u{1f980} and a \"quote\" \\ and a tab\t.");
    std::fs::write(name(0), "one\nthree\n").unwrap();
    std::fs::remove_file(name(1)).unwrap();
    std::fs::write(name(2), [0, 159, 146, 150]).unwrap();
    clone.commit("ABC-2 ABC-3 #comment changes, deletes, and makes binary");
    clone.git(&["checkout", "--quiet", "-b", "side", "HEAD~1"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", &format!("ABC-4 long {}", "\u{e4}".repeat(3000))]);
    let mut nobody = clone.command(&["commit", "--quiet", "--allow-empty", "-m", "ABC-5 of nobody"]);
    crate::harness::success(nobody.env("GIT_AUTHOR_EMAIL", "").env("GIT_AUTHOR_NAME", "\u{c4}. \"N\" O'Body"));
    clone.git(&["checkout", "--quiet", "main"]);
    clone.git(&["merge", "--quiet", "--no-ff", "side", "-m", "ABC-6 merge"]);
    let latin = clone.path.join("latin");
    std::fs::write(&latin, b"ABC-7 caf\xe9\n").unwrap();
    clone.git(&["-c", "i18n.commitEncoding=ISO-8859-1", "commit", "--quiet", "--allow-empty", "-F", "latin"]);
    let mut old = clone.command(&["commit", "--quiet", "--allow-empty", "-m", "ABC-8 of old"]);
    crate::harness::success(old.env("GIT_AUTHOR_DATE", "@1 +1400").env("GIT_COMMITTER_DATE", "@1 -1200"));
}

#[test]
fn a1_f54_everything_that_is_sent_and_answered_is_as_jira_describes_it() {
    let world = world();
    let Some(prism) = Prism::start(&world) else { return };
    prism.link(&world, "");
    let repository = world.repository("team/t\u{f6}ol");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    history(&clone);
    let long = format!("ABC-5/{}/{}", "l".repeat(200), "m".repeat(200));
    let branches = ["ABC-1", "feature/ABC-2-\u{e4}\u{1f980}", "ABC-3/a%20b+c&d=e#f;'g'\"h", "ABC-4-$(id)", &long];
    let targets: Vec<String> = branches.iter().map(|name| format!("HEAD:refs/heads/{name}")).collect();
    clone.git(&["tag", "-a", "-m", "ABC-9", "v1"]);
    let mut arguments = vec!["origin", "main", "v1"];
    arguments.extend(targets.iter().map(String::as_str));
    clone.push(&arguments);
    world.wait_for_jira(7, branches.len());
    // A forced branch, a key that is not known, a deletion.
    clone.git(&["commit", "--quiet", "--amend", "--allow-empty", "-m", "ABC-8 ABC-4711 again"]);
    clone.push(&["--force", "origin", "HEAD:ABC-1", &format!(":{}", branches[2])]);
    world.wait_for_jira(8, branches.len() - 1);
    // Where nobody is to carry out orders, the request says so.
    prism.link(&world, "executor = \"off\"\n");
    world.agent_says(&["daemon", "reload"]);
    clone.git(&["commit", "--quiet", "--allow-empty", "-m", "ABC-9 #time 1h"]);
    clone.push(&["--force", "origin", "HEAD:main"]);
    world.wait_for_jira(9, branches.len() - 1);
    let said = world.agent_says(&["doctor"]);
    assert!(said.contains("takes development information"), "{said}");
    world.agent_says(&["uninstall", "--forget", repository.path.to_str().unwrap()]);
    world.wait_for_jira(0, 0);
    world.wait_until_idle();
    world.agent_says(&["link", "--remove", "--accounts", "--yes"]);
    assert_eq!(prism.complaints(), Vec::<String>::new());
    assert_eq!(owed(&world, "parked"), 0);
    let received = prism.said().matches("Request received").count();
    let asked: Vec<Value> = world.sandbox.requests("");
    assert_eq!(received, asked.len(), "{asked:?}");
    for part in ["/oauth/token", "/bulk", "/existsByProperties", "/bulkByProperties", "/branch/", "/repository/"] {
        assert!(asked.iter().any(|request| request["path"].as_str().unwrap().contains(part)), "{part}");
    }
}

#[test]
fn a1_the_proxy_would_notice_what_is_wrong_in_a_request_and_in_an_answer() {
    let world = world();
    let Some(prism) = Prism::start(&world) else { return };
    prism.link(&world, "");
    let repository = world.repository("tool");
    let clone = world.clone_of(&repository, "work");
    let _daemon = world.daemon();
    clone.commit("ABC-1 begin");
    clone.push(&["origin", "HEAD:main"]);
    world.wait_for_jira(1, 0);
    assert_eq!(prism.complaints(), Vec::<String>::new());
    let id = world.sandbox.state()["cloudId"].as_str().unwrap().to_owned();
    let head = format!("POST /jira/devinfo/0.1/cloud/{id}/bulk HTTP/1.1\r\nAuthorization: Bearer x");
    let mut commit = shown(&world.sandbox.state(), "commits")[0]["data"].clone();
    commit.as_object_mut().unwrap().remove("message");
    let body = json!({"repositories": [{"id": "r", "name": "r", "url": "https://git.example.org", "updateSequenceId": 1,
        "commits": [commit]}]});
    let answer = prism.ask(&head, &body);
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("must have required property 'message'"), "{answer}");
    wait_until("it was noticed", || prism.complaints().len() == 1);
    let wrong = json!({"status": {"code": 202, "content_type": "application/json", "body": "{\"acceptedDevinfoEntities\": 5}"}});
    world.sandbox.misbehave(json!([{"on": "bulk", "times": 1, "act": wrong}]));
    clone.commit("ABC-2 go on");
    clone.push(&["origin", "HEAD:main"]);
    rests(&world, "answered 500");
    assert!(prism.complaints().len() > 1, "{}", prism.said());
    wait_until("it is told again", || commits(&world).len() == 2);
}
