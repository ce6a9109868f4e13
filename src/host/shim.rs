//! The few lines of shell that git runs, and the hook they stand in front of.
//!
//! Git runs the shim, the shim becomes the agent, and the agent, when it has done its part, runs the hook that
//! was there before and exits with that hook's status. A shim can be read back: rendering what was read gives
//! the same bytes exactly when nobody edited it.
//!
//! Where nothing was there before and `agent-hook` is installed beside the agent, no shell is needed: that program does what a
//! shim does, and begins in a fifth of the time. A copy of it stands in the hook's place, which ends with the lines by which a
//! shim is read back; not a link, because whoever writes a hook of their own there would write through it. Without that
//! program `post-receive`, of which Git ignores how it ends, is a link to the agent, which knows by the name it is called by
//! what to do.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::Access;

use super::Error;
use super::dir::Entry;
use super::manifest::{sha256, sha256_of_link};
use super::standby::lies_ready;

/// The version a shim bears; raised whenever `hooks/shim` changes.
pub(super) const VERSION: u32 = 5;

/// What the name of the program that asks the daemon first adds to the agent's.
const SHORT: &str = "-hook";

/// The hook that may be a link to the agent.
pub(crate) const LINKED: &str = "post-receive";
/// The hooks that may be a copy of the program that asks the daemon first.
const COPIED: [&str; 4] = ["pre-receive", LINKED, "prepare-commit-msg", "commit-msg"];

const TEMPLATE: &str = include_str!("../../hooks/shim");
const MARK: &[u8] = b"# git-jira-agent shim ";
/// How a program begins, and the lines with which a copy of one ends.
const PROGRAM: &[u8] = b"\x7fELF";
const END_OF_COPY: &str = "\n# git-jira-agent shim @VERSION@\n\
    # Put here by `agent install`, taken out by `agent uninstall`. It is the program agent-hook, and the agent is this one:\n\
    agent=@AGENT@\nbefore=''\n";
const AGENT: &[u8] = b"agent=";
const BEFORE: &[u8] = b"before=";

/// What a shim says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shim {
    pub(super) hook: &'static str,
    /// Absolute, and the stable name of the binary rather than that of one version.
    pub(super) agent: PathBuf,
    /// How the hooks directory leads to the hook that was there before. Relative, so that a repository can be
    /// moved or copied and still run its own; absolute where it is called by links from many repositories.
    pub(super) before: Option<String>,
}

/// What git finds under a hook's name.
#[derive(Debug, PartialEq)]
pub(super) enum Stand {
    Shim(Vec<u8>),
    /// A shim that lies ready and is among the hooks only at times.
    Standby(Vec<u8>),
    /// A program of ours, under the name of the hook.
    Link(PathBuf),
}

impl Stand {
    /// Takes a link where it serves as well as a shim: another program might not look at the name it is called by. With
    /// `ready` the hook lies ready now.
    pub(super) fn choose(shim: Shim, ready: bool) -> Self {
        let direct = shim.before.is_none() && std::env::current_exe().is_ok_and(|this| this == shim.agent);
        if direct && shim.hook == LINKED && !has_short_way(&shim.agent) {
            return Self::Link(shim.agent);
        }
        let text = shim.render();
        match shim.before.is_none() && lies_ready(shim.hook, ready, text.starts_with(PROGRAM)) {
            true => Self::Standby(text),
            false => Self::Shim(text),
        }
    }

    pub(super) fn is(&self, entry: &Entry) -> bool {
        match (self, entry) {
            (Self::Shim(text) | Self::Standby(text), Entry::File { bytes, mode }) => bytes == text && mode & 0o111 != 0,
            (Self::Link(agent), Entry::Symlink { target }) => target == agent,
            _ => false,
        }
    }

    pub(super) fn sha256(&self) -> String {
        match self {
            Self::Shim(text) | Self::Standby(text) => sha256(text),
            Self::Link(agent) => sha256_of_link(agent),
        }
    }
}

/// Tells whether a link under a hook's name is one of ours, by its look.
pub(super) fn is_link(hook: &str, target: &Path) -> bool {
    let name = target.file_name().and_then(OsStr::to_str);
    // Before there were copies, it led to the program that asks the daemon first.
    let ours = ["agent", "git-jira-agent", "agent-hook", "git-jira-agent-hook"];
    hook == LINKED && target.is_absolute() && name.is_some_and(|name| ours.contains(&name))
}

/// The agent to which a link of ours leads, or beside which it does.
pub(super) fn agent_of(target: &Path) -> PathBuf {
    let agent = target.as_os_str().as_bytes().strip_suffix(SHORT.as_bytes());
    agent.map_or_else(|| target.into(), |agent| OsStr::from_bytes(agent).into())
}

/// The program beside the agent that asks the daemon first.
fn short_way(agent: &Path) -> PathBuf {
    let mut path = agent.as_os_str().to_owned();
    path.push(SHORT);
    path.into()
}

fn has_short_way(agent: &Path) -> bool {
    rustix::fs::access(short_way(agent), Access::EXEC_OK).is_ok()
}

impl Shim {
    pub(super) fn render(&self) -> Vec<u8> {
        if let Some(program) = self.program() {
            return [program, self.filled(END_OF_COPY, "", "")].concat();
        }
        let before = match &self.before {
            None => "''".into(),
            Some(before) if before.starts_with('/') => {
                String::from_utf8(quote(OsStr::new(before))).expect("a text stays one in quotes")
            }
            Some(before) => format!("\"${{0%/*}}/{before}\""),
        };
        self.filled(TEMPLATE, &before, &guard(self.hook, self.before.is_some()))
    }

    /// The same for a shim that runs beside a clone's own hooks, out of Git's configuration, and knows the clone only by where
    /// Git started it. With `config`, the agent uses that configuration.
    pub(super) fn render_beside(&self, config: Option<&Path>) -> Vec<u8> {
        let config = config.map(|path| String::from_utf8_lossy(&quote(path.as_os_str())).into_owned());
        let words = config.map_or_else(|| "--beside".to_owned(), |config| format!("--beside --config {config}"));
        let template = TEMPLATE.replace("hook @HOOK@", &format!("hook {words} @HOOK@"));
        self.filled(&template, "''", &guard_beside(self.hook))
    }

    /// The program of which the hook is a copy.
    fn program(&self) -> Option<Vec<u8>> {
        let is_copied = self.before.is_none() && COPIED.contains(&self.hook) && has_short_way(&self.agent);
        let program = is_copied.then(|| std::fs::read(short_way(&self.agent)).ok())??;
        program.starts_with(PROGRAM).then_some(program)
    }

    fn filled(&self, template: &str, before: &str, guard: &str) -> Vec<u8> {
        let text = template.replace("@GUARD@\n", guard).replace("@HOOK@", self.hook).replace("@BEFORE@", before);
        let text = text.replace("@VERSION@", &VERSION.to_string());
        let (head, tail) = text.split_once("@AGENT@").expect("the template names the agent once");
        [head.as_bytes(), &quote(self.agent.as_os_str()), tail.as_bytes()].concat()
    }
}

/// What spares the start of the agent out of Git's configuration. All worktrees of a clone have one folder.
fn guard_beside(hook: &str) -> String {
    let common = "common=${GIT_DIR:-.git}\n\
         if read -r way 2>/dev/null <\"$common/commondir\"; then\n    \
             case $way in /*) common=$way ;; *) common=$common/$way ;; esac\n\
         fi\n";
    match hook {
        "reference-transaction" => format!(
            "[ \"$1\" = committed ] || go_on \"$@\"\n{common}[ -e \"$common/agent/pushing\" ] || go_on \"$@\"\n"
        ),
        "commit-msg" => format!("{common}plain=$common/agent/plain\n{SAYS_NOTHING}"),
        other => guard(other, false),
    }
}

/// What spares the start of the agent where it has nothing to do.
fn guard(hook: &str, chained: bool) -> String {
    let text = match hook {
        // Git runs this hook three times for every reference; only the last time tells something, and only after pre-push.
        // Of a push whose process is gone the agent is to forget the note. The first line, which was read, goes along.
        "reference-transaction" if !chained => {
            "[ \"$1\" = committed ] || exit 0\n\
             note=${0%/*}/../agent/pushing\n\
             [ -e \"$note\" ] || note=${GIT_DIR:-.git}/agent/pushing\n\
             [ -e \"$note\" ] || note=${0%/*}/../../agent/pushing\n\
             read -r by pusher rest 2>/dev/null <\"$note\" || exit 0\n\
             if [ \"$by$rest\" != by ] || kill -0 \"$pusher\" 2>/dev/null; then\n    \
                 read -r old new ref || exit 0\n    \
                 case $ref in refs/remotes/*) ;; *) exit 0 ;; esac\n    \
                 set -- \"$1\" \"$old $new $ref\"\n\
             fi\n"
        }
        // A hook before ours is to have all of the input.
        "reference-transaction" => {
            "[ \"$1\" = committed ] || go_on \"$@\"\n\
             [ -e \"${0%/*}/../agent/pushing\" ] || [ -e \"${GIT_DIR:-.git}/agent/pushing\" ] || \
             [ -e \"${0%/*}/../../agent/pushing\" ] || go_on \"$@\"\n"
        }
        // Only a message that somebody begins gets a key, and only on a branch whose name may have one. A rebase, which runs
        // this hook for every commit, is on no branch. With reftable the file does not tell.
        "prepare-commit-msg" => {
            "case $2 in '' | message) ;; *) go_on \"$@\" ;; esac\n\
             read -r head 2>/dev/null <\"${GIT_DIR:-.git}/HEAD\" || go_on \"$@\"\n\
             case $head in *-[1-9]* | *.invalid) ;; *) go_on \"$@\" ;; esac\n"
        }
        // What has no `#` and no hyphen before a digit asks nothing of Jira, and where no policy holds nothing is to be said
        // of it. The agent notes that none does, and by which configuration; once that changes it is asked again, and so it is where
        // a team's file counts, or where no keys are put in and Git's configuration has changed since somebody wanted that.
        "commit-msg" => {
            let beside = "plain=${0%/*}/../agent/plain\n[ -e \"$plain\" ] || plain=${GIT_DIR:-.git}/agent/plain\n";
            return format!("{beside}{SAYS_NOTHING}");
        }
        _ => "",
    };
    text.to_owned()
}

/// Ends where a message asks nothing, by the mark that `$plain` leads to.
const SAYS_NOTHING: &str = "says_nothing() {\n    \
         [ -e .agent.toml ] && [ -e \"${plain%plain}trusted\" ] && return 1\n    \
         [ \"${plain%plain}../config\" -nt \"${plain%plain}prepare-commit-msg\" ] && [ -e \"${plain%plain}prepare-commit-msg\" ] && return 1\n    \
         read -r config 2>/dev/null <\"$plain\" && [ \"${GIT_JIRA_AGENT_CONFIG:-$config}\" = \"$config\" ] || return 1\n    \
         [ -e \"$config\" ] && [ \"$plain\" -nt \"$config\" ] || return 1\n    \
         lines=\n    \
         while read -r line || [ -n \"$line\" ]; do\n        \
             case $lines$line in *'#'* | *-[0-9]* | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx*) return 1 ;; esac\n        \
             lines=x$lines\n    \
         done 2>/dev/null <\"$1\"\n\
     }\n\
     ! says_nothing \"$1\" || go_on \"$@\"\n";

/// Whether a hook is a copy of a program that this version has put there.
pub(super) fn is_program(hook: &'static str, bytes: &[u8]) -> bool {
    bytes.starts_with(PROGRAM) && read(hook, bytes).is_some_and(|(version, _)| version == VERSION)
}

/// Reads the version of a shim and, as far as this version understands it, what it says; `None` for any other file.
pub(super) fn read(hook: &'static str, bytes: &[u8]) -> Option<(u32, Option<Shim>)> {
    let text = match bytes.starts_with(PROGRAM) {
        true => &bytes[memchr::memmem::rfind(bytes, &[b"\n", MARK].concat())?..],
        false => bytes,
    };
    let mut lines = text.split(|&byte| byte == b'\n');
    let version = lines.by_ref().take(4).find_map(|line| line.strip_prefix(MARK))?;
    let version = std::str::from_utf8(version).ok()?.trim().parse().ok()?;
    let mut value = |name| lines.find_map(|line: &[u8]| line.strip_prefix(name));
    let shim = value(AGENT).and_then(unquote).zip(value(BEFORE)).and_then(|(agent, before)| {
        let text = std::str::from_utf8(before).ok()?;
        let relative = text.strip_prefix("\"${0%/*}/").and_then(|before| before.strip_suffix('"')).map(str::to_owned);
        let absolute = || unquote(before).filter(|path| !path.is_empty()).and_then(|path| String::from_utf8(path).ok());
        let before = relative.or_else(absolute);
        Some(Shim { hook, agent: OsStr::from_bytes(&agent).into(), before })
    });
    Some((version, shim))
}

/// Refuses an agent that a shim could not start from wherever git runs it.
pub(super) fn check_agent(agent: &Path) -> Result<(), Error> {
    let one_line = !agent.as_os_str().as_bytes().iter().any(u8::is_ascii_control);
    if agent.is_absolute() && one_line { Ok(()) } else { Err(Error::AgentPath(agent.into())) }
}

/// Runs the hook that was there before ours as git would have, and returns the status to exit with.
///
/// The hook inherits the environment, the working directory and both outputs; `path` may be relative to the
/// working directory, as the shim gives it. A hook that is missing or not executable counts as passed, as it does
/// for git. A signal becomes 128 plus its number. An error means the hook exists but could not be started,
/// which git treats as its failure.
pub(crate) fn run_before(path: &Path, args: &[impl AsRef<OsStr>], stdin: Vec<u8>) -> std::io::Result<i32> {
    if rustix::fs::access(path, Access::EXEC_OK).is_err() {
        return Ok(0);
    }
    let start = |command: &mut Command| command.args(args).stdin(Stdio::piped()).spawn();
    let mut child = match start(&mut Command::new(path)) {
        // A script without its first line runs under git, which then asks the shell.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            start(Command::new("/bin/sh").arg(path))?
        }
        started => started?,
    };
    let mut pipe = child.stdin.take().expect("the child was started with a pipe");
    // Never joined: a hook may leave without reading all, or leave a process behind that holds the pipe.
    std::thread::Builder::new().spawn(move || match pipe.write_all(&stdin) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => tracing::debug!("a hook's input was cut short: {error}"),
        _ => (),
    })?;
    let status = child.wait()?;
    Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1))
}

pub(super) fn quote(text: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in text.as_bytes() {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut inner = quoted.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let mut text = Vec::new();
    while let Some((&byte, rest)) = inner.split_first() {
        if let Some(rest) = inner.strip_prefix(br"'\''") {
            text.push(b'\'');
            inner = rest;
        } else {
            text.push(byte);
            inner = rest;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[track_caller]
    fn check_reads_back(hook: &'static str, agent: &str, before: Option<&str>) {
        let shim = Shim { hook, agent: agent.into(), before: before.map(Into::into) };
        let text = shim.render();
        assert_eq!(read(hook, &text), Some((VERSION, Some(shim))), "{}", String::from_utf8_lossy(&text));
        assert!(!text.contains(&b'@') || text.windows(4).any(|window| window == b"\"$@\""));
        for placeholder in ["@AGENT@", "@BEFORE@", "@HOOK@", "@GUARD@", "\r"] {
            assert!(!String::from_utf8_lossy(&text).contains(placeholder), "{placeholder:?} is still there");
        }
        for shell in ["sh", "bash"] {
            let status = Command::new(shell).arg("-nc").arg(OsStr::from_bytes(&text)).status();
            assert!(status.is_ok_and(|status| status.success()), "{shell} cannot read it");
        }
    }

    #[test]
    fn a_shim_says_what_it_was_made_of() {
        check_reads_back("post-receive", "/usr/bin/agent", None);
        check_reads_back("commit-msg", "/usr/bin/agent", Some("../agent/before/commit-msg"));
        check_reads_back("pre-push", "/usr/bin/agent", Some("../agent/before/pre-push"));
        check_reads_back("prepare-commit-msg", "/usr/bin/agent", Some("../agent/before/prepare-commit-msg"));
        check_reads_back("reference-transaction", "/opt/it's $(here)/a \"b\"/agent", Some("../../agent/before/x"));
    }

    #[test]
    fn a_shim_beside_a_clones_own_says_what_it_was_made_of() {
        for hook in ["prepare-commit-msg", "commit-msg", "pre-push", "reference-transaction"] {
            let shim = Shim { hook, agent: "/opt/it's/agent".into(), before: None };
            let text = shim.render_beside(Some(Path::new("/etc/it's/config.toml")));
            assert_eq!(read(hook, &text), Some((VERSION, Some(shim))));
            let text = String::from_utf8(text).unwrap();
            let words = format!("hook --beside --config '/etc/it'\\''s/config.toml' {hook}");
            assert_eq!(text.matches("\"$agent\" hook ").count(), text.matches(&words).count(), "{text}");
            assert!(text.contains(&words) && !text.contains("${0%/*}/../"), "{text}");
            for shell in ["sh", "bash"] {
                assert!(Command::new(shell).arg("-nc").arg(&text).status().unwrap().success(), "{shell}: {text}");
            }
        }
    }

    #[test]
    fn the_mark_bears_the_version_of_this_program() {
        assert!(TEMPLATE.contains(&format!("\n# git-jira-agent shim {VERSION}\n")));
    }

    #[test]
    fn a_foreign_hook_is_not_read_as_ours() {
        assert_eq!(read("pre-push", b"#!/bin/sh\nagent='/usr/bin/agent'\nexit 0\n"), None);
        assert_eq!(read("pre-push", b"\x7fELF\0\0"), None);
        assert_eq!(read("pre-push", b""), None);
    }

    #[test]
    fn an_agent_has_an_absolute_path_of_one_line() {
        assert!(check_agent(Path::new("/usr/bin/agent")).is_ok());
        assert!(check_agent(Path::new("agent")).is_err());
        assert!(check_agent(Path::new("/usr/bin/a\ngent")).is_err());
    }

    #[track_caller]
    fn check_before(script: &str, mode: u32, stdin: &[u8], expected: i32) -> String {
        let dir = tempfile::tempdir().unwrap();
        let (path, out) = (dir.path().join("hook"), dir.path().join("out"));
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(run_before(&path, &[out.as_os_str(), OsStr::new("a b")], stdin.into()).unwrap(), expected);
        std::fs::read_to_string(out).unwrap_or_default()
    }

    #[test]
    fn the_hook_before_gets_arguments_and_input_and_gives_its_status() {
        assert_eq!(
            check_before("#!/bin/sh\n{ echo \"$2\"; cat; } >\"$1\"\nexit 7\n", 0o755, b"old new ref\n", 7),
            "a b\nold new ref\n"
        );
    }

    #[test]
    fn the_hook_before_may_ignore_a_long_input() {
        check_before("#!/bin/sh\nexit 3\n", 0o755, &vec![b'x'; 4 << 20], 3);
    }

    #[test]
    fn the_hook_before_may_do_without_its_first_line() {
        assert_eq!(check_before("echo plain >\"$1\"\n", 0o755, b"", 0), "plain\n");
    }

    #[test]
    fn the_hook_before_is_passed_over_when_it_is_not_executable() {
        check_before("#!/bin/sh\nexit 3\n", 0o644, b"", 0);
        assert_eq!(run_before(Path::new("/nonexistent/hook"), &[""], Vec::new()).unwrap(), 0);
    }

    #[test]
    fn the_hook_before_that_is_killed_tells_the_signal() {
        check_before("#!/bin/sh\nkill -TERM $$\n", 0o755, b"", 128 + 15);
    }

    #[test]
    fn the_hook_before_that_cannot_start_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook");
        std::fs::write(&path, "#!/bin/sh\r\nexit 0\r\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(run_before(&path, &[""], Vec::new()).is_err());
    }

    /// Runs a shim by one shell after another, called as `sh` each time, and gives its status and what was noted.
    #[track_caller]
    fn check_shell(agent: Option<(&str, u32)>, chained: bool, expected: i32, noted: &str) {
        for shell in ["/bin/dash", "/bin/bash", "/bin/busybox"].iter().filter(|shell| Path::new(shell).exists()) {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            std::os::unix::fs::symlink(shell, at("sh")).unwrap();
            if let Some((text, mode)) = agent {
                std::fs::write(at("agent"), text).unwrap();
                std::fs::set_permissions(at("agent"), PermissionsExt::from_mode(mode)).unwrap();
            }
            std::fs::write(at("before"), "#!/bin/sh\necho before \"$#\" \"$(cat)\" >>\"${0%/*}/noted\"\nexit 3\n")
                .unwrap();
            std::fs::set_permissions(at("before"), PermissionsExt::from_mode(0o755)).unwrap();
            let before = chained.then(|| "before".to_owned());
            let shim = Shim { hook: "pre-push", agent: at("agent"), before };
            std::fs::write(at("hook"), shim.render()).unwrap();
            std::fs::write(at("input"), "lines").unwrap();
            let stdin = std::fs::File::open(at("input")).unwrap();
            let mut command = Command::new(at("sh"));
            command.arg(at("hook")).args(["a b", "c"]).stdin(stdin).stderr(Stdio::null()).env("PATH", "/usr/bin:/bin");
            assert_eq!(command.status().unwrap().code(), Some(expected), "{shell}");
            assert_eq!(std::fs::read_to_string(at("noted")).unwrap_or_default(), noted, "{shell}");
        }
    }

    #[test]
    fn every_shell_starts_the_agent_and_ends_with_its_status() {
        let agent = "#!/bin/sh\necho agent \"$@\" \"$(cat)\" >>\"${0%/*}/noted\"\nexit 5\n";
        check_shell(Some((agent, 0o755)), false, 5, "agent hook pre-push a b c lines\n");
    }

    #[test]
    fn an_agent_that_is_killed_gives_leave() {
        check_shell(Some(("#!/bin/sh\nkill -9 $$\n", 0o755)), false, 0, "");
    }

    #[test]
    fn every_shell_goes_on_without_the_agent() {
        for agent in
            [None, Some(("#!/nonexistent\n", 0o755)), Some(("\x7fELF\x02\x01\x01\0", 0o755)), Some(("", 0o644))]
        {
            check_shell(agent, false, 0, "");
            check_shell(agent, true, 3, "before 2 lines\n");
        }
    }
}
