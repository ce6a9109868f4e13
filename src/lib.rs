//! `git-jira-agent`: any Git repository shows in Jira.
//!
//! The modules stand in the order in which data flows; a module may name those above it, never those
//! below. `ARCHITECTURE.md` tells the way of one push through them. This is a library only because
//! fuzz targets and benchmarks need one; nobody is promised its interface.

pub mod text; // bytes from outside, made safe to show
pub mod secret; // values that must never appear
pub mod failpoint; // where a test lets the process die
pub mod clock; // the time of day
pub mod request; // what is asked and answered over HTTP
pub mod git; // what happened in a repository
pub mod parse; // what a commit message asks of Jira
pub mod issue; // what Jira says of issues, as the daemon tells it
pub mod branch; // what a branch for an issue is called
pub mod policy; // what a team asks of a message
pub mod event; // git and parse joined: one thing Jira should hear
pub mod people; // who is who in Git, at the host and in Jira
pub mod intake; // from a hook to the daemon, or to disk
pub mod queue; // events Jira has not heard yet, kept safe
pub mod entity; // an event as the commits and branches Jira keeps
pub mod effect; // an order, once it is to be carried out
pub mod smart; // who may give orders
pub mod sync; // what an event means, and what no hook told
pub mod send; // telling Jira: batches, retries, effects
pub mod login; // people's own accounts in Jira: proven, sealed, opened
pub mod mail; // what went wrong with orders, told to whoever gave them
pub mod host; // where repositories live, and how hooks get there
pub mod serve; // all of the above, shown to administrators
pub mod sandbox; // a Jira to try with
pub mod config; // how people tune all of the above
pub mod team; // what a team suggests for its clones
pub mod receive; // what a push brings, read and answered
pub mod log; // what the program says of itself
pub mod daemon; // the process that keeps the line moving
pub mod cli; // the words a person may say
