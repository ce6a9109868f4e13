//! What would stop a site: its credential, its account, and what that may do in the projects.

use super::{Finding, bad, good};
use crate::cli::{Context, admin};
use crate::clock;
use crate::config::{Config, Places};
use crate::queue::{Marked, OfSite, ReadBack, Way};
use crate::send::{ACCOUNT_ONLY, Executor, Introduced, Jira, Kind, Obstacle, Platform, Reach, Seen, Settings};

/// Looks at each site there is.
pub fn look(config: &Config, places: &Places, context: &Context, offline: bool) -> Vec<Finding> {
    if config.site.is_empty() {
        return vec![bad("no Jira is linked".to_owned(), "agent link")];
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![bad(format!("nothing can be asked: {error}"), "the reason says what helps")],
    };
    let mut findings = Vec::new();
    for site in &config.site {
        if site.shows_commits() {
            findings.push(credential(site, context, offline, &runtime));
        }
        if site.is_account_only() {
            findings.push(good(format!("site {}: {ACCOUNT_ONLY}", site.name)));
        }
        if site.account.is_some() {
            findings.extend(account(site, context, offline, &runtime));
            findings.extend(if offline { None } else { marks(site, places) });
        }
    }
    findings
}

/// What is said of a secret that systemd gives to the daemon and to nobody else.
fn systemds(name: Option<&str>, site: &Settings, whose: &str, context: &Context) -> Option<Finding> {
    let out_of_reach = name.filter(|_| context.environment.credentials_directory.is_none())?;
    let what =
        format!("site {}: {whose} is systemd's credential {out_of_reach}, which only the daemon can read", site.name);
    Some(Finding { cure: Some("`agent status` says whether the site takes it".to_owned()), ..good(what) })
}

fn credential(site: &Settings, context: &Context, offline: bool, runtime: &tokio::runtime::Runtime) -> Finding {
    if let Some(finding) = systemds(site.credential.as_deref(), site, "its secret", context) {
        return finding;
    }
    let jira = match Jira::new(site, context.environment.credentials_directory.as_deref(), "doctor") {
        Ok(jira) => jira,
        Err(error) => {
            return bad(format!("site {}: {error}", site.name), "`agent link` again, or mend the file it names");
        }
    };
    if offline {
        return good(format!("site {}: its secret can be read", site.name));
    }
    match runtime.block_on(jira.try_out()) {
        Ok(tried) => {
            good(format!("site {} answers (cloud id {}) and takes development information", site.name, tried.cloud_id))
        }
        Err(error) => bad(format!("site {}: {error}", site.name), "what is owed to it waits; nothing is lost"),
    }
}

fn account(site: &Settings, context: &Context, offline: bool, runtime: &tokio::runtime::Runtime) -> Vec<Finding> {
    let name = site.account.as_ref().and_then(|account| account.credential.as_deref());
    if let Some(finding) = systemds(name, site, "its account's token", context) {
        return vec![finding];
    }
    let platform = match Platform::new(site, context.environment.credentials_directory.as_deref()) {
        Ok(platform) => platform,
        Err(error) => {
            let cure = format!("`agent link --name {}` takes a new token, or mend the file it names", site.name);
            return vec![bad(format!("site {}: the account: {error}", site.name), &cure)];
        }
    };
    if offline {
        return vec![good(format!("site {}: the account's token can be read", site.name))];
    }
    runtime.block_on(async {
        let now = clock::now();
        match platform.introduce(now).await {
            Ok(Introduced { person, ahead }) => {
                let mut findings = vec![good(format!("site {}: its account is {}", site.name, person.shown()))];
                findings.extend(ahead.map(|ahead| clocks(site, ahead)));
                findings.extend(projects(&platform, site).await);
                findings
            }
            Err(obstacle) => vec![refused(site, &obstacle)],
        }
    })
}

/// Why the account is not let in, and what helps.
pub fn refused(site: &Settings, obstacle: &Obstacle) -> Finding {
    let what = format!("site {}: the account: {}", site.name, obstacle.because());
    match obstacle {
        Obstacle::Halt { reach: Reach::Account, .. } => {
            let email = if site.kind == Kind::Cloud { " --account-email MAIL" } else { "" };
            let link = format!("agent link --name {}{email} --account-token-file FILE", site.name);
            bad(what, &format!("`{link}` puts a new token in place; until then its orders wait"))
        }
        _ => bad(what, "its orders wait until the site answers; nothing is lost"),
    }
}

/// How far apart two clocks may be, in milliseconds: an answer takes its time, and Jira gives whole seconds.
const APART: i64 = 60_000;

fn clocks(site: &Settings, ahead: i64) -> Finding {
    let seconds = ahead.abs() / 1_000;
    match ahead.abs() <= APART {
        true => good(format!("site {}: its clock and ours agree", site.name)),
        false => {
            let side = if ahead > 0 { "behind" } else { "ahead of" };
            bad(
                format!("this machine's clock is {seconds} seconds {side} that of site {}", site.name),
                "`timedatectl set-ntp true` keeps it right; certificates and the times of work depend on it",
            )
        }
    }
}

async fn projects(platform: &Platform, site: &Settings) -> Vec<Finding> {
    let seen = match platform.projects(&site.projects, clock::now()).await {
        Ok(seen) => seen,
        Err(obstacle) => {
            let what = format!("site {}: its projects cannot be asked for: {}", site.name, obstacle.because());
            return vec![bad(what, "try again; the reason says what helps")];
        }
    };
    let mut findings = Vec::new();
    for key in site.projects.iter().filter(|key| seen.iter().all(|seen| seen.key != **key)) {
        findings.push(bad(
            format!("site {}: the account does not see project {key}", site.name),
            "give it Browse Projects there (project settings -> Permissions), or take the key out of `projects`",
        ));
    }
    if seen.is_empty() && site.projects.is_empty() {
        findings.push(bad(
            format!("site {}: the account sees no project", site.name),
            "give it Browse Projects in those whose issues it is to work on (project settings -> Permissions)",
        ));
    }
    let mut able = Vec::new();
    for Seen { key, service_desk } in seen {
        match platform.lacks(&key, clock::now()).await {
            Ok(lacking) if lacking.is_empty() => able.push(key.clone()),
            Ok(lacking) => findings.extend(lacking.into_iter().map(|right| {
                bad(
                    format!("site {}: the account may not {} in project {key}", site.name, right.what),
                    &format!("give it {} there (project settings -> Permissions)", right.name),
                )
            })),
            Err(obstacle) => findings.push(bad(
                format!("site {}: what the account may do in {key} is not known: {}", site.name, obstacle.because()),
                "try again; the reason says what helps",
            )),
        }
        if service_desk {
            let what = "is for service management: comments there are internal, customers do not see them";
            findings.push(good(format!("site {}: project {key} {what}", site.name)));
        }
    }
    if !able.is_empty() {
        let may = "the account may comment, log work, move issues and take back its own in";
        findings.insert(0, good(format!("site {}: {may} {}", site.name, able.join(", "))));
    }
    findings
}

/// How marks are found again, as far as the daemon knows.
fn marks(site: &Settings, places: &Places) -> Option<Finding> {
    if site.executor != Executor::Agent {
        return None;
    }
    let of = OfSite { site: site.name.clone() };
    let found: Vec<ReadBack> = admin::get(places, "/read-backs", &of).ok()?;
    let said: Vec<String> = found.iter().map(|found| shown(found.what, found.way)).collect();
    Some(match said.is_empty() {
        false => good(format!("site {}: {}", site.name, said.join("; "))),
        true => Finding {
            cure: Some(format!("agent doctor --write-probe ISSUE --site {}", site.name)),
            ..good(format!("site {}: how it keeps the marks of what was done was never tried", site.name))
        },
    })
}

/// How something marked is found again, in words.
pub fn shown(what: Marked, way: Way) -> String {
    let what = match what {
        Marked::Comment => "comments",
        Marked::Worklog => "entries of work",
    };
    let way = match way {
        Way::List => "by the properties that the list gives",
        Way::Ids => "by asking for many with their properties",
        Way::Property => "by asking each for its property",
        Way::Text => "by a word in their text",
    };
    format!("{what} are found again {way}")
}
