//! `agent queue`: what Jira is owed.

use std::process::ExitCode;

use super::{Context, admin, show};
use crate::clock;
use crate::queue::{EntityRow, EventRow, Filter};
use crate::serve::Changed;
use crate::text::Untrusted;

#[derive(clap::Subcommand)]
pub enum Word {
    /// List entities: what is due, waits for a key, is parked, or was told
    List {
        #[command(flatten)]
        which: Which,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one entity whole
    Show {
        /// A commit's or branch's id, or its beginning
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List events as hooks handed them over
    Events {
        /// queued, done or dead
        #[arg(long)]
        state: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try again at once what is waiting or parked
    Retry(Which),
    /// Give up what is not settled yet; it stays visible as dropped
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do it without a filter as well
        #[arg(long)]
        all: bool,
    },
}

#[derive(clap::Args)]
pub struct Which {
    /// Only of this site
    #[arg(long)]
    site: Option<String>,
    /// Only of this repository (its id)
    #[arg(long)]
    repository: Option<String>,
    /// Only with this issue key
    #[arg(long)]
    key: Option<String>,
    /// Only in this state: ready, unknown, parked or settled
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only this entity: its id, or the beginning
    id: Option<String>,
}

impl Which {
    fn filter(self) -> Filter {
        let key = self.key.map(|key| key.to_uppercase());
        Filter {
            site: self.site,
            repository: self.repository,
            id: self.id,
            key,
            state: self.state,
            limit: Some(self.limit),
        }
    }
}

pub fn run(word: Word, context: &Context) -> anyhow::Result<ExitCode> {
    let (_, places) = context.config()?;
    match word {
        Word::List { which, json } => {
            let rows: Vec<EntityRow> = admin::get(&places, "/queue", &which.filter())?;
            if json {
                return show::json(&rows).map(|()| ExitCode::SUCCESS);
            }
            rows.iter().for_each(|row| show::line(one_line(row)));
        }
        Word::Show { id, json } => {
            let filter = Filter { id: Some(id.clone()), ..Filter::default() };
            let rows: Vec<EntityRow> = admin::get(&places, "/queue", &filter)?;
            anyhow::ensure!(!rows.is_empty(), "nothing in the queue has the id {id}");
            if json {
                return show::json(&rows).map(|()| ExitCode::SUCCESS);
            }
            rows.iter().for_each(whole);
        }
        Word::Events { state, json } => {
            let filter = Filter { state, limit: Some(100), ..Filter::default() };
            let rows: Vec<EventRow> = admin::get(&places, "/events", &filter)?;
            if json {
                return show::json(&rows).map(|()| ExitCode::SUCCESS);
            }
            rows.iter().for_each(event_line);
        }
        Word::Retry(which) => {
            let Changed { changed } = admin::post(&places, "/queue/retry", &which.filter())?;
            show::line(format_args!("{changed} are tried again now"));
        }
        Word::Drop { which, all } => {
            let filter = which.filter();
            let named = filter.site.is_some()
                || filter.repository.is_some()
                || filter.key.is_some()
                || filter.state.is_some()
                || filter.id.is_some();
            anyhow::ensure!(named || all, "name what to give up, or say --all");
            let Changed { changed } = admin::post(&places, "/queue/drop", &filter)?;
            show::line(format_args!("{changed} were given up"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn one_line(row: &EntityRow) -> String {
    let id: String = row.id.chars().take(16).collect();
    let state = if row.state == "ready" && row.unknown > 0 { "unknown" } else { &row.state };
    let note = row.note.as_deref().map(|note| format!("  {}", Untrusted::text(note))).unwrap_or_default();
    format!("{state:<8} {:<10} {id:<16} {:<14} {}{note}", row.kind, row.keys.join(","), clock::show(row.added_at))
}

fn whole(row: &EntityRow) {
    show::line(format_args!("{} {}", row.kind, row.id));
    show::line(format_args!("  site        {}", row.site));
    show::line(format_args!("  repository  {}", row.repository));
    show::line(format_args!("  keys        {}", row.keys.join(", ")));
    show::line(format_args!("  state       {} ({}, number {})", row.state, row.class, row.sequence));
    show::line(format_args!("  added       {} by event {}", clock::show(row.added_at), row.event));
    match row.settled_at {
        Some(at) => show::line(format_args!("  settled     {}", clock::show(at))),
        None => show::line(format_args!("  due         {} after {} tries", clock::show(row.ready_at), row.attempts)),
    }
    if row.gone {
        show::line("  Jira        is to forget it");
    }
    if let Some(orders) = row.orders() {
        show::line(format_args!("  orders      {orders}"));
    }
    if let Some(note) = &row.note {
        show::line(format_args!("  note        {}", Untrusted::text(note)));
    }
}

fn event_line(row: &EventRow) {
    let note = row.note.as_deref().map(|note| format!("  {}", Untrusted::text(note))).unwrap_or_default();
    show::line(format_args!(
        "{:<6} {:<5} {} {} user {}{note}",
        row.state,
        row.kind,
        row.id,
        clock::show(row.received_at),
        row.uid
    ));
}
