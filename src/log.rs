//! What the program says of itself, to its standard error.
//!
//! Secrets that were loaded are taken out of every line. Writing never holds anything up: lines go
//! to a thread through a bounded channel, and what does not fit is counted and said later.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::secret;

/// Begins logging for the rest of the process.
pub fn start(format: LogFormat, filter: &str, journal: bool) -> Result<(), String> {
    let filter: Targets = filter.parse().map_err(|error| format!("log = {filter:?}: {error}"))?;
    let (sender, lines) = sync_channel(4096);
    let spawned = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&lines));
    spawned.map_err(|error| format!("cannot start the log's thread: {error}"))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines { sender }).with_ansi(false);
    let registry = Registry::default().with(filter);
    let started = match format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogFormat::Text => registry.with(lines.event_format(Sentence { journal })).try_init(),
    };
    started.map_err(|error| error.to_string())
}

/// How many lines did not fit and were left out.
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
struct Lines {
    sender: SyncSender<Vec<u8>>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { sender: &self.sender, bytes: Vec::with_capacity(256) }
    }
}

/// One event's line, sent off when it is complete.
struct Line<'a> {
    sender: &'a SyncSender<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = secret::without(std::mem::take(&mut self.bytes));
        if self.sender.try_send(line).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(lines: &Receiver<Vec<u8>>) {
    let mut said = 0;
    while let Ok(line) = lines.recv() {
        let mut out = std::io::stderr().lock();
        let _ = out.write_all(&line);
        let dropped = dropped();
        if dropped > said {
            let _ = writeln!(out, "{} lines of the log were left out because nobody read them", dropped - said);
            said = dropped;
        }
    }
}

/// One sentence a line; with systemd's priorities when the journal listens, with a time when it does not.
struct Sentence {
    journal: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Sentence {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let level = *event.metadata().level();
        match self.journal {
            true => write!(line, "<{}>", priority(level))?,
            false => write!(line, "{} {level:<5} ", crate::clock::show(crate::clock::now()))?,
        }
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
