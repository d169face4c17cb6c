//! Names the HAL's linker script, so that no cargo configuration is needed.

fn main() {
    println!("cargo::rustc-link-arg-bins=-Tlinkall.x");
    println!("cargo::rustc-link-arg-bins=--nmagic");
}
