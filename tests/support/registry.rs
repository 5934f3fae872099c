//! A registry on this machine with one image whose tag can be moved, so that a build can have a base from somewhere else.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

type Objects = Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>;

/// Serves until the test ends. Docker speaks plain HTTP with registries on 127.0.0.1.
pub(crate) struct Registry {
    port: u16,
    objects: Objects,
    asked: Arc<Mutex<Vec<String>>>,
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Registry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = Self { port, objects: Objects::default(), asked: Arc::default() };
        let (objects, asked) = (registry.objects.clone(), registry.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (objects, asked) = (objects.clone(), asked.clone());
                std::thread::spawn(move || answer(&stream, &objects, &asked));
            }
        });
        registry
    }

    /// The reference of the image.
    pub(crate) fn image(&self) -> String {
        format!("127.0.0.1:{}/base:1", self.port)
    }

    /// Lets the tag stand for an image that has nothing but a file `from`. Returns the digest of its manifest.
    pub(crate) fn push(&self, scratch: &Path, text: &str) -> String {
        let directory = scratch.join("layer");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("from"), text).unwrap();
        let archive = scratch.join("layer.tar");
        let (archive, directory) = (archive.to_str().unwrap(), directory.to_str().unwrap());
        super::output(
            "tar",
            &["--mtime=@0", "--owner=0", "--group=0", "-cf", archive, "-C", directory, "from"],
        );
        let plain = std::fs::read(archive).unwrap();
        super::output("gzip", &["--force", "--no-name", archive]);
        let layer = std::fs::read(format!("{archive}.gz")).unwrap();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest(&plain)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{}","size":{}}}]}}"#,
            digest(config.as_bytes()),
            config.len(),
            digest(&layer),
            layer.len()
        );
        let of_manifest = digest(manifest.as_bytes());
        let mut objects = self.objects.lock().unwrap();
        let mut put = |path: String, kind: &str, bytes: Vec<u8>| {
            objects.insert(format!("/v2/base/{path}"), (kind.to_owned(), bytes));
        };
        for blob in [config.into_bytes(), layer] {
            put(format!("blobs/{}", digest(&blob)), "application/octet-stream", blob);
        }
        for name in ["1", &of_manifest] {
            put(format!("manifests/{name}"), MANIFEST, manifest.clone().into_bytes());
        }
        of_manifest
    }

    /// From now on nothing is found.
    pub(crate) fn fail(&self) {
        self.objects.lock().unwrap().clear();
    }

    /// What was asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn answer(stream: &TcpStream, objects: &Objects, asked: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream).lines();
    let mut first = [0];
    if stream.peek(&mut first).is_ok() && first == [0x16] {
        // Somebody tries TLS. Every HTTP server answers so, which tells the client to go on without.
        let mut stream = stream;
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        return;
    }
    // One request after another on a connection, until the other side closes it.
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = path.split('?').next().unwrap_or_default();
        asked.lock().unwrap().push(format!("{method} {path}"));
        let found = objects.lock().unwrap().get(path).cloned();
        let (status, (kind, bytes)) = match found {
            Some(found) => ("200 OK", found),
            None if path == "/v2/" => ("200 OK", ("application/json".to_owned(), b"{}".to_vec())),
            None => ("404 Not Found", ("application/json".to_owned(), b"{\"errors\":[]}".to_vec())),
        };
        let sha = digest(&bytes);
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {sha}\r\n\r\n",
            bytes.len()
        );
        let mut stream = stream;
        let body: &[u8] = if method == "HEAD" { &[] } else { &bytes };
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
            return;
        }
    }
}
