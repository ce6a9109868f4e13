//! The outer tests: the real binary, real git, a cleared environment, and the sandbox Jira.
//!
//! A test is named after the promise it keeps and begins with the id of the fault or feature it
//! holds. Whatever a test starts binds loopback and dies with it.

#![allow(clippy::disallowed_methods, reason = "tests are not the product: they read the environment and the clock")]

mod account;
mod accounts;
mod begin;
mod cases;
mod clock;
mod clone;
mod commit;
mod contract;
mod copies;
mod crash;
mod direct;
mod effects_contract;
mod executor;
mod foreign;
mod gone;
mod harness;
mod hook;
mod hosts;
mod hostile;
mod forwarding;
mod issues;
mod jira;
mod linked;
mod moved_keys;
mod network;
mod news;
mod operations;
mod message;
mod platform;
mod policy;
mod process;
mod push;
mod relink;
mod remote;
mod repo;
mod repositories;
mod rewritten;
mod routes;
mod scan;
mod short;
mod signed;
mod smart;
mod storm;
mod synchronise;
mod teams;
mod tools;
mod ssh;
mod standby;
mod store;
mod tidy;
mod travels;
mod uninstall;
mod unlink;
mod verify;
