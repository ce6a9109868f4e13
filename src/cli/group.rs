//! `agent group`: who may do the same, by name or address.

use std::process::ExitCode;

use serde::Serialize;

use super::change::Change;
use super::{Context, admin, show};
use crate::config::{Config, Places};
use crate::people::Shown;
use crate::queue::{EffectFilter, EffectRow};
use crate::text::Untrusted;

#[derive(clap::Subcommand)]
pub enum Word {
    /// Show the groups and who is in them
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add people to a group, which is made where there is none
    #[command(after_help = EXAMPLES)]
    Add(Members),
    /// Take people out of a group; without any, the group itself
    Remove(Members),
}

const EXAMPLES: &str =
    "A member is the name of a [[person]], an address, a login or a user of one; login:NAME or unix:NAME for \
somebody who is in no [[person]]. An address that is nobody's yet is invited, and counts once it is somebody's.

  agent group add devs ada@example.com 'Grace Hopper'
  agent group remove devs ada@example.com";

#[derive(clap::Args)]
pub struct Members {
    /// The group
    group: String,
    /// Names, addresses, logins
    members: Vec<String>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// A group, shown.
#[derive(Serialize)]
struct Group {
    group: String,
    members: Vec<Shown>,
}

pub fn run(word: Word, context: &Context) -> anyhow::Result<ExitCode> {
    let path = context.config_path();
    let (members, change) = match word {
        Word::List { json } => return list(json, context),
        Word::Add(Members { group, members, dry_run }) => {
            let change = Change::of(&path, |edit| edit.join_group(&group, &members))?;
            ((dry_run, group), change)
        }
        Word::Remove(Members { group, members, dry_run }) if members.is_empty() => {
            ((dry_run, group.clone()), Change::of(&path, |edit| edit.remove_group(&group))?)
        }
        Word::Remove(Members { group, members, dry_run }) => {
            let change = Change::of(&path, |edit| edit.leave_group(&group, &members))?;
            ((dry_run, group), change)
        }
    };
    let (dry_run, name) = members;
    match (change.is_none(), dry_run) {
        (true, _) => show::line(format_args!("group {} is that way already", Untrusted::text(&name))),
        (false, true) => change.show(&path),
        (false, false) => {
            change.show(&path);
            change.write(&path, context)?;
        }
    }
    if !dry_run {
        let (config, places) = context.config()?;
        config.group.iter().filter(|group| group.name == name).try_for_each(|group| {
            say(&name, &look(&config, &places, &group.members)?);
            anyhow::Ok(())
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let group = |group: &crate::people::Group| {
        Ok(Group { group: group.name.clone(), members: look(&config, &places, &group.members)? })
    };
    let groups: Vec<Group> = config.group.iter().map(group).collect::<anyhow::Result<_>>()?;
    match json {
        true => show::json(&groups)?,
        false if groups.is_empty() => show::line("there are no groups yet: `agent group add NAME MEMBER` makes one"),
        false => groups.iter().for_each(|Group { group, members }| say(group, members)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Members on one line, each with what is known of them.
pub fn say(what: &str, members: &[Shown]) {
    let one = |Shown { member, state, person }: &Shown| {
        let other = person.as_deref().filter(|person| person != member);
        let is = other.map(|person| format!(" as {}", Untrusted::text(person))).unwrap_or_default();
        format!("{} ({state}{is})", Untrusted::text(member))
    };
    let members: Vec<String> = members.iter().map(one).collect();
    let members = if members.is_empty() { "nobody".to_owned() } else { members.join(", ") };
    show::line(format_args!("{}: {members}", Untrusted::text(what)));
}

/// Who these members are. An address is somebody's also when orders were given under it by somebody who was vouched for.
pub fn look(config: &Config, places: &Places, members: &[String]) -> anyhow::Result<Vec<Shown>> {
    let people = config.people().map_err(anyhow::Error::msg)?;
    let mut shown = people.show_members(members);
    for one in shown.iter_mut().filter(|one| one.state == "invited") {
        let filter = EffectFilter { pusher: Some(one.member.clone()), limit: Some(1), ..EffectFilter::default() };
        let orders: Vec<EffectRow> = admin::get(places, "/effects", &filter).unwrap_or_default();
        if !orders.is_empty() {
            one.state = "known";
        }
    }
    Ok(shown)
}
