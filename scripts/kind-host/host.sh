#!/bin/bash
# Gives a Debian machine everything a Kind integration test needs, from package registries alone: a Docker engine,
# buildx, kind, kubectl, a real Kind node image, and stand-ins for common base images. What is there already is used.
#
#   host.sh up [STORE]   make the machine ready, and print the node image to create clusters from; with STORE
#                        (containerd or overlay2) an engine of host.sh's own runs with that image store
#   host.sh down         stop the engine that `up` started
#   host.sh status       say what is there
#   host.sh owned        succeed if the engine that answers is the one that `up` started
#
# KIND_HOST_DIR (default /var/lib/kind-host) holds what was built; remove it to start afresh.
# TG_NODE_IMAGE names a node image to use instead of the one assembled here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=${KIND_HOST_DIR:-/var/lib/kind-host}
bin=$state/bin
run=/run/kind-host
pulled_node_image=kindest/node:v1.34.0
rust_image=rust:1-bookworm debian_image=debian:bookworm-slim
engine_packages=docker.io,docker-cli,docker-buildx,docker-compose,iptables,ca-certificates

# shellcheck source=limits.sh
source "$here/limits.sh"
# shellcheck source=trees.sh
source "$here/trees.sh"
# shellcheck source=node-image.sh
source "$here/node-image.sh"

main() {
  case ${1:-} in
    up) up "${2:-}" ;;
    down) lock; stop_engine ;;
    status) look; report ;;
    owned) ask_engine && engine_is_ours ;;
    *) usage ;;
  esac
}

usage() {
  sed -n '2,12s/^# \{0,1\}//p' "$here/host.sh" >&2
  exit 2
}

up() {
  local store=$1
  case $store in "" | containerd | overlay2) ;; *) usage ;; esac
  look
  # When all is there, nothing is written and no lock is taken.
  if ! complete "$store"; then
    lock
    look
    make_ready "$store"
    look
  fi
  report >&2
  if [ -n "$store" ] && [ -n "$engine_store" ] && [ "$engine_store" != "$store" ] && ! engine_is_ours; then
    say "using the engine as it is, with the image store $engine_store and not $store: host.sh did not start it"
  fi
  complete "$store" || fail "not everything that was missing could be made"
  echo "$cluster_image"
}

# What a machine needs, in the order in which it is made; `there` says of each what was found.
needs=("a C compiler" "a Docker engine" "docker buildx" kind kubectl docker-registry "a Kind node image" "$debian_image" "$rust_image")
declare -A there

look() {
  there=()
  cluster_image=
  there["a C compiler"]=$(command -v cc) || true
  there[kind]=$(timeout 20 kind version --quiet 2>/dev/null) || true
  there[kubectl]=$(command -v kubectl) || true
  there[docker-registry]=$(command -v docker-registry) || true
  there["docker buildx"]=$(timeout 20 docker buildx version 2>/dev/null) || true
  ask_engine || return 0
  there["a Docker engine"]="$engine_version, image store $engine_store"
  ! engine_is_ours || there["a Docker engine"]+=", started by host.sh"
  ! choose_node_image || there["a Kind node image"]=$cluster_image
  ! have_image "$debian_image" || there[$debian_image]=present
  ! have_image "$rust_image" || there[$rust_image]=present
}

report() {
  local need
  for need in "${needs[@]}"; do
    if [ -n "${there[$need]:-}" ]; then echo "found $need: ${there[$need]}"; else echo "missing: $need"; fi
  done
}

complete() {
  local need
  for need in "${needs[@]}"; do [ -n "${there[$need]:-}" ] || return 1; done
  store_suits "$1"
}

# Somebody else's engine serves whatever its store, because it is not ours to restart.
store_suits() {
  [ -z "$1" ] || [ "$engine_store" = "$1" ] || ! engine_is_ours
}

make_ready() {
  need_space
  command -v cc >/dev/null || install_packages gcc libc6-dev
  ensure_client
  ensure_engine "$1"
  ensure_buildx
  ensure_command kind
  ensure_command kubectl
  command -v docker-registry >/dev/null || install_packages docker-registry
  if ! choose_node_image && ! pulled "$pulled_node_image"; then ensure_node_image; fi
  ensure_debian_image
  ensure_rust_image
}

# Two runs at once would make the same things twice, and each could take the other's half-made ones for whole.
lock() {
  [ "$(id -u)" = 0 ] || fail "changing this machine needs root" "what is missing: $here/host.sh status"
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock --nonblock 9 && return
  say "waiting for another host.sh that is at work, at most an hour"
  flock --wait 3600 9 || fail "waited an hour for the lock $state/lock" "see who holds it: fuser -v $state/lock"
}

# The first node image means building Kubernetes; later ones are loaded from what was kept.
need_space() {
  local need=1 free saved
  if [ -z "${there["a Kind node image"]:-}" ]; then
    saved=$(saved_node_image)
    need=5
    [ -e "$saved" ] || need=15
  fi
  free=$(df --output=avail --block-size=1G "$state" | tail -n 1 | tr -d ' ')
  [ "$free" -ge "$need" ] ||
    fail "this takes about $need GB under $state, and $free GB are free" "make room, or set KIND_HOST_DIR to a larger disk"
  [ "$need" -lt 15 ] || say "there is no node image yet; making one takes about 10 minutes and 15 GB under $state and in Go's caches"
}

# ---- the engine

# Asks whichever engine the docker client reaches; fails when none answers.
ask_engine() {
  local answer status=0 driver details
  engine_id='' engine_version='' engine_store=''
  answer=$(timeout 60 docker info --format '{{.ID}} {{.ServerVersion}} {{.Driver}} {{json .DriverStatus}}' 2>/dev/null) || status=$?
  [ $status != 124 ] || fail "waited 60 s for docker info" "the Docker engine hangs: restart it (host.sh down ends one that host.sh started)"
  [ $status = 0 ] || return 1
  read -r engine_id engine_version driver details <<<"$answer"
  [ -n "$details" ] || return 1
  engine_store=$driver
  [[ $details != *io.containerd.snapshotter* ]] || engine_store=containerd
}

# The engine that answers is the one `up` started when its id is written in a data directory of ours.
engine_is_ours() {
  local store
  for store in containerd overlay2; do
    [ "$(cat "$state/engine-$store/engine-id" 2>/dev/null)" != "$engine_id" ] || return 0
  done
  return 1
}

# our_processes NAME: the pids of programs called NAME that see a data directory of ours as Docker's. No pid is
# remembered anywhere, so none can be mistaken.
our_processes() {
  local proc name store
  for proc in /proc/[0-9]*; do
    { read -r name <"$proc/comm"; } 2>/dev/null || continue
    [ "$name" = "$1" ] || continue
    for store in containerd overlay2; do
      [ ! "$proc/root/var/lib/docker" -ef "$state/engine-$store" ] || echo "${proc#/proc/}"
    done
  done
}

ensure_engine() {
  local store=$1
  if ask_engine; then
    ! store_suits "$store" || return 0
    say "switching the engine from the image store $engine_store to $store; containers that run are stopped"
  fi
  refuse_if_occupied
  stop_engine
  start_engine "${store:-containerd}"
}

# An engine that is there and does not answer is for its owner to look at.
refuse_if_occupied() {
  local file pid
  [ -z "${DOCKER_HOST:-}" ] || fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST" "unset it to have an engine started here"
  for file in /run/docker.pid "$run"/*/docker.pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || continue
    [[ " $(our_processes dockerd | xargs) " == *" $pid "* ]] ||
      fail "a Docker engine runs (pid $pid) but does not answer" "restart or stop it"
  done
}

stop_engine() {
  local name pids
  for name in dockerd containerd; do
    pids=$(our_processes $name)
    [ -n "$pids" ] || continue
    say "stopping $name (pid ${pids//$'\n'/ })"
    # shellcheck disable=SC2086 # one word per pid
    kill -TERM $pids 2>/dev/null || true
    gone_within 60 $name || {
      say "$name did not stop within 60 s: killing it"
      # shellcheck disable=SC2046
      kill -KILL $(our_processes $name) 2>/dev/null || true
      gone_within 10 $name || fail "$name does not end even when killed"
    }
  done
}

gone_within() {
  local deadline=$((SECONDS + $1))
  while [ -n "$(our_processes "$2")" ]; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.2
  done
}

start_engine() {
  local store=$1 data=$state/engine-$1 run=$run/$1 feature=false pid deadline
  tree engine sid "$engine_packages"
  [ "$store" != containerd ] || feature=true
  say "starting the Docker engine, image store $store"
  mkdir -p "$data" "$run"
  # No engine of ours runs any more, so these name other processes by now. The rest tells the new engine about
  # containers that outlived a crash of the last one, which it then ends.
  rm -f "$run/docker.pid" "$run/docker/containerd/containerd.pid"
  # A session of its own: the engine outlives this script and whatever ends this script's process group.
  setsid "$here/engine.sh" "$state/trees/engine" "$data" "$run" --feature "containerd-snapshotter=$feature" \
    >"$state/engine.log" 2>&1 </dev/null 9>&- &
  pid=$! deadline=$((SECONDS + 60))
  until ask_engine; do
    if [ $SECONDS -ge $deadline ] || ! kill -0 $pid 2>/dev/null; then
      tail -n 20 "$state/engine.log" >&2
      stop_engine
      fail "the Docker engine ended or did not answer within 60 s; its log is $state/engine.log"
    fi
    sleep 0.2
  done
}

# ---- clients

# Debian's own client may be too old for the engine, so the one that belongs to the engine comes first.
ensure_client() {
  ! command -v docker >/dev/null || return 0
  tree engine sid "$engine_packages"
  if "$state/trees/engine/usr/bin/docker" --version >/dev/null 2>&1; then
    install "$state/trees/engine/usr/bin/docker" /usr/local/bin/docker
  else
    install_packages docker.io
  fi
}

ensure_buildx() {
  local plugins=/usr/local/lib/docker/cli-plugins plugin
  ! timeout 20 docker buildx version >/dev/null 2>&1 || return 0
  say "installing buildx and compose for the docker client"
  tree engine sid "$engine_packages"
  mkdir -p $plugins
  for plugin in docker-buildx docker-compose; do
    [ -e $plugins/$plugin ] || install "$state/trees/engine/usr/libexec/docker/cli-plugins/$plugin" $plugins/
  done
}

# ensure_command kind|kubectl
ensure_command() {
  ! command -v "$1" >/dev/null || return 0
  "compile_$1"
  install "$bin/$1" "/usr/local/bin/$1"
}

# ---- images

have_image() { timeout 20 docker image inspect "$1" >/dev/null 2>&1; }

# The caller's image, ours, or with somebody else's engine one that was pulled before. A caller may well name ours, as
# an earlier `up` told it to; it has to be in the engine all the same.
choose_node_image() {
  cluster_image=${TG_NODE_IMAGE:-$node_image}
  if [ "$cluster_image" != "$node_image" ] || have_node_image; then return; fi
  cluster_image=
  if engine_is_ours || ! have_image "$pulled_node_image"; then return 1; fi
  cluster_image=$pulled_node_image
}

main "$@"
