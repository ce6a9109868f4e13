//! `agent why`: the way of a commit, an issue or a branch, from Git to Jira.

use std::path::Path;
use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;
use serde::Serialize;

use super::{Context, admin, here, show};
use crate::clock;
use crate::config::Config;
use crate::entity::{branch_id, branch_name};
use crate::host;
use crate::parse::IssueKey;
use crate::queue::{CorrectionRow, EffectRow, EntityRow};
use crate::serve::{Why, WhyEvent};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Arguments {
    /// A commit (its id or the beginning), an issue key, or a branch
    #[arg(add = ArgValueCompleter::new(here::keys_like))]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct What<'a> {
    what: &'a str,
}

pub fn run(arguments: &Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let mut why: Why = admin::get(&places, "/why", &What { what: &arguments.what })?;
    if is_empty(&why) {
        why = admin::get(&places, "/why", &What { what: &branch_id(arguments.what.as_bytes()) })?;
    }
    if arguments.json {
        show::json(&why)?;
    } else {
        tell(&why, &arguments.what);
        unlinked(&config, &arguments.what).iter().for_each(|because| show::line(format_args!("  {because}")));
    }
    Ok(if is_empty(&why) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn is_empty(why: &Why) -> bool {
    why.entities.is_empty() && why.effects.is_empty() && why.corrections.is_empty() && why.moved.is_empty()
}

/// Which accounts would link no such key, and why the repository that we are in is not linked.
fn unlinked(config: &Config, what: &str) -> Vec<String> {
    let key: Option<IssueKey> = what.parse().ok();
    let by_keys = config.account.iter().filter_map(|account| {
        let project = key.as_ref()?.project();
        let lacks = !account.keys.is_empty() && !account.keys.iter().any(|one| one.eq_ignore_ascii_case(project));
        lacks.then(|| format!("account {} links only {}", account.name, account.keys.join(", ")))
    });
    let here = host::find_git_dir(Path::new(".")).ok().and_then(|git_dir| config.keeps_out(&git_dir));
    by_keys.chain(here).map(|because| Untrusted::text(&because).to_string()).collect()
}

fn tell(why: &Why, what: &str) {
    if is_empty(why) {
        show::line(format_args!(
            "Jira was never owed anything about {}: no event named it with an issue key",
            Untrusted::text(what)
        ));
        show::line(
            "  `agent parse COMMIT` shows which keys its message holds; `agent queue events` lists what hooks handed over",
        );
    }
    for moved in &why.moved {
        show::line(format_args!("{} has moved, it is {} now at site {}", moved.old, moved.present, moved.site));
    }
    for entity in &why.entities {
        show::line(format_args!("{} {}", entity.kind, name(&entity.kind, &entity.id)));
        if let Some(event) = why.events.iter().find(|event| event.row.id == entity.event) {
            came(event);
        }
        show::line(format_args!("  keys      {}", entity.keys.join(", ")));
        let its = |row: &&CorrectionRow| row.repository == entity.repository && row.id == entity.id;
        if let Some(row) = why.corrections.iter().find(its) {
            show::line(format_args!("  put right {}", put_right(row)));
        }
        show::line(format_args!(
            "  queued    {} for site {} as number {}",
            clock::show(entity.added_at),
            entity.site,
            entity.sequence
        ));
        show::line(format_args!("  Jira      {}", fate(entity)));
        if let Some(orders) = entity.orders() {
            show::line(format_args!("  orders    {orders}"));
        }
    }
    let is_owed = |row: &CorrectionRow| {
        why.entities.iter().any(|entity| entity.repository == row.repository && entity.id == row.id)
    };
    for row in why.corrections.iter().filter(|row| !is_owed(row)) {
        show::line(format_args!("{} {}", row.kind, name(&row.kind, &row.id)));
        show::line(format_args!("  in        {}", Untrusted::text(&row.path)));
        show::line(format_args!("  put right {}", put_right(row)));
        show::line("  Jira      is owed nothing about it");
    }
    why.effects.iter().for_each(ordered);
}

/// How a person has linked it, and who.
fn put_right(row: &CorrectionRow) -> String {
    format!("{}, by {} at {}", row.shown(), Untrusted::text(&row.who), clock::show(row.at))
}

/// One order of a commit, from whoever gave it to what Jira answered.
fn ordered(row: &EffectRow) {
    show::line(format_args!("order {} {}", row.issue, Untrusted::text(&row.command)));
    show::line(format_args!("  effect    {}", row.id));
    show::line(format_args!("  commit    {} by {}", row.commit, Untrusted::text(&row.author)));
    let pusher = if row.pusher.is_empty() { "nobody knows whom" } else { &row.pusher };
    show::line(format_args!("  pushed    by {} at {}", Untrusted::text(pusher), clock::show(row.added_at)));
    let at = row.settled_at.map(|at| format!(" since {}", clock::show(at))).unwrap_or_default();
    let because = row.note.as_deref().map(|note| format!(": {}", Untrusted::text(note))).unwrap_or_default();
    show::line(format_args!("  state     {}{at}, sent {} times{because}", row.state, row.attempts));
    if let Some(remote) = &row.remote_id {
        show::line(format_args!("  in Jira   {}", Untrusted::text(remote)));
    }
}

/// A branch by its name, everything else by its id.
fn name(kind: &str, id: &str) -> String {
    match branch_name(id).filter(|_| kind == "branch") {
        Some(name) => Untrusted(&name).to_string(),
        None => id.to_owned(),
    }
}

fn came(event: &WhyEvent) {
    let how = if event.row.kind == "found" { "found by comparing refs" } else { "pushed" };
    show::line(format_args!(
        "  event     {} {how} at {} by user {}",
        event.row.id,
        clock::show(event.at),
        event.row.uid
    ));
    show::line(format_args!("  in        {}", Untrusted::text(&event.path)));
    for update in event.updates.iter().take(5) {
        show::line(format_args!("  moved     {update}"));
    }
}

fn fate(entity: &EntityRow) -> String {
    let note = entity.note.as_deref().map(|note| format!(": {}", Untrusted::text(note))).unwrap_or_default();
    let now = clock::now();
    match (entity.state.as_str(), entity.settled_at) {
        ("settled", Some(at)) if entity.gone => format!("was told to forget it at {}{note}", clock::show(at)),
        (_, _) if entity.gone && entity.state == "ready" => format!("is told to forget it{note}"),
        ("settled", Some(at)) => {
            format!("has it since {} (after {}){note}", clock::show(at), clock::span(at - entity.added_at))
        }
        ("parked", _) => format!("does not take it; waits for a person{note}"),
        (_, _) if entity.ready_at > now => format!("is told again in {}{note}", clock::span(entity.ready_at - now)),
        _ => format!("is told next{note}"),
    }
}
