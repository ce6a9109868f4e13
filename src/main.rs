use std::process::ExitCode;

fn main() -> ExitCode {
    git_jira_agent::cli::main()
}
