use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

struct Client {
    endpoint: Endpoint,
}

impl Client {
    async fn with(claims: &[(&str, u64)], limit: u64) -> Self {
        let claims: BTreeMap<String, u64> =
            claims.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        let endpoint = Endpoint::start(&[], claims, limit).await.unwrap();
        // Nobody is to wait for more, but where a test says so.
        endpoint.complete();
        Self { endpoint }
    }

    /// The path of an object of this endpoint's own repository.
    fn path(&self, object: &str) -> String {
        format!("/v2/{}/app/{object}", self.endpoint.secret)
    }

    /// The whole answer to a request on a connection of its own.
    async fn ask(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.endpoint.port)).await.unwrap();
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let headers: String = headers.lines().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[track_caller]
    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or(answer)
    }

    async fn code(&self, head: &str, body: &[u8]) -> String {
        Self::status(&self.ask(head, body).await).to_owned()
    }

    /// Begins an upload and returns its path.
    async fn begin(&self) -> String {
        let answer = self.ask(&format!("POST {}", self.path("blobs/uploads/")), b"").await;
        assert_eq!(Self::status(&answer), "202", "{answer}");
        let place = answer.lines().find_map(|line| line.strip_prefix("location: "));
        place.unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_blob_comes_in_pieces_or_at_once_and_goes_out_whole() {
    let client = Client::with(&[], 1 << 20).await;
    let (one, two) = (digest(b"hello world"), digest(b"at once"));
    let place = client.begin().await;
    let first = client.ask(&format!("PATCH {place}"), b"hello ").await;
    assert!(first.contains("range: 0-5"), "{first}");
    let second = format!("PATCH {place}\nContent-Range: 6-10");
    assert_eq!(client.code(&second, b"world").await, "202");
    assert_eq!(client.code(&format!("PUT {place}?digest={one}"), b"").await, "201");
    let at_once = client.path(&format!("blobs/uploads/?digest={}", two.replace(':', "%3A")));
    assert_eq!(client.code(&format!("POST {at_once}"), b"at once").await, "201");
    for (digest, text) in [(&one, "hello world"), (&two, "at once")] {
        let blob = client.path(&format!("blobs/{digest}"));
        let answer = client.ask(&format!("GET {blob}"), b"").await;
        assert!(answer.ends_with(&format!("\r\n\r\n{text}")), "{answer}");
        let head = client.ask(&format!("HEAD {blob}"), b"").await;
        assert!(head.contains(&format!("content-length: {}", text.len())), "{head}");
        let mount = client.path(&format!("blobs/uploads/?mount={digest}&from=elsewhere/app"));
        assert_eq!(client.code(&format!("POST {mount}"), b"").await, "201");
    }
    assert_eq!(client.endpoint.routes.store.held(), (2, 18));
}

#[tokio::test]
async fn what_is_not_what_it_was_said_to_be_is_refused_and_gone() {
    let client = Client::with(&[], 1 << 20).await;
    let wrong = digest(b"other");
    let place = client.begin().await;
    assert_eq!(client.code(&format!("PUT {place}?digest={wrong}"), b"bytes").await, "400");
    assert_eq!(client.code(&format!("GET {place}"), b"").await, "404", "the upload is over");
    let head = format!("HEAD {}", client.path(&format!("blobs/{wrong}")));
    assert_eq!(client.code(&head, b"").await, "404");
    let manifest = format!("PUT {}", client.path(&format!("manifests/{wrong}")));
    assert_eq!(client.code(&manifest, b"{}").await, "400");
    assert_eq!(client.endpoint.routes.store.held(), (0, 0));
}

#[tokio::test]
async fn a_piece_that_does_not_follow_is_refused_and_the_upload_goes_on() {
    let client = Client::with(&[], 1 << 20).await;
    let place = client.begin().await;
    assert_eq!(client.code(&format!("PATCH {place}"), b"abc").await, "202");
    let gap = format!("PATCH {place}\nContent-Range: 7-9");
    assert_eq!(client.code(&gap, b"xyz").await, "416");
    let asked = client.ask(&format!("GET {place}"), b"").await;
    assert!(asked.contains(" 204 ") && asked.contains("range: 0-2"), "{asked}");
    let end = format!("PUT {place}?digest={}", digest(b"abcdef"));
    assert_eq!(client.code(&end, b"def").await, "201");
}

#[tokio::test]
async fn claims_are_believed_by_those_who_push_and_found_out_by_those_who_pull() {
    let layer = digest(b"a layer that all nodes have");
    let client = Client::with(&[(&layer, 27)], 1 << 20).await;
    let path = client.path(&format!("blobs/{layer}"));
    let head = client.ask(&format!("HEAD {path}"), b"").await;
    assert!(head.contains(" 200 ") && head.contains("content-length: 27"), "{head}");
    assert!(client.endpoint.take_missed().is_empty());
    assert_eq!(client.code(&format!("GET {path}"), b"").await, "404");
    assert_eq!(Vec::from_iter(client.endpoint.take_missed()), [layer]);
    assert_eq!(client.code(&format!("HEAD {path}"), b"").await, "404", "no longer claimed");
}

#[tokio::test]
async fn nobody_without_the_secret_reads_or_writes() {
    let client = Client::with(&[], 1 << 20).await;
    let place = client.path("blobs/uploads/");
    assert_eq!(client.code("GET /v2/", b"").await, "200");
    for other in ["x", "", "../x", &client.endpoint.secret[..31]] {
        let foreign = place.replace(&client.endpoint.secret, other);
        assert_eq!(client.code(&format!("POST {foreign}"), b"").await, "404", "{foreign}");
    }
    assert_eq!(client.code(&format!("PUT {place}"), b"").await, "405");
    let other = Client::with(&[], 1 << 20).await;
    assert_ne!(other.endpoint.secret, client.endpoint.secret);
}

#[tokio::test]
async fn limits_hold() {
    let client = Client::with(&[], 10).await;
    let place = client.begin().await;
    assert_eq!(client.code(&format!("PATCH {place}"), b"eight by").await, "202");
    assert_eq!(client.code(&format!("PATCH {place}"), b"and more").await, "413");
    let large = vec![b' '; (4 << 20) + 1];
    let manifest = format!("PUT {}", client.path("manifests/load"));
    assert_eq!(client.code(&manifest, &large).await, "413");
}

#[tokio::test]
async fn a_manifest_is_found_by_tag_and_by_digest() {
    let client = Client::with(&[], 1 << 20).await;
    let (tag, sha) = (client.path("manifests/load"), digest(b"{}"));
    let put = client.ask(&format!("PUT {tag}\nContent-Type: a/b"), b"{}").await;
    assert!(put.contains(&format!("docker-content-digest: {sha}")), "{put}");
    // One endpoint, one image: by whatever tag a node asks for it.
    let other = client.path("manifests/latest");
    for name in [tag, other, client.path(&format!("manifests/{sha}"))] {
        let got = client.ask(&format!("GET {name}"), b"").await;
        assert!(got.contains("content-type: a/b") && got.ends_with("{}"), "{got}");
    }
    let unknown = client.path(&format!("manifests/{}", digest(b"other")));
    assert_eq!(client.code(&format!("GET {unknown}"), b"").await, "404");
}

/// A manifest of one layer, and its digest.
fn manifest(layer: &str) -> (String, String) {
    let config = digest(layer.as_bytes());
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"m/1","config":{{"mediaType":"c/1","digest":"{config}","size":7}},
        "layers":[{{"mediaType":"l/1","digest":"{}","size":9}}]}}"#,
        digest(layer.to_uppercase().as_bytes())
    );
    let sha = digest(text.as_bytes());
    (text, sha)
}

#[tokio::test]
async fn what_was_pushed_is_known_for_one_platform() {
    let client = Client::with(&[], 1 << 20).await;
    assert_eq!(client.endpoint.pushed("linux/amd64"), None);
    let ((one, sha), (two, other)) = (manifest("one"), manifest("two"));
    for (name, text) in [(&sha, &one), (&other, &two)] {
        let put = format!("PUT {}", client.path(&format!("manifests/{name}")));
        assert_eq!(client.code(&format!("{put}\nContent-Type: m/1"), text.as_bytes()).await, "201");
    }
    let child = |sha: &str, arch: &str, os: &str| {
        format!(
            r#"{{"mediaType":"m/1","digest":"{sha}","size":5,"platform":{{"architecture":"{arch}","os":"{os}"}}}}"#
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
        child(&sha, "unknown", "unknown"),
        child(&other, "arm64", "linux"),
    );
    let put = format!("PUT {}", client.path("manifests/load"));
    assert_eq!(client.code(&put, index.as_bytes()).await, "201");
    assert_eq!(client.endpoint.pushed("linux/amd64"), None);
    let pushed = client.endpoint.pushed("linux/arm64").unwrap();
    assert_eq!((pushed.manifest.digest, pushed.media_type.as_str()), (other, "m/1"));
    assert_eq!((pushed.config.as_str(), pushed.config_size), (digest(b"two").as_str(), 7));
    assert_eq!(pushed.layers, [Blob { digest: digest(b"TWO"), size: 9 }]);

    assert_eq!(client.code(&put, one.as_bytes()).await, "201");
    assert_eq!(client.endpoint.pushed("linux/amd64").unwrap().manifest.digest, sha);
}

#[tokio::test]
async fn who_asks_too_early_waits_until_it_is_here_or_never_will_be() {
    let endpoint = Endpoint::start(&[], BTreeMap::new(), 1 << 20).await.unwrap();
    let client = Client { endpoint };
    let (sha, other) = (digest(b"text"), digest(b"other"));
    let get = |sha: &str| format!("GET {}", client.path(&format!("blobs/{sha}")));
    let (get, get_other) = (get(&sha), get(&other));
    let early = client.ask(&get, b"");
    let never = client.ask(&get_other, b"");
    let push = async {
        let put = format!("POST {}", client.path(&format!("blobs/uploads/?digest={sha}")));
        assert_eq!(client.code(&put, b"text").await, "201");
    };
    tokio::pin!(never);
    let (early, ()) = tokio::select! {
        both = async { tokio::join!(early, push) } => both,
        answer = &mut never => panic!("answered before everything was here: {answer}"),
    };
    assert!(early.ends_with("\r\n\r\ntext"), "{early}");
    client.endpoint.complete();
    assert_eq!(Client::status(&never.await), "404");
}

#[tokio::test]
async fn it_is_known_who_got_what() {
    let client = Client::with(&[("sha256:claimed", 5)], 1 << 20).await;
    let here: IpAddr = Ipv4Addr::LOCALHOST.into();
    let sha = digest(b"text");
    let put = format!("POST {}", client.path(&format!("blobs/uploads/?digest={sha}")));
    assert_eq!(client.code(&put, b"text").await, "201");
    assert_eq!(client.endpoint.served(here), Served::default());
    client.ask(&format!("GET {}", client.path("blobs/sha256:claimed")), b"").await;
    assert_eq!(client.endpoint.served(here), Served::default());
    client.ask(&format!("GET {}", client.path(&format!("blobs/{sha}"))), b"").await;
    let served = client.endpoint.served(here);
    assert!(served.blobs.contains(&sha) && served.last.is_some(), "{served:?}");
    assert!(client.endpoint.holds(&sha) && !client.endpoint.holds("sha256:claimed"));
    let (content, length) = client.endpoint.open(&sha).unwrap();
    let content: Vec<Bytes> = content.map(|piece| piece.unwrap()).collect().await;
    assert_eq!((content.concat().as_slice(), length), (b"text".as_slice(), 4));
    assert!(client.endpoint.open("sha256:claimed").is_none());
}

#[tokio::test]
async fn tls_is_told_that_this_is_http() {
    let client = Client::with(&[], 10).await;
    let mut stream = TcpStream::connect(("127.0.0.1", client.endpoint.port)).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
}
