//! What went wrong, told by mail: to people what became of their orders, to operators what needs a person.
//!
//! A message is a page of plain text in UTF-8, handed to `sendmail` on its standard input, with the address in the
//! header and nowhere else. Whatever comes from messages, refs, names or Jira is made safe to show first, so it holds
//! no line break; in the header it is encoded as well, and an address that is not a plain one gets no mail.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use uuid::Uuid;

use crate::effect;
use crate::people::Person;
use crate::queue::EffectRow;
use crate::text::Untrusted;

/// Section `mail` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The program that takes messages, with its arguments, such as `/usr/sbin/sendmail`; `-i -t` is added, and no shell
    /// is asked. Default: none, and nobody is mailed.
    pub sendmail: Option<String>,
    /// The sender's address, without a name.
    pub from: Option<String>,
    /// The addresses of those who look after the daemon, told when something lasts that needs a person, and when it is over.
    pub operators: Vec<String>,
    /// How many minutes something may be owed to Jira before that needs a person. Default 60.
    pub queue_minutes: u64,
}

/// Where messages leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    program: String,
    arguments: Vec<String>,
    from: String,
}

/// A message that is ready to leave.
pub struct Letter {
    text: String,
}

/// Why a message did not leave.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{program} cannot be run: {error}")]
    Program { program: String, error: std::io::Error },
    #[error("{program} did not take it: {status}")]
    Refused { program: String, status: ExitStatus },
    #[error("{program} took more than {} s and was ended", within.as_secs())]
    Slow { program: String, within: Duration },
}

/// The search path of the program, which sees nothing else of our environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most orders that one message names.
const MOST: usize = 50;
/// The longest address, as the standard has it.
const ADDRESS: usize = 254;

impl Default for Settings {
    fn default() -> Self {
        Settings { sendmail: None, from: None, operators: Vec::new(), queue_minutes: 60 }
    }
}

impl Settings {
    /// How long something may be owed to Jira before that needs a person, in milliseconds.
    pub fn patience_ms(&self) -> u64 {
        self.queue_minutes.saturating_mul(60_000)
    }

    /// Where messages leave, if anywhere.
    pub fn post(&self) -> Result<Option<Post>, String> {
        if let Some(wrong) = self.operators.iter().find(|address| !is_plain(address)) {
            return Err(format!("`operators`: no plain address: {}", Untrusted::text(wrong)));
        }
        if self.sendmail.is_none() && !self.operators.is_empty() {
            return Err("`operators` are mailed by the program that `sendmail` names".to_owned());
        }
        let Some(sendmail) = &self.sendmail else { return Ok(None) };
        let mut words = sendmail.split_whitespace().map(str::to_owned);
        let Some(program) = words.next().filter(|program| program.starts_with('/')) else {
            return Err("`sendmail` has to begin with the whole path of a program".to_owned());
        };
        match self.from.as_deref() {
            Some(from) if is_plain(from) => {
                Ok(Some(Post { program, arguments: words.collect(), from: from.to_owned() }))
            }
            Some(from) => Err(format!("`from` is no plain address: {}", Untrusted::text(from))),
            None => Err("`from` has to name the sender's address".to_owned()),
        }
    }
}

impl Post {
    /// Writes to a person about orders that were not carried out; `None` where they have no address.
    pub fn letter(&self, person: &Person, rows: &[&EffectRow], now: i64) -> Option<Letter> {
        let address = person.emails.first().filter(|address| is_plain(address))?;
        let to = format!("{} <{address}>", encoded(&person.name));
        Some(self.page(to, &subject(rows), &body(person, rows), now))
    }

    /// Writes to an operator about what needs a person now, with its cure, and what is over.
    pub fn notice(&self, operator: &str, host: &str, begun: &[String], over: &[String], now: i64) -> Letter {
        let subject = match begun {
            [] => format!("git-jira-agent on {host}: over: {}", over.join(", ")),
            _ => format!("git-jira-agent on {host} needs somebody"),
        };
        let mut text = String::new();
        for (heading, lines) in [("This needs somebody:", begun), ("This is over:", over)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "{heading}\n");
                for line in lines {
                    let _ = writeln!(text, "  {line}");
                }
                text.push('\n');
            }
        }
        text.push_str("Nothing that was acknowledged is lost meanwhile. `agent status` shows how it is now.\n");
        self.page(format!("<{operator}>"), &subject, &text, now)
    }

    fn page(&self, to: String, subject: &str, body: &str, now: i64) -> Letter {
        let domain = self.from.rsplit('@').next().unwrap_or_default();
        let headers = [
            ("From", format!("git-jira-agent <{}>", self.from)),
            ("To", to),
            ("Subject", encoded(subject)),
            ("Date", date(now)),
            ("Message-ID", format!("<{}@{domain}>", Uuid::now_v7().simple())),
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("MIME-Version", "1.0".to_owned()),
            ("Content-Type", "text/plain; charset=utf-8".to_owned()),
            ("Content-Transfer-Encoding", "quoted-printable".to_owned()),
        ];
        let mut text = String::new();
        for (name, value) in headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        text.push('\n');
        text.push_str(&quoted(body));
        Letter { text }
    }

    /// Hands a message over; blocks for as long as the program takes, and ends one that takes longer than it may.
    pub fn send(&self, letter: &Letter, within: Duration) -> Result<(), Error> {
        let failed = |error| Error::Program { program: self.program.clone(), error };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(["-i", "-t"]).env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8");
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let mut stdin = child.stdin.take().expect("the child was started with a pipe");
        let bytes = letter.text.clone().into_bytes();
        // Never joined: a program that does not read is ended, and so is this.
        std::thread::Builder::new().spawn(move || drop(stdin.write_all(&bytes))).map_err(failed)?;
        match wait(&mut child, within).map_err(failed)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::Refused { program: self.program.clone(), status }),
            None => Err(Error::Slow { program: self.program.clone(), within }),
        }
    }
}

/// Waits for a child to end; one that is too slow is ended with all it has started.
fn wait(child: &mut Child, within: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + within;
    while Instant::now() < until {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait().map(|_| None)
}

fn subject(rows: &[&EffectRow]) -> String {
    match rows {
        [only] => format!("Jira: {} {} was not carried out", only.issue, only.command),
        _ => format!("Jira: {} commands were not carried out", rows.len()),
    }
}

fn body(person: &Person, rows: &[&EffectRow]) -> String {
    let mut text = format!(
        "{},\n\nthese commands of commits that you pushed were not carried out in Jira:\n\n",
        Untrusted::text(&person.name)
    );
    for row in rows.iter().take(MOST) {
        let commit: String = row.commit.chars().take(12).collect();
        let _ = writeln!(text, "  {}\n    in commit {commit}", Untrusted::text(&effect::fate(row)));
    }
    if rows.len() > MOST {
        let _ = writeln!(text, "  and {} more", rows.len() - MOST);
    }
    text.push_str(
        "\nWhat Jira refused, another commit may say in other words, or you do it in Jira.\nWhat waits for a person, an \
         administrator of the agent looks at with `agent effects`.\n",
    );
    text
}

/// Tells whether an address is a plain one that means just itself in a header.
fn is_plain(address: &str) -> bool {
    let local = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    address.len() <= ADDRESS
        && address.split_once('@').is_some_and(|(before, behind)| {
            !before.is_empty() && before.bytes().all(local) && !behind.is_empty() && behind.bytes().all(domain)
        })
}

fn date(now: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// Text as a header may hold it: encoded words of at most 75 characters, folded, unless it is a few plain words.
fn encoded(text: &str) -> String {
    let text = Untrusted::text(text).to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -".contains(&byte);
    if text.len() <= 60 && text.bytes().all(plain) && text.trim() == text && !text.is_empty() {
        return text;
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        let mut buffer = [0; 4];
        let coded = c.encode_utf8(&mut buffer).bytes().fold(String::new(), |coded, byte| match byte {
            b' ' => coded + "_",
            byte if byte.is_ascii_alphanumeric() => coded + char::from(byte).encode_utf8(&mut [0; 4]),
            byte => coded + &format!("={byte:02X}"),
        });
        // A character is never split between words.
        if words.last().is_some_and(|word| word.len() + coded.len() > 60) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push_str(&coded);
        }
    }
    let words: Vec<String> = words.into_iter().map(|word| format!("=?UTF-8?Q?{word}?=")).collect();
    words.join("\n ")
}

/// Text as quoted-printable, in lines of at most 76 characters.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + text.len() / 8);
    for line in text.lines() {
        let mut width = 0;
        for (at, byte) in line.bytes().enumerate() {
            let last = at + 1 == line.len();
            let coded = match byte {
                b' ' if !last => " ".to_owned(),
                b'!'..=b'<' | b'>'..=b'~' => char::from(byte).to_string(),
                byte => format!("={byte:02X}"),
            };
            if width + coded.len() > 75 {
                quoted.push_str("=\n");
                width = 0;
            }
            width += coded.len();
            quoted.push_str(&coded);
        }
        quoted.push('\n');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post() -> Post {
        let settings = Settings {
            sendmail: Some("/usr/sbin/sendmail -oem".to_owned()),
            from: Some("jira@example.org".to_owned()),
            ..Settings::default()
        };
        settings.post().unwrap().unwrap()
    }

    fn row(issue: &str, command: &str, note: &str) -> EffectRow {
        EffectRow {
            actor: String::new(),
            id: "k".to_owned(),
            site: "jira".to_owned(),
            repository: "r".to_owned(),
            issue: issue.to_owned(),
            issue_id: None,
            commit: "0123456789abcdef".to_owned(),
            command: command.to_owned(),
            author: String::new(),
            pusher: "ann".to_owned(),
            event: "e".to_owned(),
            state: "refused".to_owned(),
            refusal: Some("jira".to_owned()),
            note: Some(note.to_owned()),
            attempts: 1,
            probes: 0,
            remote_id: None,
            added_at: 1,
            ready_at: 1,
            settle_at: 1,
            settled_at: Some(1),
            body: Vec::new(),
        }
    }

    fn person(name: &str, email: &str) -> Person {
        Person { name: name.to_owned(), emails: vec![email.to_owned()], ..Person::default() }
    }

    fn letter(person: &Person, row: &EffectRow) -> String {
        post().letter(person, &[row], 1_772_357_400_000).unwrap().text
    }

    #[test]
    fn a_letter_is_plain_text_that_says_it_was_written_by_a_program() {
        let text =
            letter(&person("Ann Example", "ann@example.org"), &row("ABC-4", "#resolve", "there are Close, Reopen"));
        let (head, body) = text.split_once("\n\n").unwrap();
        for line in [
            "From: git-jira-agent <jira@example.org>",
            "To: Ann Example <ann@example.org>",
            "Date: Sun, 01 Mar 2026 09:30:00 +0000",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(head.lines().any(|found| found == line), "{line}: {head}");
        }
        assert!(body.contains("ABC-4 #resolve: refused by Jira: there are Close, Reopen"), "{body}");
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 78), "{text}");
    }

    #[test]
    fn r6_nothing_in_a_name_a_message_or_an_answer_becomes_a_header() {
        let evil = "x\r\nBcc: eve@example.org\n\n\u{202e}é";
        let text = letter(&person(evil, "ann@example.org"), &row("ABC-4", evil, evil));
        let (head, _) = text.split_once("\n\n").unwrap();
        let names: Vec<&str> = head.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(names.len(), 9, "{head}");
        assert!(!text.lines().any(|line| line.starts_with("Bcc")) && !text.contains('\r'), "{text}");
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn r6_an_address_that_is_not_a_plain_one_gets_no_mail() {
        for wrong in ["", "ann", "@x", "a@", "a@x\nBcc: e@x", "a@x,e@x", "Ann <a@x>", "a b@x", "a@x@y", "a\u{e9}@x"] {
            assert!(post().letter(&person("Ann", wrong), &[&row("ABC-1", "#close", "no")], 0).is_none(), "{wrong}");
        }
        assert!(post().letter(&Person::default(), &[&row("ABC-1", "#close", "no")], 0).is_none());
    }

    #[test]
    fn words_of_any_script_are_encoded_whole_in_short_lines() {
        assert_eq!(encoded("Ann-Marie X"), "Ann-Marie X");
        assert_eq!(encoded("é b"), "=?UTF-8?Q?=C3=A9_b?=");
        let long = encoded(&"修".repeat(40));
        assert!(long.lines().all(|line| line.len() <= 76 && line.trim().ends_with("?=")), "{long}");
        assert_eq!(long.matches("=E4=BF=AE").count(), 40);
        assert_eq!(quoted("a=é \nb"), "a=3D=C3=A9=20\nb\n");
        assert!(quoted(&"é".repeat(200)).lines().all(|line| line.len() <= 76));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_it_started_and_one_that_does_not_read_may_be_content() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("sendmail");
        let letter = Letter { text: "x".repeat(1 << 20) };
        let sent = |script: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let post = Post { program: program.display().to_string(), ..post() };
            post.send(&letter, Duration::from_secs(1))
        };
        let pid = folder.path().join("pid");
        assert!(matches!(sent(&format!("sleep 600 & echo $! > {}; wait", pid.display())), Err(Error::Slow { .. })));
        let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let is_gone = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        let began = Instant::now();
        while !is_gone() {
            assert!(began.elapsed() < Duration::from_secs(10), "process {pid} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(sent("exit 0").is_ok());
        assert!(matches!(sent("exit 75"), Err(Error::Refused { .. })));
        let nobody = Post { program: "/nowhere/sendmail".to_owned(), ..post() };
        assert!(matches!(nobody.send(&letter, Duration::from_secs(1)), Err(Error::Program { .. })));
    }

    #[test]
    fn f75_what_is_wrong_in_the_section_is_told() {
        let wrong = |sendmail: &str, from: Option<&str>| {
            let from = from.map(str::to_owned);
            Settings { sendmail: Some(sendmail.to_owned()), from, ..Settings::default() }.post().unwrap_err()
        };
        assert!(wrong("sendmail", Some("a@x")).contains("whole path"));
        assert!(wrong("/bin/s", None).contains("`from` has to name"));
        assert!(wrong("/bin/s", Some("a@x\nBcc: e@x")).contains("no plain address: a@x\\x0a"));
        assert_eq!(Settings::default().post(), Ok(None));
    }
}
