//! Has the linker pack the addresses that a program has to be told at its start: less to read, and half a megabyte less.

#![allow(clippy::disallowed_methods, reason = "it runs in the build, where the target is told by the environment")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    // Linkers that do not know the option pass over it; C libraries have understood what it makes since 2022.
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
