//! `agent doctor`: what would stop an event on this machine, with the cure.

mod site;
mod trial;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::Serialize;

use super::{Context, admin, show};
use crate::config::{Config, Places};
use crate::git::Repository;
use crate::host::{self, Account, Hindrance, Owner};
use crate::people;
use crate::queue;
use crate::serve::{AccountState, Status};
use crate::smart::Policy;
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// Repositories to look at; default: the one we are in
    repositories: Vec<PathBuf>,
    /// Ask nothing of Jira
    #[arg(long)]
    offline: bool,
    /// Find out on this issue how its site keeps the marks of what was done: writes to it, and deletes that again
    #[arg(long, value_name = "ISSUE", conflicts_with_all = ["repositories", "offline"])]
    write_probe: Option<String>,
    /// The site of that issue, where there are several
    #[arg(long, requires = "write_probe")]
    site: Option<String>,
    /// Write to the issue without asking
    #[arg(long, requires = "write_probe")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    good: bool,
    what: String,
    /// What to do about it.
    cure: Option<String>,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let findings = match &arguments.write_probe {
        Some(issue) => trial::run(issue, arguments, context)?,
        None => look(arguments, context),
    };
    if arguments.json {
        show::json(&findings)?;
    } else {
        let paint = show::Paint::new(context.environment.no_color);
        for finding in &findings {
            let mark = if finding.good { paint.good("ok  ") } else { paint.bad("BAD ") };
            show::line(format_args!("{mark} {}", Untrusted::text(&finding.what)));
            if let Some(cure) = &finding.cure {
                show::line(format_args!("       -> {}", Untrusted::text(cure)));
            }
        }
    }
    Ok(if findings.iter().all(|finding| finding.good) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(arguments: &Arguments, context: &Context) -> Vec<Finding> {
    let mut findings = vec![git_command()];
    let path = context.config_path();
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) => {
            findings.push(bad(error.to_string(), "`agent link` makes a configuration; a typo is mended by hand"));
            return findings;
        }
    };
    findings.push(good(format!("the configuration {} is in order", path.display())));
    let places = Places::new(&path, &config, &context.environment);
    findings.extend(daemon(&places));
    findings.extend(spool(&places));
    findings
        .extend(super::login::refused(&places).into_iter().map(|what| bad(what, "`agent login`, by whoever it is")));
    findings.extend(site::look(&config, &places, context, arguments.offline));
    findings.extend(signatures(&config));
    findings.extend(accounts(&places));
    findings.extend(clones(&config, &path));
    let here = host::find_git_dir(Path::new(".")).ok().filter(|_| arguments.repositories.is_empty());
    for path in arguments.repositories.iter().chain(&here) {
        findings.extend(repository(path, &config));
    }
    findings
}

fn git_command() -> Finding {
    match Command::new("git").arg("--version").output() {
        Ok(output) => good(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) => bad(format!("git cannot be started: {error}"), "install git, or put it on the PATH"),
    }
}

fn daemon(places: &Places) -> Vec<Finding> {
    let ready: anyhow::Result<bool> = admin::get(places, "/ready", &());
    let answer = match ready {
        Ok(_) => good("the daemon runs and takes events".to_owned()),
        Err(error) => bad(
            format!("{error}"),
            "until then events wait in the spool; `agent daemon start`, or `systemctl start git-jira-agent`",
        ),
    };
    let mut findings = vec![answer];
    match std::fs::metadata(&places.socket) {
        Ok(meta) if places.shared && meta.mode() & 0o002 == 0 => findings.push(bad(
            format!("the hooks' socket {} is closed to other users", places.socket.display()),
            "chmod 0666 it, or restart the socket unit: who is there is checked by the kernel",
        )),
        Ok(_) => findings.push(good(format!("the hooks' socket is {}", places.socket.display()))),
        Err(error) => findings.push(bad(
            format!("the hooks' socket {}: {error}", places.socket.display()),
            "the daemon makes it when it starts",
        )),
    }
    if let Some(pid) = queue::holder(&places.state) {
        findings.push(good(format!("the queue in {} is held by process {pid}", places.state.display())));
    }
    findings
}

fn spool(places: &Places) -> Vec<Finding> {
    let incoming = places.spool.join("incoming");
    match std::fs::metadata(&incoming) {
        Ok(meta) if meta.is_dir() && (!places.shared || meta.mode() & 0o7777 == 0o3733) => {
            vec![good(format!("the spool is {}", incoming.display()))]
        }
        Ok(meta) => vec![bad(
            format!("the spool {} has mode {:o}", incoming.display(), meta.mode() & 0o7777),
            &format!(
                "chmod 3733 {}: others may leave events there, and neither list nor read them",
                incoming.display()
            ),
        )],
        Err(error) => vec![bad(
            format!("the spool {}: {error}", incoming.display()),
            "the daemon makes it when it starts; without it events are lost to the hook while the daemon is down, and found again by comparing refs",
        )],
    }
}

/// What keeps the people of the table from being known, and their signatures from being checked where they count.
fn signatures(config: &Config) -> Vec<Finding> {
    let people = match config.people() {
        Ok(people) => people,
        Err(because) => return vec![bad(because, "mend the file, then `agent daemon reload`")],
    };
    if !config.account.iter().any(|account| account.smart.policy == Policy::Signed) {
        return Vec::new();
    }
    let mut found: Vec<Finding> = people::hindrances(&people).into_iter().map(|(what, cure)| bad(what, cure)).collect();
    if found.is_empty() {
        found.push(good("signatures of commits can be checked".to_owned()));
    }
    found
}

/// Repositories that are to have hooks, and that the daemon may not put any into.
fn accounts(places: &Places) -> Vec<Finding> {
    let status: anyhow::Result<Status> = admin::get(places, "/status", &());
    let accounts = status.map(|status| status.running.accounts).unwrap_or_default();
    let finding = |(name, state): (String, AccountState)| match state.because.first() {
        None if state.closed > 0 => good(format!(
            "account {name} has hooks in all of its {} repositories, but for {} folders that only their owner can look into",
            state.repositories, state.closed
        )),
        None => good(format!("account {name} has hooks in all of its {} repositories", state.repositories)),
        Some(because) => bad(
            format!("account {name}: {} without hooks, such as {because}", state.uncovered),
            &format!(
                "`agent account cover {name}` by the owner of the repositories, once or by the timer git-jira-agent-cover@OWNER"
            ),
        ),
    };
    accounts.into_iter().map(finding).collect()
}

/// Whether hooks run in all clones of the servers that accounts name.
fn clones(config: &Config, path: &Path) -> Vec<Finding> {
    let look = || {
        let Some(everywhere) = host::Everywhere::beside(path)? else { return Ok((Vec::new(), None)) };
        Ok::<_, host::Error>((everywhere.remotes()?, everywhere.trouble()?))
    };
    let (there, trouble) = match look() {
        Ok(found) => found,
        Err(error) => return vec![bad(host::reason(&error), "the reason says what helps")],
    };
    let install = |remote: &str| format!("agent install --remote {remote}");
    let remotes = config.account.iter().flat_map(|account| account.remotes.iter().map(move |remote| (account, remote)));
    let finding = |(account, remote): (&Account, &String)| match (there.contains(remote), &trouble) {
        (true, None) => good(format!("hooks are in all clones of {remote}, which belong to account {}", account.name)),
        (true, Some(because)) => bad(format!("no hooks run in clones of {remote}: {because}"), &install(remote)),
        (false, _) => good(format!(
            "clones of {remote} belong to account {}; hooks are where somebody put them: {} puts them into all",
            account.name,
            install(remote)
        )),
    };
    remotes.map(finding).collect()
}

fn repository(path: &Path, config: &Config) -> Vec<Finding> {
    let git_dir = match host::find_git_dir(path) {
        Ok(git_dir) => git_dir,
        Err(error) => return vec![bad(error.to_string(), "name a repository")],
    };
    let shown = git_dir.display();
    let mut findings = Vec::new();
    match (config.account_of(&git_dir), config.keeps_out(&git_dir)) {
        (Some(account), _) => findings.push(match account.contains(&git_dir) {
            true => good(format!("{shown} lies in account {}", account.name)),
            false => good(format!("{shown} belongs to account {} by its remote", account.name)),
        }),
        (None, Some(because)) => findings.push(good(format!("{}, so its hooks do nothing", Untrusted::text(&because)))),
        (None, None) => findings.push(bad(
            format!("{shown} lies in no account, so its events are refused"),
            &format!("agent install {shown}"),
        )),
    }
    match Repository::open(&git_dir).map(|repository| repository.id().map(str::to_owned)) {
        Ok(Some(id)) => findings.push(good(format!("it can be read, its id is {id}"))),
        Ok(None) if config.account_of(&git_dir).is_some_and(|account| !account.contains(&git_dir)) => {
            findings.push(good("it can be read, and gets its id from its first hook".to_owned()));
        }
        Ok(None) => findings.push(bad("it has no id yet".to_owned(), &format!("agent install {shown}"))),
        Err(error) => {
            findings.push(bad(format!("it cannot be read: {error}"), "let this user read it, or run as its owner"));
        }
    }
    if host::Look::at(&git_dir).place().is_ok_and(|place| place == host::Place::Server)
        && !config.policies(&git_dir).is_empty()
    {
        findings.push(match host::is_policy_marked(&git_dir) {
            true => good("a policy holds here, and pushes wait for it".to_owned()),
            false => bad(
                "a policy holds here, and pushes do not wait for it yet".to_owned(),
                &format!("agent install {shown}"),
            ),
        });
    }
    match host::Look::at(&git_dir).hooks() {
        Ok(hooks) => findings.extend(hooks.iter().map(|hook| hook_finding(hook, &git_dir))),
        Err(error) => findings.push(bad(error.to_string(), "the reason says what helps")),
    }
    findings
}

/// What keeps a hook from firing, and the cure, in one line.
pub fn hindrance(hook: &host::HookState, git_dir: &Path) -> Option<String> {
    let found = hook_finding(hook, git_dir);
    (!found.good).then(|| [Some(found.what), found.cure].into_iter().flatten().collect::<Vec<_>>().join("; "))
}

fn hook_finding(hook: &host::HookState, git_dir: &Path) -> Finding {
    let install = format!("agent install {}", git_dir.display());
    let name = hook.name;
    if let Some(hindrance) = hook.hindrances.first() {
        return match hindrance {
            Hindrance::NotExecutable => bad(
                format!("{name} is not executable, so Git ignores it"),
                &format!("chmod +x {}", hook.path.display()),
            ),
            Hindrance::HooksPathElsewhere(dir) => {
                bad(format!("{name} is not run: core.hooksPath makes Git look in {}", dir.display()), &install)
            }
            Hindrance::SwitchedOff(called) => bad(
                format!("{name} is switched off: hook.{called}.enabled is false"),
                &format!("git config hook.{called}.enabled true"),
            ),
            Hindrance::OldGit(version) => bad(
                format!("{name} stands in Git's configuration, out of which Git {version} runs no hooks"),
                &format!("Git {} or later, or {install}", host::since()),
            ),
            Hindrance::AgentMissing(agent) => {
                bad(format!("{name} calls {}, which cannot be run", agent.display()), &install)
            }
        };
    }
    match &hook.owner {
        Owner::Ours { stale: true, .. } => bad(format!("{name} is of an older agent"), &install),
        Owner::Ours { chained: true, .. } => good(format!("{name} fires, and the hook that was there runs after it")),
        Owner::Ours { .. } if hook.stands_by() => good(format!("{name} {}", host::HookState::until(name))),
        Owner::Ours { .. } => good(format!("{name} fires")),
        Owner::Configured { .. } => good(format!("{name} fires, out of Git's configuration")),
        Owner::Changed => bad(format!("{name} was edited"), "move it away, then install again"),
        Owner::Foreign if host::is_put_aside(&hook.path, name) => bad(
            format!("{name} is {}'s, which put ours aside", host::Tool::of_file(&hook.path).name()),
            &format!("{install}: ours goes before it again"),
        ),
        Owner::Foreign => {
            bad(format!("{name} is somebody else's"), &format!("{install}: it goes on running, after ours"))
        }
        Owner::Absent => bad(format!("{name} is not there"), &install),
    }
}

fn good(what: String) -> Finding {
    Finding { good: true, what, cure: None }
}

fn bad(what: String, cure: &str) -> Finding {
    Finding { good: false, what, cure: Some(cure.to_owned()) }
}
