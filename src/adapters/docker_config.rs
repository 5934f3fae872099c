//! What Docker's client is configured to do, read from its files: the context, the builder, the proxies.
//! Depends on: std, serde_json, sha2.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The context that `docker context use` has set. `directory` is Docker's configuration directory.
#[must_use]
pub fn current_context(directory: &Path) -> Option<String> {
    Some(json(&directory.join("config.json"))?.get("currentContext")?.as_str()?.to_owned())
}

/// The proxy arguments that the client passes to every build on this engine: `HTTP_PROXY`, `http_proxy` and so on, as
/// docker/cli's `ParseProxyConfig` makes them.
#[must_use]
pub fn proxies(directory: &Path, host: &str) -> BTreeMap<String, String> {
    const KEYS: [(&str, &str); 5] = [
        ("httpProxy", "HTTP_PROXY"),
        ("httpsProxy", "HTTPS_PROXY"),
        ("noProxy", "NO_PROXY"),
        ("ftpProxy", "FTP_PROXY"),
        ("allProxy", "ALL_PROXY"),
    ];
    let config = json(&directory.join("config.json")).unwrap_or_default();
    let proxies = config.get("proxies");
    let own = proxies.and_then(|all| all.get(host).or_else(|| all.get("default")));
    let value = |key| own?.get(key)?.as_str().filter(|value| !value.is_empty());
    KEYS.iter()
        .filter_map(|(key, name)| Some((*name, value(key)?)))
        .flat_map(|(name, value)| [(name.to_owned(), value), (name.to_lowercase(), value)])
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

/// The builder that builds run in, as buildx's `store.Txn.Current` finds it. `buildx` is the directory of the plug-in's own
/// configuration, `chosen` is `BUILDX_BUILDER`; without it the one counts that `docker buildx use` has set for everything or
/// for this engine, then the engine's default one. Empty where nothing is set.
#[must_use]
pub fn builder(buildx: &Path, chosen: Option<&str>, host: &str) -> String {
    let current = || {
        let current = json(&buildx.join("current"))?;
        let global = current.get("Global").and_then(Value::as_bool).unwrap_or_default();
        let here = current.get("Key").and_then(Value::as_str) == Some(host);
        let name = current.get("Name")?.as_str()?;
        (global || here).then(|| name.to_owned())
    };
    let default = || {
        let name = hex(&Sha256::digest(host));
        Some(json(&buildx.join("defaults").join(name))?.as_str()?.to_owned())
    };
    let chosen = chosen.filter(|name| !name.is_empty()).map(str::to_owned);
    chosen.or_else(current).or_else(default).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a builder is the engine itself, which takes a base image that is in Docker as it is. Any other asks the registry.
#[must_use]
pub fn builds_in_engine(buildx: &Path, builder: &str) -> bool {
    // Builders that are not on record are those of Docker's contexts, which build in their engines.
    let instance = json(&buildx.join("instances").join(builder)).filter(|_| !builder.is_empty());
    instance.is_none_or(|instance| instance.get("Driver").is_some_and(|driver| driver == "docker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn the_proxies_of_the_engine_win_over_the_default() {
        let config = r#"{"proxies": {"default": {"httpProxy": "http://d"},
            "unix:///x": {"httpsProxy": "http://x", "noProxy": ""}}}"#;
        let directory = configured(&[("config.json", config)]);
        let names = |host: &str| Vec::from_iter(proxies(directory.path(), host).into_keys());
        assert_eq!(names("unix:///x"), ["HTTPS_PROXY", "https_proxy"]);
        assert_eq!(names("unix:///other"), ["HTTP_PROXY", "http_proxy"]);
        assert!(proxies(Path::new("/nonexistent"), "x").is_empty());
    }

    #[test]
    fn the_driver_of_the_chosen_builder_decides() {
        let directory = configured(&[
            ("buildx/instances/remote", r#"{"Name": "remote", "Driver": "docker-container"}"#),
            ("buildx/instances/plain", r#"{"Name": "plain", "Driver": "docker"}"#),
        ]);
        let buildx = directory.path().join("buildx");
        let in_engine = |chosen| builds_in_engine(&buildx, &builder(&buildx, chosen, "unix:///x"));
        assert!(in_engine(None));
        assert!(in_engine(Some("plain")));
        assert!(in_engine(Some("default")));
        assert!(!in_engine(Some("remote")));
        let current = |text| std::fs::write(buildx.join("current"), text).unwrap();
        current(r#"{"Key": "unix:///other", "Name": "remote", "Global": false}"#);
        assert!(in_engine(None), "set for another engine");
        current(r#"{"Key": "unix:///x", "Name": "remote", "Global": false}"#);
        assert!(!in_engine(None));
        assert!(!in_engine(Some("")), "an empty variable is as one that is not set");
        assert!(in_engine(Some("default")));
        current(r#"{"Key": "unix:///other", "Name": "remote", "Global": true}"#);
        assert!(!in_engine(None));
    }
}
