//! The image of tg in a cluster: `tg test cached` in the project's root loads it and runs this.
#![expect(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run this through `tg test cached`"))
}

#[tokio::test]
#[ignore = "needs the cluster and image that `tg test cached` provides"]
async fn the_loaded_image_is_this_tg() {
    let (run, image) = (variable("TG_RUN_ID"), variable("TG_IMAGE_TG"));
    let kubeconfig = Kubeconfig::read_from(variable("KUBECONFIG")).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let pods = Api::<Pod>::namespaced(client, "default");
    let name = format!("tg-test-{run}");
    let pod = serde_json::json!({
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "tg", "image": image, "imagePullPolicy": "Never", "args": ["--version"]}],
        },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let ended = wait_for_end(&pods, &name).await;
    let said = pods.logs(&name, &LogParams::default()).await;
    pods.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(ended, Ok(()));
    assert_eq!(said.unwrap().trim(), format!("tg {}", env!("CARGO_PKG_VERSION")));
}

async fn wait_for_end(pods: &Api<Pod>, name: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let status = pods.get(name).await.unwrap().status.unwrap_or_default();
        match status.phase.as_deref() {
            Some("Succeeded") => return Ok(()),
            Some("Failed") => return Err(format!("the pod failed: {status:?}")),
            _ if Instant::now() > deadline => return Err(format!("last seen: {status:?}")),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
