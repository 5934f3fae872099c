//! Labels, names, and what the builder tells: bytes that others wrote.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tg::adapters::buildx::{Progress, ProgressReader, config_digest};
use tg::adapters::cargo::ResultReader;
use tg::names::{ConfigDigest, ImageRef, Key};

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        key(text);
        digest(text);
        image(text);
        if let Some(found) = config_digest(text) {
            digest(found.as_str());
        }
    }
    progress(input);
    let mut results = ResultReader::default();
    results.read(input);
    let _ = results.counts();
});

fn key(text: &str) {
    let key = Key::new(text);
    assert_eq!(key.as_str(), text);
    assert!(text.starts_with(key.schema()) && text.contains(key.short()));
    assert!(key == Key::new(key.to_string()));
}

fn digest(text: &str) {
    let Some(digest) = ConfigDigest::parse(text) else { return };
    assert_eq!(digest.as_str(), text);
    assert_eq!(digest.short().len(), 12);
}

fn image(text: &str) {
    let image = match ImageRef::parse(text) {
        Ok(image) => image,
        Err(message) => return assert!(!message.is_empty()),
    };
    let printable = |c: char| c.is_ascii_graphic();
    assert!(image.canonical().chars().all(printable), "{:?}", image.canonical());
    assert_eq!(format!("{}:{}", image.repository(), image.tag()), image.familiar());
    assert_eq!(image.with_tag(image.tag()).as_ref(), Ok(&image));
    assert_eq!(ImageRef::parse(image.familiar()).as_ref(), Ok(&image));
    let full = ImageRef::parse(image.canonical()).expect("the full name is a name");
    assert_eq!(full.canonical(), image.canonical());
}

/// However the builder's output is cut into pieces, it tells the same.
fn progress(input: &[u8]) {
    let whole = ProgressReader::default().read(input);
    let mut reader = ProgressReader::default();
    let size = input.first().map_or(1, |byte| usize::from(*byte) % 16 + 1);
    let pieces: Vec<Progress> = input.chunks(size).flat_map(|piece| reader.read(piece)).collect();
    assert_eq!(whole, pieces);
}
