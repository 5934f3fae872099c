//! Image references and platforms in the one spelling that the builder resolves.
//! Depends on: std.

/// A reference with registry, repository and tag: `debian` is `docker.io/library/debian:latest`.
pub(super) fn normalized(written: &str) -> Result<String, String> {
    let invalid = || format!("invalid image reference `{written}`");
    if written.len() == 64 && written.bytes().all(is_lower_hex) {
        return Err(invalid());
    }
    let (domain, rest) = match written.split_once('/') {
        Some((domain, rest)) if is_domain(domain) => (domain, rest),
        _ => ("docker.io", written),
    };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let library = domain == "docker.io" && !rest.contains('/');
    let rest = if library { format!("library/{rest}") } else { rest.to_owned() };
    let (named, digest) = match rest.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (rest.as_str(), None),
    };
    let (path, tag) = match named.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (named, None),
    };
    // A domain with an underscore is none, but may be read as a part of the path.
    let as_path = path_parts(domain) && !domain.contains(':');
    let valid = (is_host(domain) || as_path)
        && path.len() <= 255
        && path_parts(path)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    if !valid {
        return Err(invalid());
    }
    let tag = tag.or(digest.is_none().then_some("latest"));
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    Ok(format!("{domain}/{path}{tag}{digest}"))
}

/// The short spelling by which the builder knows a named context: `docker.io/library/debian:latest` is `debian`.
pub(super) fn context_name(written: &str) -> Option<String> {
    let full = normalized(written).ok()?;
    let short = full.strip_prefix("docker.io/").unwrap_or(&full);
    let short = match short.strip_prefix("library/") {
        Some(name) if !name.contains('/') && short.len() < full.len() => name,
        _ => short,
    };
    Some(short.strip_suffix(":latest").unwrap_or(short).to_owned())
}

/// Whether the first part of a reference is a registry.
fn is_domain(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.chars().any(char::is_uppercase)
}

fn is_host(domain: &str) -> bool {
    let ipv6 = domain.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (valid, port) = match ipv6 {
        Some((address, port)) => {
            let valid =
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            (valid, port)
        }
        None => {
            let (name, port) = domain.split_at(domain.find(':').unwrap_or(domain.len()));
            let label = |label: &str| {
                let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
            };
            (name.split('.').all(label), port)
        }
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    valid && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}

fn path_parts(path: &str) -> bool {
    path.split('/').all(|part| {
        let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let separator =
            |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|b| b == b'-');
        part.starts_with(plain) && part.ends_with(plain) && separators.into_iter().all(separator)
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts = tag.bytes().next().is_some_and(word);
    starts && tag.len() <= 128 && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let length = match digest.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => return false,
    };
    digest
        .split_once(':')
        .is_some_and(|(_, hex)| hex.len() == length && hex.bytes().all(is_lower_hex))
}

/// Whether this is a whole commit of git.
pub(super) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(is_lower_hex)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// A platform in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) os_version: String,
    pub(super) architecture: String,
    pub(super) variant: String,
}

impl Platform {
    /// Reads `os[/architecture[/variant]]`, with the usual names for each.
    pub(super) fn read(written: &str, local: Option<&Self>) -> Result<Self, String> {
        let invalid = || format!("invalid platform `{written}`");
        let parts: Vec<&str> = written.split('/').collect();
        let (os, os_version) = match parts[0].strip_suffix(')').and_then(|os| os.split_once('(')) {
            Some((os, version)) => (os, version),
            None => (parts[0], ""),
        };
        let word = |part: &&str, extra: &str| {
            part.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
        };
        let valid = !os.is_empty()
            && word(&os, "_-")
            && word(&os_version, "_.-")
            && parts[1..].iter().all(|part| !part.is_empty() && word(part, "_.-"));
        if !valid || parts.len() > 3 {
            return Err(invalid());
        }
        let (os, architecture, variant) = match (parts.as_slice(), local) {
            ([_, architecture], _) => (os, *architecture, ""),
            ([_, architecture, variant], _) => (os, *architecture, *variant),
            (_, Some(local)) if KNOWN_SYSTEMS.contains(&os.to_lowercase().as_str()) => {
                (os, local.architecture.as_str(), local.variant.as_str())
            }
            (_, Some(local)) => (local.os.as_str(), os, ""),
            _ => return Err(invalid()),
        };
        let os = os.to_lowercase();
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let (architecture, variant) = architecture_names(architecture, variant);
        let unknown = parts.len() == 1 && !KNOWN_ARCHITECTURES.contains(&architecture.as_str());
        if unknown {
            return Err(invalid());
        }
        Ok(Self { os, os_version: os_version.to_owned(), architecture, variant })
    }

    /// The platform as `TARGETPLATFORM` and `BUILDPLATFORM` spell it.
    pub(super) fn spelled(&self, with_version: bool) -> String {
        let mut os = self.os.clone();
        if with_version && !self.os_version.is_empty() {
            os = format!("{os}({})", self.os_version);
        }
        let parts = [os.as_str(), &self.architecture, &self.variant];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }
}

/// Names that alone mean a system and not an architecture.
const KNOWN_SYSTEMS: [&str; 18] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "macos",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const KNOWN_ARCHITECTURES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

fn architecture_names(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}
