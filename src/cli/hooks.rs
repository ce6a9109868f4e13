//! `agent hooks`: which hook fires when, by which Git, how it is reached, and what else runs there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::{Context, admin, doctor, show};
use crate::clock;
use crate::config::{Config, Places};
use crate::git::Repository;
use crate::host::{self, Look, Other, Owner, Place, Runs, Tool};
use crate::serve::Status;
use crate::text::Untrusted;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent hooks                 those of the repository we are in\n  agent hooks /srv/git/tool.git --json\n\nExit status: 0 all of ours are in order, 1 one of them is not; the line says what to do about it."
)]
pub struct Arguments {
    /// A bare repository, or a clone; default: the one we are in
    path: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The hooks of one repository.
#[derive(Serialize)]
struct Shown {
    git_dir: PathBuf,
    /// `server` or `clone`.
    place: &'static str,
    /// Which program serves it.
    kind: Option<host::Kind>,
    /// Each Git that was found; any of them may be the one that runs the hooks.
    gits: Vec<Git>,
    /// Where Git looks for files.
    hooks_dir: PathBuf,
    /// The scope in which `core.hooksPath` says so.
    hooks_path: Option<String>,
    hooks: Vec<Ours>,
    others: Vec<Other>,
    /// Hooks that stand in Git's configuration, ours and others.
    configured: Vec<Configured>,
    /// When the daemon last heard of the repository, in milliseconds.
    last_event_at: Option<i64>,
}

#[derive(Serialize)]
struct Git {
    path: PathBuf,
    version: String,
}

#[derive(Serialize)]
struct Configured {
    #[serde(flatten)]
    hook: host::Configured,
    /// The Gits of those that were found that run it.
    run_by: Vec<PathBuf>,
}

/// A hook of ours, or one that is to be there.
#[derive(Serialize)]
struct Ours {
    hook: &'static str,
    when: &'static str,
    /// `link`, `shim`, `standby`, `drop-in`, `shared`, `legacy`, `config`, or `none`.
    reached: &'static str,
    path: PathBuf,
    healthy: bool,
    /// What is wrong, and what to do about it.
    because: Option<String>,
    /// When it last started the agent, in milliseconds.
    last_fired_at: Option<i64>,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let path = arguments.path.clone().map_or_else(std::env::current_dir, Ok)?;
    let git_dir = host::find_git_dir(&path)?;
    let shown = look(&git_dir, context)?;
    let healthy = shown.hooks.iter().all(|hook| hook.healthy);
    if arguments.json {
        show::json(&shown)?;
    } else {
        print(&shown, context);
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(git_dir: &Path, context: &Context) -> anyhow::Result<Shown> {
    let look = Look::at(git_dir);
    let place = look.place()?;
    let (hooks_dir, hooks_path) = look.hooks_dir()?;
    let shared = look.shared_hooks().ok().flatten();
    let ours = |hook: host::HookState| Ours {
        hook: hook.name,
        when: when(hook.name),
        reached: reached(&hook, shared.as_deref()),
        healthy: doctor::hindrance(&hook, git_dir).is_none(),
        because: doctor::hindrance(&hook, git_dir),
        last_fired_at: host::last_fired(git_dir, hook.name),
        path: hook.path,
    };
    let gits = host::gits(context.environment.path.as_deref().unwrap_or_default());
    let new: Vec<&PathBuf> =
        gits.iter().filter(|(_, version)| host::runs_configured(version)).map(|(path, _)| path).collect();
    let configured = |hook: host::Configured| {
        let run_by = new.iter().filter(|_| hook.enabled).map(|path| (*path).clone()).collect();
        Configured { hook, run_by }
    };
    let configured = look.configured()?.into_iter().map(configured).collect();
    Ok(Shown {
        configured,
        git_dir: git_dir.to_owned(),
        place: if place == Place::Server { "server" } else { "clone" },
        kind: look.kind().ok(),
        gits: gits.into_iter().map(|(path, version)| Git { path, version }).collect(),
        hooks_dir,
        hooks_path,
        hooks: look.hooks()?.into_iter().map(ours).collect(),
        others: look.others()?,
        last_event_at: last_event(git_dir, context),
    })
}

/// When the daemon of the configuration that the hooks use last heard of the repository.
fn last_event(git_dir: &Path, context: &Context) -> Option<i64> {
    let repository = Repository::open(git_dir).ok()?;
    let id = repository.id()?;
    let path = host::config_of(&repository).filter(|_| context.chosen.is_none());
    let path = path.unwrap_or_else(|| context.config_path());
    let places = Places::new(&path, &Config::load(&path).ok()?, &context.environment);
    let status: Status = admin::get(&places, "/status", &()).ok()?;
    Some(status.repositories.iter().find(|one| one.id == id)?.last_event_at)
}

fn reached(hook: &host::HookState, shared: Option<&Path>) -> &'static str {
    match &hook.owner {
        Owner::Configured { .. } => "config",
        Owner::Ours { .. } if hook.path.is_symlink() => "link",
        Owner::Ours { .. } if hook.stands_by() => "standby",
        Owner::Ours { .. } if hook.path.ends_with(host::DROP_IN) => "drop-in",
        Owner::Ours { .. } if shared.is_some_and(|shared| hook.path.starts_with(shared)) => "shared",
        Owner::Ours { .. } if hook.path.extension().is_some() => "legacy",
        Owner::Ours { .. } => "shim",
        _ => "none",
    }
}

/// When Git runs a hook, and what ours does then.
fn when(hook: &str) -> &'static str {
    match hook {
        "prepare-commit-msg" => "a message is begun: puts the key of the branch into it",
        "commit-msg" => "a message is written: says what it links and what is wrong",
        "pre-push" => "before a push is sent: lays it beside the policy and notes it",
        "reference-transaction" => "a push has succeeded: tells the daemon",
        "pre-receive" => "before a push is taken: announces it, or decides where a policy holds",
        "post-receive" => "a push was taken: tells the daemon and answers",
        _ => "a ref moved: tells the daemon",
    }
}

fn print(shown: &Shown, context: &Context) {
    let paint = show::Paint::new(context.environment.no_color);
    let path = |path: &Path| Untrusted::text(&path.display().to_string()).to_string();
    show::line(format_args!("{} ({})", path(&shown.git_dir), shown.place));
    for git in &shown.gits {
        show::line(format_args!("  git {}  {}", Untrusted::text(&git.version), path(&git.path)));
    }
    let by = match &shown.hooks_path {
        Some(scope) => format!(", as core.hooksPath in the {} configuration says", Untrusted::text(scope)),
        None => String::new(),
    };
    show::line(format_args!("  Git looks for hooks in {}{by}", path(&shown.hooks_dir)));
    for hook in &shown.hooks {
        let fired = match hook.last_fired_at {
            Some(at) => format!("last started {}", clock::show(at)),
            None => "not started yet".to_owned(),
        };
        match &hook.because {
            None => {
                let how = match hook.reached {
                    "legacy" => "run by pre-commit",
                    "config" => "out of Git's configuration",
                    "standby" => host::HookState::until(hook.hook),
                    other => other,
                };
                show::line(format_args!("  {} {}  {how}, {fired}", paint.good("ok "), hook.hook));
                show::line(paint.faint(format_args!("        {}", hook.when)));
            }
            Some(because) => {
                let because = Untrusted::text(because).to_string();
                show::line(format_args!("  {} {}  {because}", paint.bad("BAD"), hook.hook));
            }
        }
        for other in shown.others.iter().filter(|other| other.hook == hook.hook) {
            show::line(format_args!("        {}", beside(other)));
        }
    }
    let rest = shown.others.iter().filter(|other| !shown.hooks.iter().any(|hook| hook.hook == other.hook));
    for other in rest {
        show::line(format_args!("      {}  {}", Untrusted::text(&other.hook), beside(other)));
    }
    shown.configured.iter().for_each(in_configuration);
    match shown.last_event_at {
        Some(at) => show::line(format_args!("  the daemon last heard of it {}", clock::show(at))),
        None => show::line("  the daemon has not heard of it, or does not answer"),
    }
}

fn in_configuration(Configured { hook, run_by }: &Configured) {
    let text = |text: &str| Untrusted::text(text).to_string();
    let by: Vec<String> = run_by.iter().map(|git| text(&git.display().to_string())).collect();
    let by = match (hook.enabled, by.is_empty()) {
        (false, _) => "switched off".to_owned(),
        (true, true) => format!("run by no Git here: it takes {}", host::since()),
        (true, false) => format!("run by {}", by.join(", ")),
    };
    let whose = if hook.ours { "ours" } else { "somebody else's" };
    show::line(format_args!(
        "  hook.{} on {} in the {} configuration ({}): {whose}, {by}",
        text(&hook.name),
        text(&hook.events.join(", ")),
        text(&hook.scope),
        text(&hook.file.display().to_string())
    ));
}

fn beside(other: &Other) -> String {
    let tool = match other.tool {
        Tool::Unknown => other.tool.name().to_owned(),
        tool => format!("the hook of {}", tool.name()),
    };
    let runs = match other.runs {
        Runs::Before => "runs before ours",
        Runs::After => "runs after ours",
        Runs::Alone => "runs alone",
        Runs::Beside => "runs beside ours",
        Runs::Never => "is not run",
    };
    format!("{tool} {runs}: {}", Untrusted::text(&other.what.display().to_string()))
}
