//! What the program that Git starts and the daemon say to each other, and what both of them know.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod call; // what Git told a hook, and what the daemon says to it
pub mod frame; // the envelope of whatever goes to the daemon
pub mod sure; // what is sure about a message or a branch
