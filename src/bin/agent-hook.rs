//! The hook of a push that asks the daemon first; see `receive::short`.

use std::process::ExitCode;

use git_jira_agent::config::Environment;
use git_jira_agent::receive::short;

fn main() -> ExitCode {
    short::run(std::env::args_os().collect(), &Environment::read())
}
