//! Clones that are known by where they were fetched from.
//!
//! A person writes one pattern for a server; Git compares patterns with the text of an address, and one address has several
//! spellings: `ssh://git@host/team/tool.git`, `git@host:team/tool.git`, `https://host/team/tool.git`. So a pattern stands for
//! all [`spellings`] of it, and what Git is told in a condition (`hasconfig:remote.*.url`) and what we compare ourselves are
//! the same list, compared by the same rules.
//!
//! Such a clone may lie anywhere, so nothing but its own configuration says whose it is, and whoever can write that can say
//! what they like. That is harmless where the configuration, the hook and the daemon are one person's; a daemon for several
//! users would take from each of them what they call a company's repository. So only clones of the very user who looks are
//! looked at ([`remotes`]), and the configuration of the system's service knows no such accounts.

use std::path::Path;

use crate::git::remotes;

/// How an address begins, where a pattern names no more than a host.
const USUAL: [&str; 2] = ["ssh", "https"];

/// Tells whether a pattern could be meant.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let told = |because: &str| Err(format!("remotes: {pattern:?} {because}"));
    match () {
        () if pattern.trim().is_empty() => told("names no server"),
        () if pattern.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            told("has a blank in it, as no address has")
        }
        () if pattern.contains("[:") => told("has a class such as [:alpha:], which is not understood here"),
        () if pattern.chars().all(|c| "*?/:@".contains(c)) => told("would fit the clones of every server"),
        () => Ok(()),
    }
}

/// The patterns that Git has to compare with an address, so that each spelling of what was meant fits one of them.
pub(crate) fn spellings(pattern: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut add = |text: String| {
        if !all.contains(&text) {
            all.push(text);
        }
    };
    let whole = |path: &str| match path {
        "" => "**".to_owned(),
        path if path.ends_with('/') => format!("{path}**"),
        path => path.to_owned(),
    };
    let (schemes, place, path) = match pattern.split_once("://") {
        Some((scheme, rest)) => {
            let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
            add(format!("{scheme}://{place}/{}", whole(path)));
            (vec![scheme], place, whole(path))
        }
        // A folder of this machine, which has no other spelling.
        None if pattern.starts_with(['/', '.', '~']) => {
            add(whole(pattern));
            return all;
        }
        None => match pattern.find([':', '/']) {
            Some(at) if pattern.as_bytes()[at] == b':' => {
                add(whole(pattern));
                (vec!["ssh"], &pattern[..at], whole(pattern[at + 1..].trim_start_matches('/')))
            }
            Some(at) => (USUAL.to_vec(), &pattern[..at], whole(&pattern[at + 1..])),
            None => (USUAL.to_vec(), pattern, whole("")),
        },
    };
    let users: &[&str] = if place.contains('@') { &[""] } else { &["", "*@"] };
    for scheme in schemes {
        for user in users {
            add(format!("{scheme}://{user}{place}/{path}"));
            let port = place.rsplit('@').next().is_some_and(|host| host.contains(':'));
            if scheme == "ssh" && !port {
                short_paths(&path).into_iter().for_each(|path| add(format!("{user}{place}:{path}")));
            }
        }
    }
    all
}

/// What stands behind the colon of `host:path`, where two stars at the beginning would be one.
fn short_paths(path: &str) -> [String; 2] {
    match path.strip_prefix("**") {
        Some("") => ["*".to_owned(), "*/**".to_owned()],
        Some(rest) if rest.starts_with('/') => [rest[1..].to_owned(), format!("*/**{rest}")],
        _ => [path.to_owned(), format!("/{path}")],
    }
}

/// Tells whether an address is one of those that a pattern means.
fn means(pattern: &str, url: &str) -> bool {
    spellings(pattern).iter().any(|one| fits(one.as_bytes(), url.as_bytes()))
}

/// The first address of a clone, of this user's own, that one of the patterns means.
pub(super) fn of(patterns: &[String], git_dir: &Path) -> Option<String> {
    let known = if patterns.is_empty() { return None } else { remotes(git_dir) };
    known.iter().find(|url| patterns.iter().any(|pattern| means(pattern, url))).cloned()
}

/// What a repository is called on its server: the path in its address.
pub(super) fn name(url: &str) -> &str {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None if url.starts_with(['/', '.', '~']) => url.trim_end_matches('/').rsplit('/').next().unwrap_or(url),
        None => url.split_once(':').map_or(url, |(_, path)| path),
    };
    let path = path.trim_matches('/');
    path.strip_suffix("/.git").or_else(|| path.strip_suffix(".git")).unwrap_or(path)
}

/// One part of a pattern.
enum Part {
    Sign(u8),
    /// One sign from these to those, or, with `false`, one from none of them; never a slash.
    Class(Vec<(u8, u8)>, bool),
    /// Anything but a slash.
    Star,
    /// Anything.
    Deep,
    /// Nothing, or anything that ends with a slash.
    DeepSlash,
}

/// Compares as Git does where `*` does not stand for `/`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let Some(parts) = parts(pattern) else { return false };
    let mut here = vec![false; text.len() + 1];
    here[0] = true;
    for part in &parts {
        let mut next = vec![false; text.len() + 1];
        let mut open = false;
        for at in 0..=text.len() {
            let before = at.checked_sub(1).map(|before| (here[before], text[before]));
            next[at] = match part {
                Part::Sign(sign) => before == Some((true, *sign)),
                Part::Class(ranges, wanted) => before.is_some_and(|(was, byte)| {
                    let within = ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte));
                    was && byte != b'/' && within == *wanted
                }),
                Part::Star => {
                    open = here[at] || open && before.is_some_and(|(_, byte)| byte != b'/');
                    open
                }
                Part::Deep => {
                    open |= here[at];
                    open
                }
                Part::DeepSlash => {
                    let ended = open && before.is_some_and(|(_, byte)| byte == b'/');
                    open |= here[at];
                    here[at] || ended
                }
            };
        }
        here = next;
    }
    here[text.len()]
}

/// Takes a pattern apart; nothing where it is not in order.
fn parts(mut pattern: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut previous = None;
    while let Some((&byte, rest)) = pattern.split_first() {
        pattern = rest;
        let part = match byte {
            b'*' => {
                let stars = rest.iter().take_while(|byte| **byte == b'*').count();
                pattern = &rest[stars..];
                let free = stars > 0 && previous.is_none_or(|byte| byte == b'/');
                match pattern.first() {
                    None if free => Part::Deep,
                    Some(b'/') if free => {
                        pattern = &pattern[1..];
                        previous = Some(b'/');
                        parts.push(Part::DeepSlash);
                        continue;
                    }
                    _ => Part::Star,
                }
            }
            b'?' => Part::Class(Vec::new(), false),
            b'[' => class(&mut pattern)?,
            b'\\' => {
                let (&byte, rest) = rest.split_first()?;
                pattern = rest;
                Part::Sign(byte)
            }
            byte => Part::Sign(byte),
        };
        previous = Some(byte);
        parts.push(part);
    }
    Some(parts)
}

/// Reads what stands between brackets, whose opening one was taken.
fn class(pattern: &mut &[u8]) -> Option<Part> {
    let wanted = !matches!(pattern.first(), Some(b'!' | b'^'));
    let mut rest = if wanted { *pattern } else { &pattern[1..] };
    let mut ranges = Vec::new();
    loop {
        let (&first, after) = rest.split_first()?;
        match (first, after) {
            (b']', _) if !ranges.is_empty() => {
                *pattern = after;
                return Some(Part::Class(ranges, wanted));
            }
            (first, [b'-', last, ..]) if *last != b']' => {
                ranges.push((first, *last));
                rest = &after[2..];
            }
            (first, after) => {
                ranges.push((first, first));
                rest = after;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const URLS: [&str; 16] = [
        "ssh://git.example.org/tool.git",
        "ssh://git@git.example.org/team/tool.git",
        "ssh://git@git.example.org:2222/team/tool.git",
        "git.example.org:tool.git",
        "git@git.example.org:team/deep/tool.git",
        "git@git.example.org:/srv/git/team/tool.git",
        "https://git.example.org/team/tool.git",
        "https://ann:secret@git.example.org/team/tool",
        "http://git.example.org/team/tool.git",
        "ssh://git.example.org.evil.example/tool.git",
        "ssh://evil.example/git.example.org/tool.git",
        "git@evil.example:git.example.org/tool.git",
        "git@git2.example.org:team/tool.git",
        "/srv/git/team/tool.git",
        "file:///srv/git/team/tool.git",
        "ssh://git.example.org/",
    ];

    #[track_caller]
    fn check_meant(pattern: &str, expected: &[usize]) {
        let found: Vec<usize> = (0..URLS.len()).filter(|at| means(pattern, URLS[*at])).collect();
        assert_eq!(found, expected, "{pattern}: {:?}", spellings(pattern));
    }

    #[test]
    fn k15_one_pattern_means_all_spellings_of_an_address_and_no_other_server() {
        check_meant("git.example.org", &[0, 1, 3, 4, 5, 6, 7, 15]);
        check_meant("git.example.org/team/**", &[1, 4, 6, 7]);
        check_meant("ssh://git.example.org/**", &[0, 1, 3, 4, 5, 15]);
        check_meant("ssh://git.example.org", &[0, 1, 3, 4, 5, 15]);
        check_meant("ssh://git@git.example.org/team/", &[1, 4]);
        check_meant("git@git.example.org:*/**", &[1, 4, 5]);
        check_meant("ssh://git.example.org:2222/**", &[2]);
        check_meant("https://git.example.org/**", &[6, 7]);
        check_meant("ssh://git.example.org/**/tool.git", &[0, 1, 3, 4, 5]);
        check_meant("git[0-9].example.org", &[12]);
        check_meant("/srv/git/**", &[13]);
        check_meant("file:///srv/**", &[14]);
    }

    #[test]
    fn k15_what_could_not_be_meant_is_told() {
        for wrong in ["", " ", "**", "*:*", "*@*", "git example.org", "ssh://x/\n", "[[:alpha:]].example.org"] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
        for right in ["git.example.org", "ssh://git.example.org/**", "*.example.org", "git@host:team/*"] {
            assert_eq!(check(right), Ok(()));
        }
    }

    #[test]
    fn k15_we_compare_as_git_does() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(Command::new("git").args(["init", "-q"]).current_dir(folder).status().unwrap().success());
        let mut patterns: Vec<String> = [
            "ssh://git.example.org/**",
            "*://git.example.org/team/*",
            "**",
            "**/tool.git",
            "*",
            "*/tool.git",
            "git@git?example.org:**",
            "git@git.example.org:*/**/tool.git",
            "git@git[0-9].example.org:*/*",
            "git@git[!0-9]example.org:*/*",
            "git@git[^.]example.org:*/*",
            "git@git[a-z.]example.org:*/**",
            "ssh:[!x]/git.example.org/**",
            "ssh:[/]/git.example.org/**",
            "ssh:?/git.example.org/**",
            "ssh://**/tool.git",
            "ssh://git**/tool.git",
            "ssh://***/tool.git",
            "/srv/git/\\*",
            "/srv/gi\\t/**",
            "/srv/**/git/team/tool.git",
            "[",
            "/srv/git/team/tool.git/**",
        ]
        .map(str::to_owned)
        .into();
        patterns.extend(["git.example.org", "ssh://git.example.org/**/tool.git"].iter().flat_map(|one| spellings(one)));
        for url in URLS {
            let mut text = format!("[remote \"origin\"]\n\turl = {url}\n");
            for (at, pattern) in patterns.iter().enumerate() {
                let pattern = pattern.replace('\\', "\\\\");
                text += &format!("[includeIf \"hasconfig:remote.*.url:{pattern}\"]\n\tpath = {at}\n");
                std::fs::write(folder.join(format!(".git/{at}")), format!("[our]\n\tfits = {at}\n")).unwrap();
            }
            let before = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";
            std::fs::write(folder.join(".git/config"), format!("{before}{text}")).unwrap();
            let told =
                Command::new("git").args(["config", "--get-all", "our.fits"]).current_dir(folder).output().unwrap();
            let gits: Vec<usize> =
                String::from_utf8(told.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
            let ours: Vec<usize> =
                (0..patterns.len()).filter(|at| fits(patterns[*at].as_bytes(), url.as_bytes())).collect();
            let names = |list: &[usize]| list.iter().map(|at| patterns[*at].clone()).collect::<Vec<_>>();
            assert_eq!(names(&ours), names(&gits), "{url}");
        }
    }

    #[test]
    fn k15_a_clone_is_called_as_its_server_calls_it() {
        let names = URLS.map(name);
        assert_eq!(names[..3], ["tool", "team/tool", "team/tool"]);
        assert_eq!(names[3..6], ["tool", "team/deep/tool", "srv/git/team/tool"]);
        assert_eq!((names[7], names[13], names[15]), ("team/tool", "tool", ""));
    }
}
