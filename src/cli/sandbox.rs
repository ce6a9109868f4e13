//! `agent sandbox`: a Jira to try with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::show;
use crate::sandbox::{Sandbox, SeedIssue, SeedPerson, Settings};

#[derive(clap::Args)]
pub struct Arguments {
    /// Where to listen; only this machine can be
    #[arg(long, default_value = "127.0.0.1:8470")]
    listen: SocketAddr,
    /// Issues that exist: KEY or KEY=Summary; several are allowed
    #[arg(long = "issue", value_name = "KEY=SUMMARY")]
    issues: Vec<String>,
    /// People that have an account: NAME=EMAIL; their token and their password are NAME-token and NAME-password
    #[arg(long = "person", value_name = "NAME=EMAIL", default_values = ["agent=agent@example.org", "demo=demo@example.org"])]
    people: Vec<String>,
    /// A file that keeps what was told over restarts
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// The client id that is accepted
    #[arg(long, default_value = "sandbox-client")]
    client_id: String,
    /// The file with the secret that is accepted; default: the secret is `sandbox-secret`
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// The secret of a sandbox that was not given one; it protects nothing.
pub const SECRET: &str = "sandbox-secret";

pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client_secret = match &arguments.secret_file {
        Some(path) => std::fs::read_to_string(path)?.trim().to_owned(),
        None => SECRET.to_owned(),
    };
    let settings = Settings {
        listen: arguments.listen,
        client_id: arguments.client_id,
        client_secret,
        issues: arguments.issues.iter().map(|text| seed(text)).collect(),
        people: arguments.people.iter().map(|text| person(text)).collect(),
        store: arguments.store,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sandbox = Sandbox::start(settings).await?;
        show::line(format_args!("a Jira to try with: http://{}", sandbox.address));
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        sandbox.stop().await
    })?;
    Ok(ExitCode::SUCCESS)
}

pub fn seed(text: &str) -> SeedIssue {
    let (key, summary) = text.split_once('=').unwrap_or((text, "An issue to try with"));
    SeedIssue { key: key.to_owned(), summary: summary.to_owned(), status: "To Do".to_owned() }
}

fn person(text: &str) -> SeedPerson {
    let (name, email) = text.split_once('=').unwrap_or((text, ""));
    let mut letters = name.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    SeedPerson {
        name: name.to_owned(),
        email: Some(email.to_owned()),
        display_name: Some(first.chain(letters).collect()),
        token: Some(format!("{name}-token")),
        password: Some(format!("{name}-password")),
        ..SeedPerson::default()
    }
}
