//! What the content key is blind to and what it is not, over random trees.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tg::digest::{Inputs, Surroundings, read};
use tg::names::{ImageId, ImageRef, Key};
use tg::taskfile::model::ImageSpec;

/// What is at a path of a generated tree; directories come with what is in them.
#[derive(Clone, Debug)]
enum Node {
    File { content: Vec<u8>, mode: u32 },
    Link { target: Vec<u8> },
    Directory { mode: u32 },
}

type Nodes = BTreeMap<Vec<u8>, Node>;
type Args = BTreeMap<String, String>;

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["[a-c]", "[a-c] [a-c]", "\\.[a-c]é"].prop_map(String::into_bytes)
}

fn node() -> impl Strategy<Value = Node> {
    let mode = |always: u32| (0..0o10000_u32).prop_map(move |mode| mode | always);
    prop_oneof![
        4 => (vec(any::<u8>(), 0..5), mode(0o400)).prop_map(|(content, mode)| Node::File { content, mode }),
        1 => vec(b'a'..b'f', 1..6).prop_map(|target| Node::Link { target }),
        1 => mode(0o700).prop_map(|mode| Node::Directory { mode }),
    ]
}

/// Paths of up to three names, at least one of them a file.
fn nodes() -> impl Strategy<Value = Nodes> {
    let path = vec(name(), 1..4).prop_map(|names| names.join(&b'/'));
    let file = Node::File { content: vec![1, 2, 3], mode: 0o644 };
    btree_map(path, node(), 0..6).prop_map(move |mut nodes| {
        nodes.insert(b"file".to_vec(), file.clone());
        // What is below a file or a link cannot be there.
        let solid = |n: &Node| !matches!(n, Node::Directory { .. });
        let files: Vec<Vec<u8>> =
            nodes.iter().filter(|(_, n)| solid(n)).map(|(p, _)| [p, &b"/"[..]].concat()).collect();
        nodes.retain(|path, _| !files.iter().any(|file| path.starts_with(file)));
        nodes
    })
}

fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

fn write(root: &Path, nodes: &Nodes) {
    for (path, node) in nodes {
        let path = at(root, path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match node {
            Node::File { content, .. } => std::fs::write(path, content).unwrap(),
            Node::Link { target } => symlink(OsStr::from_bytes(target), path).unwrap(),
            Node::Directory { .. } => std::fs::create_dir_all(path).unwrap(),
        }
    }
    // Directories that are only there for what is in them would get whatever the umask says.
    for path in directories(root) {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    for (path, node) in nodes {
        if let Node::File { mode, .. } | Node::Directory { mode } = node {
            std::fs::set_permissions(at(root, path), Permissions::from_mode(*mode)).unwrap();
        }
    }
}

fn directories(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        let children = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        found.extend(children.filter(|c| c.file_type().unwrap().is_dir()).map(|c| c.path()));
        next += 1;
    }
    found
}

fn key(root: &Path, args: &Args) -> Key {
    // Outside of the context, so that mutations of the tree leave it alone.
    let dockerfile = root.parent().unwrap().join("Dockerfile");
    std::fs::write(&dockerfile, "FROM scratch\nCOPY . /\n").unwrap();
    let id = ImageId { name: "app".to_owned(), variant: None };
    let tag = ImageRef::parse("app:test").unwrap();
    let mut spec = ImageSpec::new(id, tag, root.to_path_buf(), dockerfile);
    spec.args = args.clone();
    let surroundings =
        Surroundings { platform: "linux/amd64".to_owned(), ..Surroundings::default() };
    let sources = read(&spec, &surroundings, None).unwrap();
    Inputs::new(&spec, &sources, &surroundings, &BTreeMap::new()).key()
}

/// The tree in a directory of its own; the outer one is removed with it.
fn written(nodes: &Nodes) -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("context");
    std::fs::create_dir(&root).unwrap();
    write(&root, nodes);
    (outer, root)
}

fn key_of(nodes: &Nodes, args: &Args) -> Key {
    let (_outer, root) = written(nodes);
    key(&root, args)
}

/// Every way to flip one bit of a text that leaves it a name: no slash, no NUL, not `.` or `..`, ASCII.
fn flipped(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (index, bit) in (0..text.len()).flat_map(|index| (0..7).map(move |bit| (index, bit))) {
        let mut other = text.to_vec();
        other[index] ^= 1 << bit;
        let plain = other[index] != b'/' && other[index] != 0 && text[index].is_ascii();
        if plain && other != b"." && other != b".." {
            all.push(other);
        }
    }
    all
}

/// Every tree that differs in one bit of one thing.
fn neighbours(nodes: &Nodes) -> Vec<(String, Nodes)> {
    let mut all = Vec::new();
    let mut with = |what: String, change: &dyn Fn(&mut Nodes)| {
        let mut other = nodes.clone();
        change(&mut other);
        all.push((what, other));
    };
    for (path, node) in nodes {
        let shown = String::from_utf8_lossy(path).into_owned();
        let put =
            |node: Node| move |nodes: &mut Nodes| drop(nodes.insert(path.clone(), node.clone()));
        match node {
            Node::File { content, mode } => {
                for bit in 0..content.len() * 8 {
                    let mut content = content.clone();
                    content[bit / 8] ^= 1 << (bit % 8);
                    let node = Node::File { content, mode: *mode };
                    with(format!("{shown}: bit {bit}"), &put(node));
                }
                // Not the bit that lets us read it.
                for bit in (0..12).filter(|bit| *bit != 8) {
                    let node = Node::File { content: content.clone(), mode: mode ^ (1 << bit) };
                    with(format!("{shown}: mode bit {bit}"), &put(node));
                }
            }
            Node::Link { target } => {
                for target in flipped(target) {
                    with(format!("{shown}: target"), &put(Node::Link { target }));
                }
            }
            Node::Directory { mode } => {
                for bit in (0..12).filter(|bit| !(6..9).contains(bit)) {
                    let node = Node::Directory { mode: mode ^ (1 << bit) };
                    with(format!("{shown}: mode bit {bit}"), &put(node));
                }
            }
        }
    }
    let file = &nodes[&b"file"[..]];
    for name in flipped(b"file").into_iter().filter(|name| !nodes.contains_key(name)) {
        let renamed = |nodes: &mut Nodes| {
            nodes.remove(&b"file"[..]);
            nodes.insert(name.clone(), file.clone());
        };
        with(format!("name {}", String::from_utf8_lossy(&name)), &renamed);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn one_bit_of_anything_changes_the_key(
        nodes in nodes(),
        args in btree_map("[A-C]{1,2}", "[a-z]{0,3}", 1..3),
    ) {
        let before = key_of(&nodes, &args);
        prop_assert_eq!(&key_of(&nodes, &args), &before, "the same tree elsewhere");
        for (what, other) in neighbours(&nodes) {
            prop_assert_ne!(&key_of(&other, &args), &before, "{}", what);
        }
        for (name, value) in &args {
            for value in flipped(value.as_bytes()) {
                let mut args = args.clone();
                args.insert(name.clone(), String::from_utf8(value).unwrap());
                prop_assert_ne!(&key_of(&nodes, &args), &before, "argument {}", name);
            }
            for other in flipped(name.as_bytes()) {
                let mut renamed = args.clone();
                let value = renamed.remove(name).unwrap();
                if renamed.insert(String::from_utf8(other).unwrap(), value).is_none() {
                    prop_assert_ne!(&key_of(&nodes, &renamed), &before, "argument's name");
                }
            }
        }
    }

    #[test]
    fn times_places_owners_and_umasks_do_not(nodes in nodes(), seconds in 0..2_000_000_000_u64) {
        let (_outer, root) = written(&nodes);
        let before = key(&root, &Args::new());
        // Touched.
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (path, _) in nodes.iter().filter(|(_, node)| matches!(node, Node::File { .. })) {
            File::open(at(&root, path)).unwrap().set_modified(time).unwrap();
        }
        prop_assert_eq!(&key(&root, &Args::new()), &before, "touched");
        // Moved, which also changes every name above it.
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("other name");
        std::fs::rename(&root, &moved).unwrap();
        prop_assert_eq!(&key(&moved, &Args::new()), &before, "moved");
        // Another owner, as far as this user may give files away: root to anybody, others to themselves. The mode has to be
        // set again, for the system drops some of its bits.
        let own = rustix::process::getuid();
        let other = if own.is_root() { 12345 } else { own.as_raw() };
        for (path, node) in &nodes {
            std::os::unix::fs::lchown(at(&moved, path), Some(other), None).unwrap();
            if let Node::File { mode, .. } | Node::Directory { mode } = node {
                std::fs::set_permissions(at(&moved, path), Permissions::from_mode(*mode)).unwrap();
                prop_assert_eq!(std::fs::metadata(at(&moved, path)).unwrap().mode() & 0o7777, *mode);
            }
        }
        prop_assert_eq!(&key(&moved, &Args::new()), &before, "given away");
        // Written again under another umask, with the modes restored: `write` restores them.
        let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let again = key_of(&nodes, &Args::new());
        rustix::process::umask(umask);
        prop_assert_eq!(&again, &before, "another umask");
    }
}
