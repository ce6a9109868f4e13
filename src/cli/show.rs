//! Printing for people and for programs. A reader that has gone away is no error.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::text::Untrusted;

pub fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

pub fn bytes(bytes: &[u8]) {
    let _ = std::io::stdout().lock().write_all(bytes);
}

pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Something to say that is not the result.
pub fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// An error with its causes, one a line.
pub fn error(error: &anyhow::Error) {
    note(format_args!("agent: {}", Untrusted::text(&error.to_string())));
    let mut said = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !said.contains(&text) {
            note(format_args!("  because {}", Untrusted::text(&text)));
        }
        said = text;
    }
}

/// Colours for a terminal, none elsewhere.
#[derive(Clone, Copy)]
pub struct Paint {
    on: bool,
}

impl Paint {
    pub fn new(no_color: bool) -> Paint {
        Paint { on: !no_color && std::io::stdout().is_terminal() }
    }

    pub fn good(self, text: impl std::fmt::Display) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: impl std::fmt::Display) -> String {
        self.with("31", text)
    }

    pub fn warn(self, text: impl std::fmt::Display) -> String {
        self.with("33", text)
    }

    pub fn strong(self, text: impl std::fmt::Display) -> String {
        self.with("1", text)
    }

    pub fn faint(self, text: impl std::fmt::Display) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: impl std::fmt::Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
