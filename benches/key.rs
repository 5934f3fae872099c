//! What deciding costs: walking and reading a context, ignore rules, digests, records, Dockerfiles. docs/performance.md
//! says how to run it.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tg::digest::contents;
use tg::digest::dockerfile::{Situation, external};
use tg::digest::ignore::{IgnoreRules, Matched};
use tg::digest::manifest::{Manifest, decode, encode};
use tg::digest::stat_cache::device_that_keeps_times;
use tg::digest::tree::{Content, Entry, MAIN, Stat, Tree, digest};

const PER_DIRECTORY: usize = 100;
const ENTRIES: usize = 100_000;
const KIND: &str = "manifest 1";

/// Twenty rules of the kinds that people write, in a file as large projects have it.
const RULES: &str = "\
**/.git
**/target
**/node_modules
**/*.log
**/*.tmp
*.md
docs
!docs/reference
build/**
!build/keep.txt
**/__pycache__
**/.venv
.idea
.vscode
dist-*
tests/fixtures/**/*.bin
src/**/generated_?.rs
**/*~
coverage
Makefile
";

const DOCKERFILE: &str = r#"# syntax=docker/dockerfile:1
ARG RUST=1.89
ARG VARIANT=${RUST:+slim}
FROM --platform=$BUILDPLATFORM rust:${RUST}-${VARIANT:-full} AS build
ARG TARGETARCH PROFILE=release
ENV CARGO_HOME=/cargo PATH=/cargo/bin:${PATH} OUT=target/${TARGETARCH}/${PROFILE}
RUN --mount=type=cache,target=/cargo/registry --mount=type=bind,from=alpine:3.20,target=/x \
    cargo build --profile "${PROFILE}" \
    # a comment in between
    && cp "$OUT/app" /app
COPY <<-EOF /etc/app.toml
	name = "app"
	EOF
FROM build AS check
RUN cargo test
FROM gcr.io/distroless/cc-debian12:nonroot
ADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://example.com/a /a
COPY --from=build --chown=1000:1000 /app /etc/app.toml /
ENTRYPOINT ["/app"]
"#;

/// A path of a generated tree: directories of a hundred files, ten of them in each above.
fn path(number: usize) -> String {
    let directory = number / PER_DIRECTORY;
    format!("src/m{:03}/d{directory:04}/file_{number:06}.rs", directory / 10)
}

/// Files of 0 to 4 KiB whose bytes follow from their numbers.
fn write_files(root: &Path, count: usize) {
    for number in 0..count {
        let file = root.join(path(number));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let line = format!("file {number}\n");
        let length = number * 7919 % 4096;
        let mut text = line.repeat(length / line.len() + 1);
        text.truncate(length);
        fs::write(file, text).unwrap();
    }
}

/// A tree as a walk would have made it.
fn tree() -> Tree {
    let entry = |number: usize| {
        let mut sha = [0; 32];
        sha[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let mtime_ns = 1_700_000_000_000_000_000 + number as i64 * 1_000_003;
        let size = (number * 7919 % 4096) as u64;
        let inode = 1_000_000 + number as u64;
        let stat = Stat { mode: 0o644, size, mtime_ns, ctime_ns: mtime_ns + 5, inode };
        (
            path(number).into_bytes().into(),
            Entry { content: Content::File(sha), xattrs: None, stat },
        )
    };
    Tree::new((0..ENTRIES).map(entry).collect())
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("context");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let rules = IgnoreRules::parse(RULES.as_bytes()).unwrap();
    for count in [1_000, 10_000] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        write_files(root, count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("cold", count), |bencher| {
            bencher.iter(|| contents::read(root, &rules, None).unwrap());
        });
        let first = contents::read(root, &rules, None).unwrap().tree;
        // On a file system that nothing is remembered of there is no warm run to measure.
        let Some(device) = device_that_keeps_times(root) else { continue };
        group.bench_function(BenchmarkId::new("warm", count), |bencher| {
            bencher.iter(|| {
                let again = contents::read(root, &rules, Some((&first, device))).unwrap();
                assert_eq!(again.read, 0, "a warm run reads nothing");
                again
            });
        });
    }
    group.finish();
}

fn verdicts(criterion: &mut Criterion) {
    let rules = IgnoreRules::parse(RULES.as_bytes()).unwrap();
    assert_eq!(rules.rules().len(), 20);
    let paths: Vec<String> = (0..ENTRIES).map(path).collect();
    let mut group = criterion.benchmark_group("ignore");
    group.throughput(Throughput::Elements(paths.len() as u64));
    group.bench_function("100k paths, 20 rules", |bencher| {
        bencher.iter(|| {
            let parent = Matched::default();
            let excluded =
                |path: &&String| rules.verdict(&parent, path.as_bytes()).unwrap().excluded;
            black_box(paths.iter().filter(excluded).count())
        });
    });
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let tree = tree();
    let mut group = criterion.benchmark_group("record");
    group.sample_size(20).throughput(Throughput::Elements(ENTRIES as u64));
    group.bench_function("digest of 100k entries", |bencher| {
        bencher.iter(|| digest(black_box(&tree)));
    });
    let trees = BTreeMap::from([(MAIN.to_owned(), tree)]);
    let manifest = Manifest { key: "tg2:00".to_owned(), trees, ..Manifest::default() };
    group.bench_function("write 100k entries", |bencher| {
        bencher.iter(|| encode(KIND, black_box(&manifest)).unwrap());
    });
    let bytes = encode(KIND, &manifest).unwrap();
    group.bench_function("read 100k entries", |bencher| {
        bencher.iter(|| decode::<Manifest>(KIND, black_box(&bytes)).unwrap());
    });
    group.finish();
}

fn dockerfile(criterion: &mut Criterion) {
    let (args, contexts) = (BTreeMap::new(), BTreeSet::new());
    let situation = Situation {
        args: &args,
        platform: "linux/arm64",
        build_platform: "linux/amd64",
        target: None,
        contexts: &contexts,
        volatile: &contexts,
    };
    assert_eq!(external(DOCKERFILE, &situation).unwrap().images.len(), 3);
    criterion.bench_function("dockerfile", |bencher| {
        bencher.iter(|| external(black_box(DOCKERFILE), &situation).unwrap());
    });
}

criterion_group!(benches, reading, verdicts, records, dockerfile);
criterion_main!(benches);
