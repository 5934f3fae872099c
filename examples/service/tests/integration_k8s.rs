//! Runs the image that `tg` loaded, in the cluster that `tg` names, and asks the
//! pod which sources it was compiled from. A stale image fails here by its digest.

use std::{env, panic, time::Duration};

use axum::http::Request;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, from_str, from_value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

const READY_WITHIN: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(100);

#[tokio::test]
async fn the_pod_runs_these_sources() {
    let image = variable("TG_IMAGE_SERVICE");
    let namespace = format!("service-test-{}", variable("TG_RUN_ID"));
    let client = connect(&variable("KUBECONFIG")).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());

    namespaces
        .create(
            &PostParams::default(),
            &manifest(json!({
                "metadata": { "name": namespace, "labels": { "dev.tg/example": "service" } },
            })),
        )
        .await
        .expect("create the namespace");

    // In a task of its own: a failed assertion ends that task and not this
    // function, which still has the namespace to delete.
    let body = tokio::spawn(check(client, namespace.clone(), image)).await;
    let deleted = namespaces.delete(&namespace, &DeleteParams::default()).await;

    if let Err(error) = &deleted {
        eprintln!("the namespace {namespace} is still there: {error}");
    }
    if let Err(failed) = body {
        panic::resume_unwind(failed.into_panic());
    }
    deleted.expect("delete the namespace");
}

async fn check(client: Client, namespace: String, image: String) {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    deployments
        .create(&PostParams::default(), &deployment(&image))
        .await
        .expect("create the deployment");

    let pod = ready_pod(&Api::namespaced(client.clone(), &namespace)).await;

    // Through the API server, which reaches the pods from wherever it is. This
    // side needs no forwarded port, so two runs cannot meet on one.
    let proxy = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy");
    assert_eq!(
        get(&client, &format!("{proxy}/version")).await,
        service::SOURCE_DIGEST,
        "the pod was compiled from other sources than this test"
    );
    let root: Value = from_str(&get(&client, &format!("{proxy}/")).await).expect("JSON from /");
    assert_eq!(root, json!({ "greeting": service::GREETING }));
}

/// The name of a pod that is ready, or a panic that tells what was seen last.
async fn ready_pod(pods: &Api<Pod>) -> String {
    let deadline = Instant::now() + READY_WITHIN;
    let mut ticks = interval(TICK);
    // After a slow answer, no burst of requests to catch up.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ours = ListParams::default().labels("app=service");
    let mut seen = String::from("nothing yet");

    while Instant::now() < deadline {
        ticks.tick().await;
        seen = match pods.list(&ours).await {
            Ok(list) => {
                if let Some(pod) = list.items.iter().find(|pod| is_ready(pod)) {
                    return pod.metadata.name.clone().expect("a pod has a name");
                }
                describe(&list.items)
            }
            // One failed request is no verdict: the deadline is.
            Err(error) => format!("listing the pods failed: {error}"),
        };
    }
    panic!("no pod was ready within {} s; last seen: {seen}", READY_WITHIN.as_secs());
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn describe(pods: &[Pod]) -> String {
    if pods.is_empty() {
        return "no pod".to_owned();
    }
    let states: Vec<_> = pods.iter().map(|pod| json!({ "status": pod.status })).collect();
    serde_json::to_string_pretty(&states).expect("a pod is JSON")
}

fn deployment(image: &str) -> Deployment {
    manifest(json!({
        "metadata": { "name": "service" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "service" } },
            "template": {
                "metadata": { "labels": { "app": "service" } },
                "spec": {
                    // The service asks the API server nothing. Without the token the
                    // pod need not wait until its new namespace has one to mount.
                    "automountServiceAccountToken": false,
                    "containers": [{
                        "name": "service",
                        "image": image,
                        // What `tg` loaded or nothing: a pull could find another image.
                        "imagePullPolicy": "Never",
                        "ports": [{ "containerPort": 8080 }],
                        "readinessProbe": {
                            "httpGet": { "path": "/healthz", "port": 8080 },
                            "periodSeconds": 1,
                        },
                        "securityContext": { "runAsNonRoot": true },
                    }],
                },
            },
        },
    }))
}

/// A client for exactly this file. The usual search goes on to `~/.kube/config`
/// and from there could create and delete things in any cluster.
async fn connect(kubeconfig: &str) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).expect("read the file that KUBECONFIG names");
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .expect("a cluster in the file that KUBECONFIG names");
    // The defaults are minutes long, and one silent request would outlast the deadline.
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).expect("a client")
}

async fn get(client: &Client, path: &str) -> String {
    let request = Request::get(path).body(Vec::new()).expect("a request");
    client.request_text(request).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

fn manifest<T: k8s_openapi::serde::de::DeserializeOwned>(value: Value) -> T {
    from_value(value).expect("a valid manifest")
}

fn variable(name: &str) -> String {
    env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this through `tg test cached`"))
}
