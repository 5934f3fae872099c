# shellcheck shell=bash disable=SC2154 # variables of host.sh
# Sourced by host.sh: kind, kubectl and a Kind node image, compiled from published Go modules.

kubernetes=v1.34.4 containerd=v2.1.4
node_image=kindest/node:$kubernetes
registry=registry.k8s.io
# What kubeadm expects to find on a node, as "binary target-in-the-image tag".
control_plane=(
  "kube-apiserver usr/local/bin/kube-apiserver kube-apiserver:$kubernetes"
  "kube-controller-manager usr/local/bin/kube-controller-manager kube-controller-manager:$kubernetes"
  "kube-scheduler usr/local/bin/kube-scheduler kube-scheduler:$kubernetes"
  "kube-proxy usr/local/bin/kube-proxy kube-proxy:$kubernetes"
  "server usr/local/bin/etcd etcd:3.6.5-0"
  "coredns coredns coredns/coredns:v1.12.1"
  "pause pause pause:3.10.1"
)
node_packages=systemd,dbus,iptables,nftables,iproute2,ethtool,conntrack,socat,kmod,procps,mount,util-linux
node_packages+=,ca-certificates,curl,runc,containernetworking-plugins,jq

# Everything that makes the image what it is: a change here makes an image assembled before count for nothing.
node_image_key() {
  (cd "$here" && sha256sum node-image.sh node/* tools/*/go.*) | sha256sum | cut -c1-16
}

# The archive serves the engine's other image store, and an engine whose images were removed.
saved_node_image() { echo "$state/node-image-$(node_image_key).tar"; }

# An image of that name without our label is somebody else's, and good.
have_node_image() {
  local key
  key=$(timeout 20 docker image inspect --format '{{index .Config.Labels "kind-host.key"}}' "$node_image" 2>/dev/null) || return 1
  [ -z "$key" ] || [ "$key" = "$(node_image_key)" ]
}

# compile MODULE NAME LDFLAGS PACKAGE...: commands of Go modules pinned by tools/MODULE/go.sum, into $bin.
compile() {
  local module=$1 name=$2 flags=$3 stamp; shift 3
  stamp=$bin/.$name-$(cat "$here/tools/$module"/go.* | sha256sum | cut -c1-16)
  [ ! -e "$stamp" ] || return 0
  command -v go >/dev/null || fail "compiling $name needs Go" "install Go 1.25 or later"
  say "compiling $name"
  mkdir -p "$bin"
  persistent limited "$state/build-$name.log" 2400 "go build of $name" \
    env -C "$here/tools/$module" GOFLAGS="-mod=readonly -buildvcs=false" CGO_ENABLED=0 \
    go build -trimpath -tags "no_btrfs no_devmapper no_zfs" -ldflags "-s -w $flags" -o "$bin/" "$@"
  touch "$stamp"
}

kubernetes_flags() {
  local v=k8s.io/component-base/version
  echo "-X $v.gitVersion=$kubernetes -X $v.gitMajor=1 -X $v.gitMinor=34 -X $v.gitTreeState=clean" \
    "-X $v.buildDate=2026-01-01T00:00:00Z"
}

compile_kind() { compile kubernetes kind "" sigs.k8s.io/kind; }
compile_kubectl() { compile kubernetes kubectl "$(kubernetes_flags)" k8s.io/kubernetes/cmd/kubectl; }

compile_node() {
  local containerd_package=github.com/containerd/containerd/v2
  compile kubernetes kubernetes "$(kubernetes_flags)" \
    k8s.io/kubernetes/cmd/{kubelet,kubeadm,kube-apiserver,kube-controller-manager,kube-scheduler,kube-proxy,kubectl} \
    sigs.k8s.io/cri-tools/cmd/crictl go.etcd.io/etcd/server/v3
  compile containerd containerd "-X $containerd_package/version.Version=$containerd" \
    $containerd_package/cmd/{containerd,containerd-shim-runc-v2,ctr}
  compile coredns coredns "" github.com/coredns/coredns
  cc -Os -static -s -o "$bin/pause" "$here/node/pause.c"
}

ensure_node_image() {
  local saved
  ! have_node_image || return 0
  saved=$(saved_node_image)
  if [ ! -e "$saved" ]; then
    compile_node
    tree node bookworm "$node_packages"
    assemble_node_image
    say "saving $node_image"
    limited "$state/save.log" 600 "docker save of $node_image" docker save "$node_image" -o "$saved.part"
    rm -f "$state"/node-image*.tar
    mv "$saved.part" "$saved"
  else
    say "loading $node_image"
    limited "$state/load.log" 600 "docker load of $node_image" docker load --quiet -i "$saved"
  fi
}

assemble_node_image() {
  local entry tags=()
  say "assembling the Kind node image $node_image"
  for entry in "${control_plane[@]}"; do tags+=("kind-host/${entry##* }"); done
  remove_intermediates "${tags[@]}"
  import_control_plane
  import_node_root
  limited "$state/seed.log" 60 "a container of the node image" \
    docker run -d --name kind-host-seed --privileged --entrypoint containerd kind-host/node-root --log-level warn
  await_seed
  limited "$state/save.log" 300 "docker save of the control plane" docker save -o "$state/control-plane.tar" "${tags[@]}"
  fill_seed
  limited "$state/seed.log" 60 "docker stop of the node image's container" docker stop -t 20 kind-host-seed
  limited "$state/commit.log" 300 "docker commit of $node_image" docker commit \
    --change 'ENV container=docker' --change 'STOPSIGNAL SIGRTMIN+3' --change 'CMD []' \
    --change "LABEL kind-host.key=$(node_image_key)" \
    --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/lib/systemd/systemd"]' kind-host-seed "$node_image"
  remove_intermediates "${tags[@]}"
}

# Only names of our own are removed: the engine may hold the same control-plane images for somebody else.
remove_intermediates() {
  timeout 60 docker rm --force kind-host-seed >/dev/null 2>&1 || true
  timeout 120 docker image rm kind-host/node-root "$@" >/dev/null 2>&1 || true
  rm -rf "$state"/image.* "$state/node-root" "$state/control-plane.tar"
}

# One static binary each; kube-proxy calls iptables and so gets a tree around it.
import_control_plane() {
  local entry binary target tag dir changes
  for entry in "${control_plane[@]}"; do
    read -r binary target tag <<<"$entry"
    dir=$(mktemp -d "$state/image.XXXX")
    chmod 755 "$dir"
    changes=("ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    case $binary in
      kube-proxy) cp -a "$state/trees/node/." "$dir/" ;;
      coredns | pause) changes+=("ENTRYPOINT [\"/$binary\"]") ;;
    esac
    install -D -m755 "$bin/$binary" "$dir/$target"
    import "kind-host/$tag" "$dir" "${changes[@]}"
    rm -rf "$dir"
  done
}

import_node_root() {
  local root=$state/node-root
  cp -a "$state/trees/node" "$root"
  install -m755 "$bin"/{kubelet,kubeadm,kubectl,crictl,containerd,containerd-shim-runc-v2,ctr} \
    "$here/node/entrypoint" "$root/usr/local/bin/"
  mkdir -p "$root"/kind/manifests "$root"/etc/containerd "$root"/opt/cni "$root"/var/log/journal
  echo "$kubernetes" >"$root/kind/version"
  cp "$here/node/cni.conflist" "$root/kind/"
  cp "$here"/node/default-{cni,storage}.yaml "$root/kind/manifests/"
  cp "$here/node/containerd.toml" "$root/etc/containerd/config.toml"
  cp "$here"/node/{containerd,kubelet}.service "$root/etc/systemd/system/"
  ln -sfn /usr/lib/cni "$root/opt/cni/bin"
  printf '%s: unix:///run/containerd/containerd.sock\n' runtime-endpoint image-endpoint >"$root/etc/crictl.yaml"
  chroot "$root" systemctl --quiet set-default multi-user.target
  chroot "$root" systemctl --quiet enable containerd kubelet
  chroot "$root" systemctl --quiet mask dev-hugepages.mount sys-fs-fuse-connections.mount \
    systemd-update-utmp.service systemd-logind.service getty.target console-getty.service systemd-udevd.service \
    systemd-udev-trigger.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
    systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer \
    systemd-journald-audit.socket
  import kind-host/node-root "$root"
  rm -rf "$root"
}

await_seed() {
  local _
  for _ in $(seq 60); do
    ! timeout 10 docker exec kind-host-seed ctr version >/dev/null 2>&1 || return 0
    sleep 0.5
  done
  timeout 20 docker logs --tail 20 kind-host-seed >&2 || true
  fail "containerd did not answer in the node image's container within 30 s"
}

# The control-plane images go into the node's own store under the names kubeadm asks for, as in kind's node images.
fill_seed() {
  local entry tag
  limited "$state/seed.log" 300 "the import of the control plane into the node image" \
    docker exec -i kind-host-seed ctr -n k8s.io images import --all-platforms --no-unpack - <"$state/control-plane.tar"
  for entry in "${control_plane[@]}"; do
    tag=${entry##* }
    limited "$state/seed.log" 60 "naming $tag in the node image" \
      docker exec kind-host-seed ctr -n k8s.io images tag "docker.io/kind-host/$tag" "$registry/$tag"
    limited "$state/seed.log" 60 "naming $tag in the node image" \
      docker exec kind-host-seed ctr -n k8s.io images rm "docker.io/kind-host/$tag"
  done
}
