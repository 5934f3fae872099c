//! A small HTTP service: the example that `tg` builds, loads and tests.

use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

/// The digest of the sources that this crate was compiled from (see `build.rs`).
pub const SOURCE_DIGEST: &str = env!("SOURCE_DIGEST");

/// What the service says. Edit it, and the image is built and loaded again.
pub const GREETING: &str = "Hello from the service";

/// The service's routes.
pub fn router() -> Router {
    Router::new()
        .route("/", get(greet))
        .route("/healthz", get(|| async { "ok" }))
        .route("/version", get(|| async { SOURCE_DIGEST }))
}

async fn greet() -> Json<Value> {
    Json(json!({ "greeting": GREETING }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::{Body, to_bytes},
        http::{Request, StatusCode},
    };
    use tower::ServiceExt;

    async fn fetch(path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn healthz_says_ok() {
        assert_eq!(fetch("/healthz").await, (StatusCode::OK, "ok".to_owned()));
    }

    #[tokio::test]
    async fn root_greets_in_json() {
        let (status, body) = fetch("/").await;
        assert_eq!(status, StatusCode::OK);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body, json!({ "greeting": GREETING }));
    }

    #[tokio::test]
    async fn version_is_a_sha256_of_the_sources() {
        let (status, body) = fetch("/version").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body, SOURCE_DIGEST);
        assert_eq!(body.len(), 64);
        assert!(body.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[tokio::test]
    async fn another_path_is_not_found() {
        assert_eq!(fetch("/other").await.0, StatusCode::NOT_FOUND);
    }
}
