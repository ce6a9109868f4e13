//! `agent effects`: the ledger of commands, who gave them, and what became of each.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::{Context, admin, show};
use crate::people::{Evidence, People, Pusher};
use crate::queue::{AuditRow, EffectFilter, EffectRow, Retry, Verified};
use crate::serve::{Changed, Chosen, Key, Person, Retried};
use crate::text::Untrusted;
use crate::{clock, effect, people};

#[derive(clap::Subcommand)]
pub enum Word {
    /// List commands and how each stands
    List {
        #[command(flatten)]
        which: Which,
        /// What the next push would tell: outcomes that you, or whoever --pusher names, were not told with a push
        #[arg(long, conflicts_with_all = ["site", "key", "commit", "state", "id"])]
        since_last_push: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one command whole, with every decision about it
    Show {
        /// Its id, or the beginning
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Try again what is parked or what Jira refused; it is looked for before it is sent
    Retry {
        #[command(flatten)]
        which: Which,
        /// You have looked, and it is not in Jira: send it
        #[arg(long)]
        insist: bool,
    },
    /// Say that something is done, so that it is never sent
    Done(Which),
    /// Check that no decision was taken out of the record or changed in it
    Audit,
}

#[derive(clap::Args)]
pub struct Which {
    /// Only at this site
    #[arg(long)]
    site: Option<String>,
    /// Only on this issue
    #[arg(long)]
    key: Option<String>,
    /// Only of this commit: its id, or the beginning
    #[arg(long)]
    commit: Option<String>,
    /// Only of whoever pushed under this login
    #[arg(long)]
    pusher: Option<String>,
    /// Only in this state: planned, ready, intent, unknown, probing, settled, refused or parked
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only this one: its id, or the beginning
    id: Option<String>,
}

impl Which {
    fn filter(self) -> EffectFilter {
        EffectFilter {
            site: self.site,
            repository: None,
            id: self.id,
            issue: self.key.map(|key| key.to_uppercase()),
            commit: self.commit,
            pusher: self.pusher,
            state: self.state,
            limit: Some(self.limit),
        }
    }

    /// Whether it names anything: to act on everything has to be meant.
    fn is_named(&self) -> bool {
        [&self.site, &self.key, &self.commit, &self.pusher, &self.state, &self.id].iter().any(|one| one.is_some())
    }
}

pub fn run(word: Word, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    match word {
        Word::List { which, since_last_push: true, json } => {
            let people = config.people().map_err(anyhow::Error::msg)?;
            let mut rows: Vec<EffectRow> = Vec::new();
            for person in persons(&people, which.pusher) {
                rows.extend(admin::get::<Vec<EffectRow>>(&places, "/effects/news", &Person { person })?);
            }
            if json {
                return show::json(&rows).map(|()| ExitCode::SUCCESS);
            }
            rows.iter().for_each(|row| show::line(Untrusted::text(&effect::fate(row))));
        }
        Word::List { which, json, .. } => {
            let rows: Vec<EffectRow> = admin::get(&places, "/effects", &which.filter())?;
            if json {
                return show::json(&rows).map(|()| ExitCode::SUCCESS);
            }
            rows.iter().for_each(|row| show::line(one_line(row)));
        }
        Word::Show { id, json } => {
            let filter = EffectFilter { id: Some(id.clone()), ..EffectFilter::default() };
            let rows: Vec<EffectRow> = admin::get(&places, "/effects", &filter)?;
            anyhow::ensure!(!rows.is_empty(), "no command has the id {id}");
            if json {
                return show::json(&rows).map(|()| ExitCode::SUCCESS);
            }
            for row in rows {
                whole(&row);
                let decisions: Vec<AuditRow> = admin::get(&places, "/effects/audit", &Key { key: row.id })?;
                decisions.iter().for_each(|decision| show::line(decided(decision)));
            }
        }
        Word::Retry { which, insist } => {
            anyhow::ensure!(which.is_named(), "name what to try again, such as an id or --key");
            let how = if insist { Retry::Insist } else { Retry::Look };
            let asked = Retried { chosen: chosen(which), how };
            let Changed { changed } = admin::post(&places, "/effects/retry", &asked)?;
            show::line(format_args!("{changed} are tried again"));
        }
        Word::Done(which) => {
            anyhow::ensure!(which.is_named(), "name what is done, such as an id or --key");
            let Changed { changed } = admin::post(&places, "/effects/done", &chosen(which))?;
            show::line(format_args!("{changed} are done, as you say"));
        }
        Word::Audit => {
            let verified: Verified = admin::get(&places, "/effects/verify", &())?;
            if let Some(at) = verified.broken_at {
                show::line(format_args!("the record is broken at entry {at} of {}", verified.entries));
                return Ok(ExitCode::FAILURE);
            }
            show::line(format_args!("{} entries, whole; the last one is {}", verified.entries, verified.head));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Who is told of the orders of a login, or of those of whoever asks, who is a user of this machine.
fn persons(people: &People, login: Option<String>) -> BTreeSet<String> {
    let worlds = match login {
        Some(_) => &[Evidence::Peer, Evidence::Host, Evidence::Key, Evidence::Certificate][..],
        None => &[Evidence::Peer],
    };
    let login = login.unwrap_or_else(|| people::user(rustix::process::getuid().as_raw()));
    worlds.iter().map(|by| people.holder(&Pusher { login: login.clone(), by: *by })).collect()
}

/// The record of decisions names who made this one.
fn chosen(which: Which) -> Chosen {
    Chosen { filter: which.filter(), who: people::user(rustix::process::getuid().as_raw()) }
}

fn one_line(row: &EffectRow) -> String {
    let (id, commit) = (short(&row.id), short(&row.commit));
    let note = row.note.as_deref().map(|note| format!("  {}", Untrusted::text(note))).unwrap_or_default();
    let command = Untrusted::text(&row.command).to_string();
    format!("{:<8} {id} {:<10} {command:<18} {commit} {}{note}", row.state, row.issue, Untrusted::text(&row.pusher))
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

fn whole(row: &EffectRow) {
    show::line(format_args!("{} {} {}", row.issue, Untrusted::text(&row.command), row.id));
    show::line(format_args!("  site        {}", row.site));
    show::line(format_args!("  commit      {} by {}", row.commit, Untrusted::text(&row.author)));
    let pusher = if row.pusher.is_empty() { "nobody knows" } else { &row.pusher };
    show::line(format_args!("  pushed by   {}", Untrusted::text(pusher)));
    if !row.actor.is_empty() {
        show::line(format_args!("  acts as     {}", Untrusted::text(&row.actor)));
    }
    show::line(format_args!("  state       {} after {} tries", row.state, row.attempts));
    if let Some(remote) = &row.remote_id {
        show::line(format_args!("  in Jira     {}", Untrusted::text(remote)));
    }
    if let Some(note) = &row.note {
        show::line(format_args!("  note        {}", Untrusted::text(note)));
    }
}

fn decided(decision: &AuditRow) -> String {
    let because = Some(&decision.because).filter(|text| !text.is_empty());
    let because = because.map(|text| format!(": {}", Untrusted::text(text))).unwrap_or_default();
    format!("  {} {}{because}", clock::show(decision.at), decision.what)
}
