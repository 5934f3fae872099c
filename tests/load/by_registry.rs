//! Loading through a registry that the cluster names, a real one: Debian's `docker-registry`.

use std::process::{Child, Command, Stdio};

use super::{answer_on, in_node, load, names_on, output, wait_for};
use crate::support::Project;

/// A registry on all addresses of this machine; it ends with the test.
struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(project: &Project) -> (Registry, u16) {
    let port = {
        let free = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"0.0.0.0:{port}\"}}\n",
        project.path("registry").display()
    );
    project.write("registry.yml", &config);
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(project.path("registry.yml"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let started = command.spawn().expect("docker-registry is missing: scripts/setup installs it");
    wait_for("the registry", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    (Registry(started), port)
}

pub(crate) fn the_cluster_s_own_registry(project: &Project, nodes: &[String], name: &str) {
    project.write("app/answer", "registry");
    project.tg(&["build-if-needed"]).code(0);
    let refused = load(project, &["load-if-needed", "--strategy", "registry"]);
    assert_eq!(refused.code, 64, "{}", refused.text);
    assert!(
        refused.text.contains("there is no ConfigMap `local-registry-hosting`"),
        "{}",
        refused.text
    );

    let (_registry, port) = start(project);
    for node in nodes {
        in_node(
            node,
            &format!(
                "mkdir -p /etc/containerd/certs.d/localhost:{port} && gateway=$(ip route | awk '/default/ {{ print $3 }}') && \
                 echo \"[host.\\\"http://$gateway:{port}\\\"]\" >/etc/containerd/certs.d/localhost:{port}/hosts.toml"
            ),
        );
    }
    let hosting = format!(
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace kube-public create configmap local-registry-hosting \
         --from-literal=localRegistryHosting.v1='host: \"localhost:{port}\"'"
    );
    assert!(in_node(&nodes[0], &hosting).contains("created"));
    for text in ["registry", "registry again"] {
        project.write("app/answer", text);
        project.tg(&["build-if-needed"]).code(0);
        let loaded = load(project, &["load-if-needed", "--strategy", "registry"]).ok();
        assert_eq!(loaded.strategies(), ["registry"; 3]);
        for node in nodes {
            assert_eq!(answer_on(node, name), text, "{node}");
            assert_eq!(names_on(node), [name.to_owned()]);
        }
    }
    assert_eq!(
        output("docker", &["image", "ls", "-q", "--filter", "reference=localhost:*/*/*"]),
        ""
    );
}
