//! Puts the functions that agents execute beside each other in the program, so that the kernel keeps little of it in memory: see
//! `ci/function-order`. Only in release builds for Linux. Warns if that is not possible; the program works without it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let script = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("ci/functions.ld");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    if variable("PROFILE") != "release" || variable("CARGO_CFG_TARGET_OS") != "linux" || !script.exists() {
        return;
    }
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let flags: Vec<&str> = flags.split('\u{1f}').filter(|flag| !flag.is_empty()).collect();
    if !flags.iter().any(|flag| flag.ends_with("symbol-mangling-version=v0")) {
        return warn("RUSTFLAGS has no `-C symbol-mangling-version=v0`, which .cargo/config.toml sets");
    }
    let argument = format!("-T{}", script.display());
    match link_with(&argument, &flags) {
        Ok(()) => println!("cargo:rustc-link-arg-bins={argument}"),
        Err(why) => warn(&format!("the linker does not take ci/functions.ld: {why}")),
    }
}

/// Links an empty program with this argument. The error says what the linker said: gold and mold know no such scripts.
fn link_with(argument: &str, flags: &[&str]) -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR"));
    let source = out.join("empty.rs");
    std::fs::write(&source, "fn main() {}").map_err(|error| error.to_string())?;
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition=2024", "--target", &variable("TARGET")]).args(flags);
    rustc.arg("-C").arg(format!("link-arg={argument}"));
    if env::var_os("RUSTC_LINKER").is_some() {
        rustc.arg("-C").arg(format!("linker={}", variable("RUSTC_LINKER")));
    }
    let done = rustc.arg("-o").arg(out.join("empty")).arg(&source).output().map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let lines: Vec<&str> =
        said.lines().map(|line| line.trim_start_matches([' ', '=']).trim_start_matches("note: ")).collect();
    // The lines of rustc itself begin with `error`, and only say that the linker failed.
    let of_linker = lines.iter().find(|line| line.contains("error") && !line.starts_with("error"));
    Err(of_linker.or(lines.first()).map_or("it says nothing", |line| line).to_string())
}

fn warn(why: &str) {
    println!("cargo:warning=functions are not put beside each other, so more of the program will be in memory: {why}");
}

/// A variable that cargo sets.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
