//! `agent status`: one screen, and what to do about it.

use std::process::ExitCode;

use super::{Context, admin, show};
use crate::clock;
use crate::queue::SiteCounts;
use crate::send::ACCOUNT_ONLY;
use crate::serve::needs::{Need, needs};
use crate::serve::{SiteState, Status};
use crate::text::Untrusted;

use show::Paint;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    let status: Status = admin::get(&places, "/status", &())?;
    let needs = needs(&status, config.mail.patience_ms());
    if arguments.json {
        show::json(&status)?;
        return Ok(code(&needs));
    }
    let paint = Paint::new(context.environment.no_color);
    head(&status, paint);
    for (name, site) in &status.running.sites {
        let counts = status.queue.sites.iter().find(|counts| counts.site == *name);
        site_lines(name, site, counts, paint);
    }
    for account in &config.account {
        let is_its = |path: &str| config.account_of(path.as_ref()).is_some_and(|found| found.name == account.name);
        let count = status.repositories.iter().filter(|repository| is_its(&repository.path)).count();
        let site = config.site_of(account).map_or("no site", |site| &site.name);
        show::line(format_args!(
            "account {} ({}) -> {site}: {count} repositories have sent events",
            account.name,
            account.place()
        ));
        if account.served {
            show::line("  the server tells Jira of pushes: clones of it forward nothing");
        }
        let state = status.running.accounts.get(&account.name);
        for copy in state.into_iter().flat_map(|state| &state.copies) {
            let copy = Untrusted::text(copy);
            let cure = format!("`agent account cover {}` by its owner gives it its own", account.name);
            show::line(paint.warn(format_args!("  {copy}; {cure}")));
        }
        if let Some(state) = state.filter(|state| state.uncovered > 0) {
            let because = state.because.first().map(String::as_str).unwrap_or_default();
            show::line(paint.warn(format_args!(
                "  {} without hooks, which the daemon cannot put in: {}; `agent account cover {}` by their owner does",
                state.uncovered,
                Untrusted::text(because),
                account.name
            )));
        }
    }
    for effects in &status.effects {
        let waiting = effects.planned + effects.ready + effects.in_flight + effects.unknown;
        show::line(format_args!(
            "commands for site {}: {} done, {waiting} waiting, {} refused, {} parked",
            effects.site, effects.settled, effects.refused, effects.parked
        ));
    }
    for repository in status.repositories.iter().filter(|repository| repository.trouble.is_some()).take(10) {
        let trouble = repository.trouble.as_deref().unwrap_or_default();
        show::line(paint.warn(format_args!(
            "repository {}: {}",
            Untrusted::text(&repository.path),
            Untrusted::text(trouble)
        )));
    }
    for run in status.runs.iter().take(10) {
        let line = super::sync::one_line(run);
        show::line(if run.errors > 0 { paint.warn(line) } else { line });
    }
    advice(&status, &needs, paint);
    Ok(code(&needs))
}

fn head(status: &Status, paint: Paint) {
    let running = &status.running;
    let now = clock::now();
    let since = clock::span(now - running.started_at);
    show::line(format_args!("daemon {} runs as process {} since {since}", running.version, running.pid));
    match &running.not_ready {
        Some(because) => show::line(paint.bad(format_args!("  takes no events: {because}"))),
        None => show::line(paint.good("  takes events")),
    }
    let queue = &status.queue;
    let oldest =
        queue.oldest_ms.map(|ms| format!(", the oldest for {}", clock::span(ms.cast_signed()))).unwrap_or_default();
    show::line(format_args!("  {} events to be read{oldest}; {} intents open", queue.events_queued, queue.intents));
    if running.spool.incoming + running.spool.corrupt > 0 {
        show::line(paint.warn(format_args!(
            "  spool: {} to be picked up, {} corrupt",
            running.spool.incoming, running.spool.corrupt
        )));
    }
    if running.begun_again > 0 {
        show::line(paint.warn(format_args!(
            "  {} times a part of it failed and was begun again: its log says why",
            running.begun_again
        )));
    }
    if let Some(because) = &running.config_error {
        show::line(paint.bad(format_args!("  runs with the configuration from before: {because}")));
    }
}

fn site_lines(name: &str, site: &SiteState, counts: Option<&SiteCounts>, paint: Paint) {
    show::line(format_args!("site {} {}", paint.strong(name), site.url));
    match &site.resting {
        Some(rest) => {
            let until = rest.until.map_or("until its secret or the configuration changes".to_owned(), |at| {
                format!("until {}", clock::show(at))
            });
            show::line(paint.bad(format_args!("  rests {until}: {}", Untrusted::text(&rest.because))));
        }
        None if site.account_only => show::line(paint.good(format_args!("  {ACCOUNT_ONLY}"))),
        None => show::line(paint.good("  is told")),
    }
    if let Some(rest) = &site.account_resting {
        let because = Untrusted::text(&rest.because);
        show::line(paint.bad(format_args!("  carries out no commands at the moment: {because}")));
    }
    for (person, rest) in &site.people_resting {
        let (person, because) = (Untrusted::text(person), Untrusted::text(&rest.because));
        show::line(paint.bad(format_args!("  commands of {person} wait: {because}")));
    }
    let none = SiteCounts::default();
    let counts = counts.unwrap_or(&none);
    show::line(format_args!(
        "  {} told, {} due, {} wait for a key, {} parked",
        counts.settled, counts.ready, counts.unknown, counts.parked
    ));
    let mut latency = site.recent_latency_ms.clone();
    latency.sort_unstable();
    if let (Some(middle), Some(last)) = (latency.get(latency.len() / 2), latency.last()) {
        show::line(paint.faint(format_args!(
            "  from event to accepted: {middle} ms in the middle, {last} ms at most, of the last {}",
            latency.len()
        )));
    }
}

fn advice(status: &Status, needs: &[Need], paint: Paint) {
    for need in needs {
        show::line(paint.warn(format_args!("{}: {}", need.says, need.cure)));
    }
    if status.running.sites.is_empty() {
        show::line("no Jira is linked yet: `agent link` does that");
    }
}

/// 0 when all is well, 1 when somebody should look.
fn code(needs: &[Need]) -> ExitCode {
    if needs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
