//! Validated names: image references, digests, content keys, images of the task file.
//! Depends on: std, serde.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A reference to an image as people write it (`app`, `app:test`, `localhost:5001/x/y:z`), checked and made canonical
/// the way Docker and containerd do: default registry `docker.io`, default namespace `library/`, default tag `latest`.
///
/// Source of the grammar: the distribution project's `reference` package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    familiar: String,
    canonical: String,
    tag: String,
}

impl ImageRef {
    /// Parses a name with an optional tag.
    ///
    /// # Errors
    /// A sentence fragment that says which part is wrong: empty, upper case, bad characters, a digest where a tag is needed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an image name may not be empty".to_owned());
        }
        if text.contains('@') {
            return Err(format!("`{text}` names a digest; an image to build or load needs a tag"));
        }
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        check_tag(text, tag)?;
        let (domain, path) = match name.split_once('/') {
            Some((first, rest))
                if first.contains('.') || first.contains(':') || first == "localhost" =>
            {
                (first, rest.to_owned())
            }
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        check_domain(text, domain)?;
        let path = if domain == "docker.io" && !path.contains('/') {
            format!("library/{path}")
        } else {
            path
        };
        for component in path.split('/') {
            check_component(text, component)?;
        }
        Ok(Self {
            familiar: format!("{name}:{tag}"),
            canonical: format!("{domain}/{path}:{tag}"),
            tag: tag.to_owned(),
        })
    }

    /// The name as Docker's command line shows it, always with its tag (`app:test`).
    #[must_use]
    pub fn familiar(&self) -> &str {
        &self.familiar
    }

    /// The full name as containerd stores it (`docker.io/library/app:test`).
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The tag alone.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The familiar name without its tag.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.familiar
            .strip_suffix(&self.tag)
            .map_or(&self.familiar, |name| name.trim_end_matches(':'))
    }

    /// The same repository under another tag.
    ///
    /// # Errors
    /// As [`ImageRef::parse`].
    pub fn with_tag(&self, tag: &str) -> Result<Self, String> {
        Self::parse(&format!("{}:{tag}", self.repository()))
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.familiar)
    }
}

fn check_tag(whole: &str, tag: &str) -> Result<(), String> {
    let mut bytes = tag.bytes();
    let first_ok = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest_ok = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !first_ok || !rest_ok || tag.len() > 128 {
        return Err(format!("`{tag}` in `{whole}` is not a valid tag"));
    }
    Ok(())
}

/// A host of letters, digits, `-` and `.`, or an IPv6 address in brackets; then perhaps a port.
fn check_domain(whole: &str, domain: &str) -> Result<(), String> {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        bytes.iter().all(inner)
            && bytes.first().zip(bytes.last()).is_some_and(|(a, z)| *a != b'-' && *z != b'-')
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let sound = match bracketed {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
        }
        None => host.split('.').all(label),
    };
    let digits = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if sound && port.is_none_or(digits) {
        Ok(())
    } else {
        Err(format!("`{domain}` in `{whole}` is not a registry's host"))
    }
}

fn check_component(whole: &str, component: &str) -> Result<(), String> {
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("the repository in `{whole}` must be lower case"));
    }
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = component.as_bytes();
    let inner = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if !inner || !edge(bytes.first()) || !edge(bytes.last()) {
        return Err(format!("`{whole}` is not a valid image name"));
    }
    Ok(())
}

/// The digest of an image's config: the one identity that Docker's two image stores and containerd agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigDigest(String);

impl TryFrom<String> for ConfigDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no digest"))
    }
}

impl From<ConfigDigest> for String {
    fn from(digest: ConfigDigest) -> Self {
        digest.0
    }
}

impl ConfigDigest {
    /// Takes `sha256:<64 hex digits>`; anything else is not a digest.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| Self(text.to_owned()))
    }

    /// The whole digest with its algorithm.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 hex digits, as Docker's own lists show.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(7..19).unwrap_or(&self.0)
    }
}

impl fmt::Display for ConfigDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A content key: its schema (such as `tg2:`) and 64 hex digits; everything that decides a build, in one value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Wraps a key that was computed or read from a label. Any text is accepted: a key is only ever compared.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The whole key, as the label carries it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The schema in front of the digits, or nothing.
    #[must_use]
    pub fn schema(&self) -> &str {
        self.0.split_once(':').map_or("", |(schema, _)| schema)
    }

    /// The first 12 digits after the schema, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        let digits = self.0.split_once(':').map_or(self.0.as_str(), |(_, digits)| digits);
        digits.get(..12).unwrap_or(digits)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image of the task file: its name, and the variant when one was asked for. Shown as `name` or `name.variant`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId {
    /// The name in `[images.NAME]`.
    pub name: String,
    /// The name in `[images.NAME.variants.VARIANT]`.
    pub variant: Option<String>,
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.variant.iter().try_for_each(|variant| write!(f, ".{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_become_what_containerd_stores() {
        let check = |text: &str, familiar: &str, canonical: &str| {
            let parsed = ImageRef::parse(text).unwrap();
            assert_eq!((parsed.familiar(), parsed.canonical()), (familiar, canonical), "{text}");
        };
        check("app", "app:latest", "docker.io/library/app:latest");
        check("app:test", "app:test", "docker.io/library/app:test");
        check("team/app:1", "team/app:1", "docker.io/team/app:1");
        check("docker.io/app:1", "docker.io/app:1", "docker.io/library/app:1");
        check("docker.io/library/app:1", "docker.io/library/app:1", "docker.io/library/app:1");
        check("localhost:5001/x/y:z", "localhost:5001/x/y:z", "localhost:5001/x/y:z");
        check("localhost:5001/x/y", "localhost:5001/x/y:latest", "localhost:5001/x/y:latest");
        check("[fd00::1]:5000/x:1", "[fd00::1]:5000/x:1", "[fd00::1]:5000/x:1");
        check("ghcr.io/a/b:v1.2", "ghcr.io/a/b:v1.2", "ghcr.io/a/b:v1.2");
    }

    #[test]
    fn bad_references_say_what_is_wrong() {
        for (text, part) in [
            ("", "empty"),
            ("App:test", "lower case"),
            ("app:te st", "not a valid tag"),
            ("app:", "not a valid tag"),
            ("-app:x", "not a valid image name"),
            ("a//b:x", "not a valid image name"),
            ("docker.; 1 ignored; 0 io/2_3-x", "not a registry's host"),
            ("a..b/c", "not a registry's host"),
            ("-a.b/c", "not a registry's host"),
            ("a.b:x/c:1", "not a registry's host"),
            ("app@sha256:00", "digest"),
        ] {
            let error = ImageRef::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_tag_can_be_replaced() {
        let image = ImageRef::parse("localhost:5001/x:test").unwrap();
        assert_eq!(image.repository(), "localhost:5001/x");
        assert_eq!(image.with_tag("test-fast").unwrap().familiar(), "localhost:5001/x:test-fast");
    }
}
