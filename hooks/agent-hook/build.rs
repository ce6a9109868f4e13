//! Has the program linked without a C library and without what a C compiler adds: it begins at its own `_start`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none"] {
        println!("cargo::rustc-link-arg-bin=agent-hook={argument}");
    }
}
