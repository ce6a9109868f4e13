//! `agent doctor --write-probe ISSUE`: finds out on a real issue how a site keeps the marks of what was done.

use std::io::{IsTerminal, Write};

use tokio::signal::unix::{SignalKind, signal};

use super::{Arguments, Finding, bad, good, site};
use crate::cli::{Context, Exit, admin, show};
use crate::clock;
use crate::config::Config;
use crate::queue::{Marked, OfSite, ReadBack, Way};
use crate::send::{Issue, Moves, Platform, Settings, Trial};
use crate::serve::Changed;
use crate::text::Untrusted;

pub fn run(issue: &str, arguments: &Arguments, context: &Context) -> anyhow::Result<Vec<Finding>> {
    let (config, places) = context.config()?;
    let settings = chosen(&config, issue, arguments.site.as_deref())?;
    let platform = Platform::new(settings, context.environment.credentials_directory.as_deref())?;
    // Who keeps what is found out is asked first: without it nothing needs to be written.
    let of = OfSite { site: settings.name.clone() };
    let _: Vec<ReadBack> = admin::get(&places, "/read-backs", &of).map_err(|error| Exit {
        code: 69,
        because: format!("nothing was written, because the daemon keeps what is found out: {error}"),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = Vec::new();
    let introduced = match runtime.block_on(platform.introduce(clock::now())) {
        Ok(introduced) => introduced,
        Err(obstacle) => return Ok(vec![site::refused(settings, &obstacle)]),
    };
    findings.push(good(format!("site {}: its account is {}", settings.name, introduced.person.shown())));
    let issue = match runtime.block_on(platform.issue(issue, clock::now())) {
        Ok(issue) => issue,
        Err(obstacle) => {
            let cure = "name an issue that the account may see, comment and log work on";
            findings.push(bad(format!("{issue}: {}", obstacle.because()), cure));
            return Ok(findings);
        }
    };
    consented(&issue, settings, &introduced.person.shown(), arguments.yes)?;
    let (trials, moves) = runtime.block_on(patiently(tried(&platform, &issue)))?;
    let found: Vec<ReadBack> = trials
        .iter()
        .filter_map(|trial| {
            let (site, way) = (settings.name.clone(), trial.way()?);
            Some(ReadBack { site, what: trial.what, way, since: 0 })
        })
        .collect();
    for trial in &trials {
        findings.extend(judged(trial, &issue, settings));
    }
    findings.push(history(moves, &issue));
    if !found.is_empty() {
        findings.push(match admin::post::<Changed>(&places, "/read-backs", &found) {
            Ok(_) => good("the daemon has it, and finds things again this way from now on".to_owned()),
            Err(error) => bad(format!("the daemon did not take it: {error}"), "run this again"),
        });
    }
    Ok(findings)
}

/// The site that is meant: the one named, the one whose project it is, or the only one with an account.
fn chosen<'a>(config: &'a Config, issue: &str, name: Option<&str>) -> anyhow::Result<&'a Settings> {
    if let Some(name) = name {
        let site = config.site.iter().find(|site| site.name == name);
        let site = site.ok_or_else(|| anyhow::anyhow!("there is no site called {name}"))?;
        anyhow::ensure!(site.account.is_some(), "site {name} has no account; `agent link --name {name}` adds one");
        return Ok(site);
    }
    let project = issue.rsplit_once('-').map(|(project, _)| project.to_uppercase());
    let acting: Vec<&Settings> = config.site.iter().filter(|site| site.account.is_some()).collect();
    let owns = |site: &&&Settings| project.as_ref().is_some_and(|project| site.projects.contains(project));
    let owners: Vec<&Settings> = acting.iter().filter(owns).copied().collect();
    match (&acting[..], &owners[..]) {
        ([], _) => anyhow::bail!("no site has an account to try with; `agent link` adds one"),
        ([only], _) | (_, [only]) => Ok(only),
        _ => anyhow::bail!("which site? there are several, so give --site"),
    }
}

/// Says what is about to be written, and goes on only when a person wants it.
fn consented(issue: &Issue, settings: &Settings, who: &str, yes: bool) -> anyhow::Result<()> {
    let inside = if issue.service_desk { ", the comment for the team alone" } else { "" };
    show::note(format_args!(
        "{} writes a comment and one minute of work to {} at {}{inside}, and deletes both. Watchers may get mail.",
        Untrusted::text(who),
        issue.key,
        settings.url
    ));
    if yes {
        return Ok(());
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    anyhow::ensure!(terminal, "nothing was written; --yes says that it may be");
    let _ = write!(std::io::stderr().lock(), "go on? [y/N] ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    anyhow::ensure!(line.trim().to_lowercase().starts_with('y'), "nothing was written");
    Ok(())
}

async fn tried(platform: &Platform, issue: &Issue) -> (Vec<Trial>, Result<Moves, String>) {
    let mut trials = Vec::new();
    for what in [Marked::Comment, Marked::Worklog] {
        trials.push(platform.try_marks(issue, what, clock::now()).await);
    }
    let moves = platform.moves(issue, clock::now()).await;
    (trials, moves.map_err(|obstacle| obstacle.because().to_owned()))
}

/// Lets work come to its end whoever wants us to stop: what was written has to be deleted.
async fn patiently<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = interrupt.recv() => show::note("a moment: what was written is deleted first"),
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

fn judged(trial: &Trial, issue: &Issue, settings: &Settings) -> Vec<Finding> {
    let what = match trial.what {
        Marked::Comment => "a comment",
        Marked::Worklog => "work",
    };
    let mut findings = Vec::new();
    if let Some(because) = &trial.failed {
        findings.push(bad(
            format!("{what} could not be tried on {}: {because}", issue.key),
            "give the account that permission there, or name another issue; what was known before stays",
        ));
    }
    for (way, result) in &trial.ways {
        let way = asked(*way);
        findings.push(match result {
            Ok(true) => good(format!("{what}: {way} shows the mark")),
            Ok(false) => good(format!("{what}: {way} does not show the mark")),
            Err(because) => bad(format!("{what}: {way} is not known: {because}"), "run this again"),
        });
    }
    match trial.way() {
        Some(way) => findings.push(good(site::shown(trial.what, way))),
        None if trial.failed.is_some() => {}
        None => findings.push(bad(
            format!("{what} could not be found again for sure, so what was known before stays"),
            "run this again; until then a command whose end nobody knows may wait for a person",
        )),
    }
    if let Some(left) = &trial.left {
        findings.push(bad(
            format!("{what} may be left on {}: {}", issue.key, left.because),
            &format!("delete it by hand: {}", address(trial.what, left.id.as_deref(), issue, settings)),
        ));
    }
    findings
}

fn asked(way: Way) -> &'static str {
    match way {
        Way::List => "the list with its properties",
        Way::Ids => "asking by ids",
        Way::Property => "asking for the property",
        Way::Text => "the text",
    }
}

/// Where a person finds what was left.
fn address(what: Marked, id: Option<&str>, issue: &Issue, settings: &Settings) -> String {
    let page = format!("{}/browse/{}", settings.url, issue.key);
    match (what, id) {
        (Marked::Comment, Some(id)) => format!("{page}?focusedCommentId={id}"),
        (Marked::Worklog, Some(id)) => format!("{page}?focusedWorklogId={id}"),
        (_, None) => page,
    }
}

/// What can be told of moves without making one.
fn history(moves: Result<Moves, String>, issue: &Issue) -> Finding {
    let key = &issue.key;
    match moves {
        Ok(Moves { marked: 0, unmarked: 0 }) => good(format!(
            "the history of {key} can be read; whether it keeps the mark of a move shows when the account moves an issue, which is not tried"
        )),
        Ok(Moves { marked: 0, unmarked }) => good(format!(
            "the history of {key} has {unmarked} moves by the account without a mark: where they were ours, this site keeps none, and a move whose end nobody knows waits for a person"
        )),
        Ok(Moves { marked, .. }) => good(format!("the history of {key} keeps the mark of a move ({marked} seen)")),
        Err(because) => bad(format!("the history of {key} cannot be read: {because}"), "the reason says what helps"),
    }
}
