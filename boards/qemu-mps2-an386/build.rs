//! Puts the memory map where the linker finds it, and names the linker scripts, so that no cargo configuration is needed.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for (name, text) in [("memory.x", include_str!("memory.x")), ("device.x", include_str!("device.x"))] {
        if let Err(error) = fs::write(out.join(name), text) {
            println!("cargo::error=cannot write {name}: {error}");
        }
        println!("cargo::rerun-if-changed={name}");
    }
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    println!("cargo::rustc-link-arg-bins=--nmagic");
    // Functions that came out the same are linked once. No address of one is ever compared.
    println!("cargo::rustc-link-arg-bins=--icf=all");
}
