//! `agent login` and `agent logout`: a person's own Jira account, in whose name their commands are carried out.
//!
//! A token comes from a prompt, a file or standard input, never from the command line. It goes to the daemon alone, which
//! asks Jira whose it is before it keeps it: for oneself through the hooks' socket, where the kernel says who asks; for
//! somebody else through the administrators' socket.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::{Context, Exit, admin, hidden, show};
use crate::clock;
use crate::config::{Config, Places};
use crate::intake::{Outcome, Reply, frame, socket};
use crate::login::{Request, Wish};
use crate::queue::LoginRow;
use crate::send::{Executor, Kind, Settings};
use crate::text::Untrusted;

#[derive(clap::Args)]
pub struct Login {
    /// The site; default: the only one where the agent carries out commands
    #[arg(long)]
    site: Option<String>,
    /// For administrators: link the account of this [[person]]
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// On Cloud: the mail address of the account whose API token it is
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// A file with the token; default: a prompt, or standard input without a terminal
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token is limited by scopes
    #[arg(long)]
    scoped: bool,
    /// For administrators: show who has linked which account
    #[arg(long, conflicts_with_all = ["person", "email", "token_file", "scoped"])]
    list: bool,
    /// Print JSON
    #[arg(long, requires = "list")]
    json: bool,
}

#[derive(clap::Args)]
pub struct Logout {
    /// The site; default: the only one where the agent carries out commands
    #[arg(long)]
    site: Option<String>,
    /// For administrators: unlink the account of this person, as `agent login --list` names them
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
}

/// How long Jira may take to say whose token it is.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most bytes of a token with its end.
const MOST: u64 = 8192;

pub fn login(arguments: Login, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    if arguments.list {
        let rows: Vec<LoginRow> = admin::get(&places, "/logins", &())?;
        let rows = rows.into_iter().filter(|row| arguments.site.as_ref().is_none_or(|site| *site == row.site));
        let rows: Vec<LoginRow> = rows.collect();
        if arguments.json {
            return show::json(&rows).map(|()| ExitCode::SUCCESS);
        }
        rows.iter().for_each(|row| show::line(one_line(row)));
        return Ok(ExitCode::SUCCESS);
    }
    let site = site(&config, arguments.site.as_deref())?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if terminal && arguments.token_file.is_none() {
        show::note(match site.kind {
            Kind::Cloud => "An API token is made at https://id.atlassian.com/manage-profile/security/api-tokens.",
            Kind::DataCenter => "In Jira: your picture -> Profile -> Personal Access Tokens -> Create token.",
        });
    }
    let email = match (site.kind, &arguments.email) {
        (Kind::Cloud, None) => Some(ask_email(terminal)?),
        (_, email) => email.clone(),
    };
    let token = token(&arguments, terminal)?;
    let wish = Wish::In { token, email, scoped: arguments.scoped };
    ask(&places, &Request { site: site.name.clone(), wish, person: arguments.person })
}

pub fn logout(arguments: Logout, context: &Context) -> anyhow::Result<ExitCode> {
    let (config, places) = context.config()?;
    // What was linked at a site that is gone can be unlinked all the same.
    let site = match arguments.site {
        Some(name) => name,
        None => site(&config, None)?.name.clone(),
    };
    ask(&places, &Request { site, wish: Wish::Out, person: arguments.person })
}

/// Whose accounts open nothing at the moment, as sentences; nothing where that cannot be asked.
pub fn refused(places: &Places) -> Vec<String> {
    let rows: Vec<LoginRow> = admin::get(places, "/logins", &()).unwrap_or_default();
    let sentence = |row: LoginRow| {
        let because = row.refusal?;
        Some(format!("commands of {} at site {} wait: {because}", row.holder, row.site))
    };
    rows.into_iter().filter_map(sentence).collect()
}

/// Asks the daemon, as an administrator where it is about somebody else.
fn ask(places: &Places, request: &Request) -> anyhow::Result<ExitCode> {
    let said: Vec<String> = match request.person {
        Some(_) => admin::post(places, "/login", request)?,
        None => {
            let frame = Zeroizing::new(frame::wrap_as(frame::LOGIN, &request.encode())?);
            let (reply, _) =
                socket::deliver::<Reply>(&places.socket, &frame, Instant::now() + PATIENCE).map_err(|error| {
                    let code = if matches!(error, socket::Error::Forbidden) { 77 } else { 69 };
                    Exit { code, because: format!("{error} ({})", places.socket.display()) }
                })?;
            match reply.outcome {
                Outcome::Stored => reply.notes,
                Outcome::Refused { because } | Outcome::Later { because } => anyhow::bail!("{because}"),
            }
        }
    };
    said.iter().for_each(|line| show::line(Untrusted::text(line)));
    Ok(ExitCode::SUCCESS)
}

fn site<'a>(config: &'a Config, name: Option<&str>) -> anyhow::Result<&'a Settings> {
    if let Some(name) = name {
        let found = config.site.iter().find(|site| site.name == name);
        return found.ok_or_else(|| anyhow::anyhow!("there is no site called {name}"));
    }
    let obeying: Vec<&Settings> = config.site.iter().filter(|site| site.executor == Executor::Agent).collect();
    match obeying[..] {
        [only] => Ok(only),
        [] => anyhow::bail!("at no site does the agent carry out commands (`executor = \"agent\"`)"),
        _ => {
            let names: Vec<&str> = obeying.iter().map(|site| site.name.as_str()).collect();
            anyhow::bail!("which site? --site names one of {}", names.join(", "))
        }
    }
}

fn ask_email(terminal: bool) -> anyhow::Result<String> {
    anyhow::ensure!(terminal, "what is missing: the mail address of the account; give --email");
    let _ = write!(std::io::stderr().lock(), "mail address of your Jira account: ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn token(arguments: &Login, terminal: bool) -> anyhow::Result<SecretString> {
    let mut text = Zeroizing::new(String::with_capacity(MOST as usize));
    match &arguments.token_file {
        Some(file) => {
            let opened = std::fs::File::open(file).and_then(|file| file.take(MOST).read_to_string(&mut text));
            opened.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        }
        None if terminal => *text = hidden::ask("token (not shown): ")?,
        None => drop(std::io::stdin().lock().take(MOST).read_to_string(&mut text)?),
    }
    let token = SecretString::from(text.trim());
    anyhow::ensure!(!token.expose_secret().is_empty(), "the token is empty");
    Ok(token)
}

fn one_line(row: &LoginRow) -> String {
    let used = row.used_at.map_or_else(|| "not used yet".to_owned(), |at| format!("used {}", clock::show(at)));
    let refusal = row.refusal.as_deref().map(|because| format!("  REFUSED: {}", Untrusted::text(because)));
    format!(
        "{:<10} {} is {} ({}) since {}, {used}{}",
        row.site,
        Untrusted::text(&row.holder),
        Untrusted::text(&row.name),
        Untrusted::text(&row.account),
        clock::show(row.since),
        refusal.unwrap_or_default()
    )
}
