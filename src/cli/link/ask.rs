//! Asking on a terminal; without one, what is missing is an error that names the flags.

use std::io::{IsTerminal, Write};

use crate::cli::hidden;

pub struct Ask {
    pub terminal: bool,
}

impl Ask {
    pub fn new() -> Ask {
        Ask { terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal() }
    }

    pub fn or_given(&self, given: Option<String>, what: &str) -> anyhow::Result<String> {
        match given {
            Some(text) => Ok(text),
            None => self
                .optional(what)?
                .ok_or_else(|| anyhow::anyhow!("what is missing: {what}; `agent link --help` shows the flags")),
        }
    }

    pub fn optional(&self, what: &str) -> anyhow::Result<Option<String>> {
        if !self.terminal {
            return Ok(None);
        }
        let _ = write!(std::io::stderr().lock(), "{what}: ");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        let text = line.trim().to_owned();
        Ok(if text.is_empty() { None } else { Some(text) })
    }

    /// Whether a person agrees; whoever says nothing does.
    pub fn agrees(&self, what: &str) -> anyhow::Result<bool> {
        let said = self.optional(&format!("{what} [Y/n]"))?;
        Ok(said.is_none_or(|said| said.to_lowercase().starts_with('y')))
    }

    pub fn secret(&self, what: &str, flags: &str) -> anyhow::Result<String> {
        anyhow::ensure!(self.terminal, "what is missing: {what}; give {flags}");
        Ok(hidden::ask(&format!("{what}: "))?)
    }
}
