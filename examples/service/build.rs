//! Hashes the sources into `SOURCE_DIGEST`, so that a running service can tell
//! which sources it was compiled from, and a test can compare that with its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    // Cargo runs a build script with the package's folder as current folder.
    // Every path stays relative to it: the image has another folder than the host.
    let mut paths = vec![PathBuf::from("Cargo.toml"), PathBuf::from("build.rs")];
    files_below(Path::new("src"), &mut paths)?;

    let mut files = Vec::new();
    for path in paths {
        let name = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect::<Vec<_>>()
            .join("/");
        files.push((name, fs::read(&path)?));
    }
    // A directory lists its files in no fixed order.
    files.sort();

    let mut hash = Sha256::new();
    for (name, content) in &files {
        // Each length goes first, so that no byte can move from a file's name to
        // its content, or from one file to the next, and leave the hash the same.
        for part in [name.as_bytes(), content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=SOURCE_DIGEST={digest}");

    for watched in ["Cargo.toml", "build.rs", "src"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    Ok(())
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files_below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}
