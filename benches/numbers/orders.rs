//! What it takes to carry out orders: from the push to the comment, and how many a second.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::Effort;
use super::row::{Row, Times};
use super::world::{World, wait_for};

/// How many writes to one issue Jira takes in how many seconds, as its page on rate limits says.
const PER_ISSUE: [(usize, usize); 2] = [(20, 2), (100, 30)];

/// Orders in pushes of their own, then many at once on one issue and on a hundred.
pub fn carried_out(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![one_by_one(effort.times(5, 30))?];
    for (issues, orders) in [(1, effort.times(50, 200)), (100, effort.times(200, 2000))] {
        rows.push(at_once(issues, orders)?);
    }
    Ok(rows)
}

fn one_by_one(pushes: usize) -> anyhow::Result<Row> {
    let world = World::with_orders(&["ABC"], 9)?;
    let _daemon = world.daemon()?;
    let (target, work) = begin(&world)?;
    let mut times = Times::default();
    for number in 0..pushes {
        let message = format!("ABC-{} #comment number {number}", 1 + number % 9);
        world.git(&work, &["commit", "--quiet", "--allow-empty", "-m", &message])?;
        let id = world.git(&work, &["rev-parse", "HEAD"])?;
        let began = jiff::Timestamp::now().as_millisecond();
        world.git(&work, &["push", "--quiet", &target, "HEAD:main"])?;
        let sql =
            format!("SELECT coalesce(max(settled_at), 0) FROM effect WHERE commit_id = '{id}' AND state = 'settled'");
        let mut settled = 0;
        wait_for(Duration::from_secs(30), "an order is carried out", || {
            settled = world.count(&sql)?;
            Ok(settled > 0)
        })?;
        times.add(Duration::from_millis(settled.saturating_sub(began.unsigned_abs())));
    }
    let (p50, p99) = (times.p50(), times.p99());
    Ok(Row::new(
        "start of a push → its order carried out in the sandbox",
        format!("p50 {p50:.0} ms, p99 {p99:.0} ms ({pushes} pushes)"),
    ))
}

fn at_once(issues: usize, orders: usize) -> anyhow::Result<Row> {
    let world = World::with_orders(&["ABC"], issues.try_into()?)?;
    world.tune(r#"{"paced": true}"#)?;
    let _daemon = world.daemon()?;
    let (target, work) = begin(&world)?;
    let now = jiff::Timestamp::now().as_second();
    let stream = (0..orders).fold(String::new(), |mut stream, number| {
        let from = if number == 0 { "from refs/heads/main^0\n" } else { "" };
        let message = format!("ABC-{} #comment number {number}", 1 + number % issues);
        let _ = write!(
            stream,
            "commit refs/heads/main\nauthor Ann <ann@example.org> {now} +0000\ncommitter Ann <ann@example.org> {now} +0000\n\
             data {}\n{message}\n{from}",
            message.len()
        );
        stream
    });
    world.import(&work, stream.as_bytes())?;
    world.git(&work, &["push", "--quiet", &target, "main"])?;
    let open = "SELECT count(*) FROM effect WHERE state NOT IN ('settled', 'refused')";
    let all = "SELECT count(*) FROM effect";
    let whole = |world: &World| Ok(world.count(all)? == orders as u64 && world.count(open)? == 0);
    wait_for(Duration::from_secs(300), "all orders are carried out", || whole(&world))?;
    let done = world.count("SELECT count(*) FROM effect WHERE state = 'settled'")?;
    ensure!(done == orders as u64, "{done} of {orders} were carried out");
    let span = world.count("SELECT max(settled_at) - min(added_at) FROM effect")? as f64 / 1000.0;
    let what = format!("{orders} orders on {issues} issue{} in one push", if issues == 1 { "" } else { "s" });
    let row = Row::new(what, format!("{:.1} orders/s for {span:.1} s, none lost, none twice", orders as f64 / span));
    let least = least(orders.div_ceil(issues));
    Ok(match least {
        0 => row,
        _ => row.beside(format!("the least that Jira's limit for an issue allows: {least} s"), span / least as f64),
    })
}

/// In how many seconds at least Jira takes so many writes to one issue.
fn least(orders: usize) -> usize {
    let [(few, soon), (many, late)] = PER_ISSUE;
    let last = orders.saturating_sub(1);
    last / many * late + last % many / few * soon
}

/// A repository that is known already, and a working copy of it.
fn begin(world: &World) -> anyhow::Result<(String, std::path::PathBuf)> {
    let target = world.repository("ours")?;
    world.install(&target)?;
    let work = world.folder.join("work");
    let target = target.to_str().context("the folder has a name in UTF-8")?.to_owned();
    world.git(&world.folder, &["clone", "--quiet", &target, "work"])?;
    for (name, value) in [("user.name", "Ann"), ("user.email", "ann@example.org")] {
        world.git(&work, &["config", name, value])?;
    }
    world.git(&work, &["commit", "--quiet", "--allow-empty", "-m", "ABC-1 begin"])?;
    world.git(&work, &["push", "--quiet", &target, "HEAD:main"])?;
    world.wait_until_told(Duration::from_secs(30))?;
    Ok((target, work))
}
