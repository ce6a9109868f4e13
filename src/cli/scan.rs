//! `agent scan`: what moved behind the hooks' back, found by the owner of repositories that the daemon may not read.
//!
//! The refs of each are compared with where they were at the last look, and what moved is handed over as a hook hands over a push:
//! to the daemon, else into the spool. Nobody is known to have pushed it, so nothing in it gives orders.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, show};
use crate::config::{Config, Places};
use crate::event::{Event, EventId, Kind, Origin, Seen};
use crate::git::{self, Budget, Commit, Repository, Scanned, Told, Update};
use crate::intake::{self, HandedOver, Outcome, Reply};
use crate::parse::Rules;
use crate::text::Untrusted;
use crate::{clock, host};

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  agent scan                      every repository of the accounts that is yours\n  \
                        agent scan main --dry-run       what it would tell of account main\n  \
                        agent scan /srv/git/tool.git    one repository"
)]
pub struct Arguments {
    /// Accounts by name, or repositories by path; default: all repositories of the accounts that belong to you
    #[arg(value_name = "ACCOUNT|PATH")]
    what: Vec<String>,
    /// Show what moved, and tell nobody
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of one repository.
#[derive(Serialize)]
struct Looked {
    repository: String,
    git_dir: String,
    /// Refs that moved since the last look, or since the hooks were put in.
    refs: usize,
    /// Commits among what moved that were not told before.
    commits: usize,
    /// Where it went: `daemon`, `spool`, or `nowhere` when nothing moved or it was only looked at.
    handed: Handed,
    /// What went wrong.
    because: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Handed {
    Nowhere,
    Daemon,
    Spool,
}

/// The most refs in one event, so that the last commit of each fits in.
const REFS: usize = 50;
/// The most bytes of commits in one event, which leaves room for its refs.
const BYTES: usize = intake::frame::LIMIT / 2;
/// The longest message that travels.
const MESSAGE: usize = 64 << 10;
/// The most files of a commit that Jira takes.
const FILES: usize = 10;
/// How long the daemon is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Numbers for the events of one comparison.
const EVENTS: i64 = 1 << 20;

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let git_dirs = chosen(&config, &arguments.what)?;
    let look = |git_dir: PathBuf| one(&git_dir, &config, &places, arguments.dry_run);
    let all: Vec<Looked> = git_dirs.into_iter().map(look).collect();
    if arguments.json {
        show::json(&all)?;
    } else {
        say(&all, arguments.dry_run);
    }
    Ok(if all.iter().any(|one| one.because.is_some()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The git directories that are meant.
fn chosen(config: &Config, what: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    if what.is_empty() {
        let own = rustix::process::geteuid();
        let mine =
            |path: &PathBuf| own.is_root() || std::fs::metadata(path).is_ok_and(|meta| meta.uid() == own.as_raw());
        let all = config.account.iter().flat_map(|account| config.repositories_of(account).repositories);
        return Ok(all.filter(mine).filter(|path| host::has_hooks(path)).collect());
    }
    let mut git_dirs = Vec::new();
    for word in what {
        match config.account.iter().find(|account| account.name == *word) {
            Some(account) => {
                let all = config.repositories_of(account).repositories.into_iter();
                git_dirs.extend(all.filter(|path| host::has_hooks(path)));
            }
            None => git_dirs.push(host::find_git_dir(Path::new(word)).map_err(|error| {
                anyhow::anyhow!("{word} is no account and no repository: {}", host::reason(&error))
            })?),
        }
    }
    Ok(git_dirs)
}

fn one(git_dir: &Path, config: &Config, places: &Places, dry_run: bool) -> Looked {
    let account = config.account_of(git_dir);
    let mut looked = Looked {
        repository: account.map_or_else(|| git_dir.display().to_string(), |account| account.repository_name(git_dir)),
        git_dir: git_dir.display().to_string(),
        refs: 0,
        commits: 0,
        handed: Handed::Nowhere,
        because: None,
    };
    if let Err(error) = scan(git_dir, config, places, dry_run, &mut looked) {
        looked.because = Some(format!("{error:#}"));
    }
    looked
}

fn scan(git_dir: &Path, config: &Config, places: &Places, dry_run: bool, looked: &mut Looked) -> anyhow::Result<()> {
    let unlinked = || config.keeps_out(git_dir).unwrap_or_else(|| "it lies in no account".to_owned());
    let link = config.link_of(git_dir).ok_or_else(|| anyhow::anyhow!(unlinked()))?;
    anyhow::ensure!(host::has_hooks(git_dir), "it has no hooks of ours; `agent install` puts them in");
    let repository = Repository::open(git_dir)?.hiding(link.account.hidden());
    // What a clone has is nobody's business until it is pushed, and of a push its hooks tell.
    anyhow::ensure!(!repository.is_clone(), "it is a clone: what was not pushed stays in it");
    let id = repository.id().ok_or_else(|| anyhow::anyhow!("it has no id; `agent install` gives it one"))?;
    let origin = Origin { id: id.to_owned(), git_dir: git_dir.as_os_str().as_bytes().to_vec() };
    let rules = config.rules(Some(link))?;
    let now = clock::now();
    let mut scanned = Scanned::of(&repository, now)?;
    scanned.settle(&repository)?;
    let told = Told::of(&repository);
    let known = told.known(&scanned.moved);
    let news: Vec<_> = scanned.moved.iter().filter_map(|update| update.new).collect();
    let walk = repository.walk(&news, &known, Budget { commits: usize::MAX, until: None })?;
    (looked.refs, looked.commits) = (scanned.moved.len(), walk.commits.len());
    if dry_run {
        return Ok(());
    }
    let commits = walk.commits.into_iter().map(|commit| seen(&repository, commit, &rules)).collect();
    for event in events(&repository, &origin, &scanned, commits, now) {
        let handed = intake::hand_over(&event, &places.socket, &places.spool, Instant::now() + PATIENCE)?;
        looked.handed = looked.handed.max(match handed {
            HandedOver::ToDaemon(Reply { outcome: Outcome::Stored, .. }, _) => Handed::Daemon,
            HandedOver::ToDaemon(
                Reply { outcome: Outcome::Refused { because } | Outcome::Later { because }, .. },
                _,
            ) => {
                anyhow::bail!("the daemon does not take it: {because}")
            }
            HandedOver::ToSpool { .. } => Handed::Spool,
        });
    }
    told.append(&scanned.moved)?;
    scanned.remember(&repository)?;
    // A hook that could not hand over left it: its refs have been looked at.
    let _ = std::fs::remove_file(git_dir.join("agent/dirty"));
    anyhow::ensure!(walk.missing == 0, "{} objects are missing, so not all commits could be read", walk.missing);
    Ok(())
}

/// A commit with its files where it names an issue.
fn seen(repository: &Repository, mut commit: Commit, rules: &Rules) -> Seen {
    let named = !rules.message(&commit.message).keys.is_empty();
    let files = if named { repository.files(&commit, FILES).ok() } else { None };
    let cut = commit.message.len() > MESSAGE;
    commit.message.truncate(MESSAGE);
    Seen { commit, files, cut }
}

/// What moved as events that fit into frames; the same comparison gives the same ones again.
fn events(repository: &Repository, origin: &Origin, scanned: &Scanned, commits: Vec<Seen>, at: i64) -> Vec<Event> {
    let mut portions: Vec<Vec<Seen>> = Vec::new();
    let mut room = 0;
    for seen in commits {
        let bytes = minicbor::to_vec(&seen).expect("writing to a vector cannot fail").len();
        if portions.is_empty() || bytes > room {
            portions.push(Vec::new());
            room = BYTES;
        }
        room = room.saturating_sub(bytes);
        portions.last_mut().expect("one was just put there").push(seen);
    }
    let mut refs: Vec<&[Update]> = scanned.moved.chunks(REFS).collect();
    let count = refs.len().max(portions.len());
    // What a branch says of its commits it says of all portions.
    let last = if refs.len() == 1 { refs[0] } else { &[] };
    refs.resize(count, last);
    portions.resize_with(count, Vec::new);
    let event = |(index, (updates, commits)): (usize, (&[Update], Vec<Seen>))| {
        let version = scanned.number.wrapping_mul(EVENTS).wrapping_add(i64::try_from(index).unwrap_or(i64::MAX));
        let branches = updates.iter().filter(|update| update.name.is_branch()).filter_map(|update| update.new);
        let unseen = branches.filter(|id| !commits.iter().any(|seen: &Seen| seen.commit.id == *id));
        let short = |mut commit: git::Commit| {
            commit.message.truncate(BYTES / REFS / 2);
            commit
        };
        let tips = unseen.filter_map(|id| repository.commit(id).ok()).map(short).collect();
        Event {
            id: EventId::of_differences(&origin.id, updates.iter().map(|update| (update, version))),
            kind: Kind::Found,
            at,
            repository: origin.clone(),
            updates: updates.to_vec(),
            commits,
            rest: false,
            claims: Vec::new(),
            push_options: Vec::new(),
            tips,
            overridden: Vec::new(),
        }
    };
    refs.into_iter().zip(portions).enumerate().map(event).collect()
}

fn say(all: &[Looked], dry_run: bool) {
    let moved = all.iter().filter(|one| one.refs > 0).count();
    show::line(format_args!("{} repositories were looked at, in {moved} of them refs have moved", all.len()));
    for one in all.iter().filter(|one| one.refs > 0 || one.because.is_some()) {
        let name = Untrusted::text(&one.repository);
        let fate = match (&one.because, one.handed, dry_run) {
            (Some(because), ..) => format!("not told: {}", Untrusted::text(because)),
            (None, _, true) => "told to nobody yet".to_owned(),
            (None, Handed::Spool, _) => "kept for Jira until the daemon is back".to_owned(),
            (None, ..) => "handed to the daemon".to_owned(),
        };
        show::line(format_args!("  {name}: {} refs, {} new commits: {fate}", one.refs, one.commits));
    }
}
