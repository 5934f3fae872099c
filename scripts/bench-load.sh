# shellcheck shell=bash
# Sourced by scripts/bench: loads beside those of `kind load docker-image`, in one run, with the same images and cluster.

measure_load() {
  local environment size nodes store
  environment=$("$root/scripts/setup") && eval "$environment"
  unset TG_FILE TG_FORCE TG_VERIFY KIND_CLUSTER_NAME
  store=overlay2
  ! docker info --format '{{json .DriverStatus}}' | grep -q containerd.snapshotter || store=containerd
  export TG_STATE_DIR=$scratch/state
  mkdir "$scratch/times"
  for size in ${TG_BENCH_SIZES:-50 500 2000}; do
    make_image "$size"
  done
  echo "Image store: $store"
  echo
  header "image, nodes" "what" "\`tg load-if-needed\`" "\`kind load docker-image\`" "ratio"
  for nodes in ${TG_BENCH_NODES:-1 3}; do
    start_cluster "$nodes"
    for size in ${TG_BENCH_SIZES:-50 500 2000}; do
      # A cluster of three would keep six copies of it.
      [ "$size" -le 500 ] || [ "$nodes" -eq 1 ] || continue
      compare_loads "$size" "$nodes"
    done
    kind delete cluster --name "$cluster" --kubeconfig "$scratch/kubeconfig" >/dev/null 2>&1
    cluster=
  done
  draw "$store" >"$root/docs/load-$store.svg"
}

# start_cluster NODES
start_cluster() {
  local worker
  cluster=tg-bench-$$-$1
  {
    printf 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n'
    for worker in $(seq 2 "$1"); do printf -- '- role: worker\n# %s\n' "$worker"; done
  } >"$scratch/kind.yaml"
  kind create cluster --name "$cluster" --config "$scratch/kind.yaml" --kubeconfig "$scratch/kubeconfig" --wait 180s \
    ${TG_NODE_IMAGE:+--image "$TG_NODE_IMAGE"} >/dev/null 2>&1 || fail "no cluster could be made"
  members=$(kind get nodes --name "$cluster")
}

# make_image MEGABYTES: an image of three layers, most of whose bytes cannot be compressed. The last has 0.8 MB.
make_image() {
  local directory=$scratch/image$1
  say "an image of $1 MB"
  mkdir "$directory"
  noise $(($1 * 6 / 10)) >"$directory/first"
  noise $(($1 * 4 / 10)) >"$directory/second"
  printf 'FROM scratch\nCOPY first /\nCOPY second /\nCOPY third /\nCMD ["none"]\n' >"$directory/Dockerfile"
  edit "$1"
}

# noise MEGABYTES: seven tenths of it at random.
noise() {
  head -c $(($1 * 700000)) /dev/urandom
  head -c $(($1 * 300000)) /dev/zero
}

tag_of() { echo "tg-bench-$$-$1:test"; }

# edit MEGABYTES: another last layer.
edit() {
  local directory=$scratch/image$1
  head -c 800000 /dev/urandom >"$directory/third"
  docker buildx build -q --load --provenance=false -t "$(tag_of "$1")" "$directory" >/dev/null 2>"$scratch/output" ||
    fail "no image: $(cat "$scratch/output")"
  images+=("$(tag_of "$1")")
}

# by_tg TAG, by_kind TAG: milliseconds.
by_tg() {
  printf '[cluster]\nname = "%s"\n[images.app]\ntag = "%s"\ncontext = "."\ndockerfile = "tasks.toml"\n' "$cluster" "$1" \
    >"$scratch/tasks.toml"
  timed "$tg" -f "$scratch/tasks.toml" load-if-needed -q
}
by_kind() { timed kind load docker-image --name "$cluster" "$1"; }

# has MEMBER ID: whether the CRI has the image.
id_of() { docker exec "$1" crictl inspecti -o go-template --template '{{.status.id}}' "docker.io/library/$2" 2>/dev/null; }

# forget TAG: until its blobs are gone from every node.
forget() {
  local member deadline=$((SECONDS + 120))
  for member in $members; do
    docker exec "$member" crictl rmi "docker.io/library/$1" >/dev/null 2>&1 || true
    while [ "$(docker exec "$member" du -sm /var/lib/containerd/io.containerd.content.v1.content | cut -f1)" -gt "${least[$member]}" ]; do
      [ $SECONDS -lt $deadline ] || fail "the blobs of $1 stay in $member"
      sleep 0.2
    done
  done
}

# leave_alone: what was seen in a node is believed once that was left alone for a second, and seen then.
leave_alone() {
  sleep 2
  by_tg "$tag" >/dev/null
  sleep 1
}

# compare_loads MEGABYTES NODES
declare -A least
compare_loads() {
  local size=$1 tag member run peer_runs=$runs
  tag=$(tag_of "$size")
  [ "$size" -le 500 ] || peer_runs=1
  for member in $members; do
    least[$member]=$(($(docker exec "$member" du -sm /var/lib/containerd/io.containerd.content.v1.content | cut -f1) + 2))
  done
  rm -f "$scratch"/times/*
  for run in $(seq "$peer_runs"); do
    measured tg first by_tg "$tag"
    forget "$tag"
    measured kind first by_kind "$tag"
    [ "$run" = "$peer_runs" ] || forget "$tag"
  done
  # In turns, each with a new last layer, and the other's image there.
  for run in $(seq "$((runs * 3))"); do
    edit "$size"
    measured tg change by_tg "$tag"
    measured tg again by_tg "$tag"
    leave_alone
    measured tg same by_tg "$tag"
    [ "$run" -le "$peer_runs" ] || continue
    edit "$size"
    measured kind change by_kind "$tag"
    measured kind again by_kind "$tag"
    leave_alone
    measured kind same by_kind "$tag"
  done
  for run in $(seq "$peer_runs"); do
    docker tag "$tag" "$tag-named$run"
    docker tag "$tag" "$tag-peer$run"
    images+=("$tag-named$run" "$tag-peer$run")
    measured tg named by_tg "$tag-named$run"
    measured kind named by_kind "$tag-peer$run"
  done
  local what
  for what in first:"first load" change:"one layer of 0.8 MB changed" again:"nothing changed, at once" same:"nothing changed, 3 s later" named:"only the tag is new"; do
    local of=$scratch/times/${what%%:*}
    row "$size MB, $2" "${what#*:}" "$(cell <"$of-tg")" "$(cell <"$of-kind")" "$(ratio "$of-tg" "$of-kind")"
    printf '%s %s %s %s %s\n' "$size" "$2" "${what%%:*}" "$(of_all <"$of-tg" | cut -d' ' -f1)" \
      "$(of_all <"$of-kind" | cut -d' ' -f1)" >>"$scratch/chart"
  done
  for member in $members; do
    docker exec "$member" sh -c "crictl images -q | sort -u | while read -r id; do crictl inspecti -o go-template --template '{{.status.repoTags}}' \$id | grep -q tg-bench && crictl rmi \$id; done" >/dev/null 2>&1 || true
  done
}

# measured WHO WHAT COMMAND...
measured() {
  local who=$1 what=$2 time; shift 2
  time=$("$@")
  echo "$time" >>"$scratch/times/$what-$who"
  # Whoever loaded it: the nodes have what Docker has.
  local member
  for member in $members; do
    [ -n "$(id_of "$member" "$2")" ] || fail "$who did not load $2 into $member"
  done
}

# draw STORE: bars for the image of 500 MB, on a scale of powers of ten.
draw() {
  awk -v store="$1" -v sizes="$(cut -d' ' -f1 "$scratch/chart" | sort -nu | tr '\n' ' ')" '
    function x(ms) { return 230 + 95 * (log(ms / 10) / log(10)) }
    function bar(y, ms, colour) {
      printf "<rect x=\"230\" y=\"%d\" width=\"%.0f\" height=\"12\" fill=\"%s\"/>", y, x(ms) - 230, colour
      printf "<text x=\"%.0f\" y=\"%d\">%s</text>\n", x(ms) + 5, y + 10, ms < 1000 ? sprintf("%.0f ms", ms) : sprintf("%.1f s", ms / 1000)
    }
    BEGIN {
      name["first"] = "first load"; name["change"] = "one layer changed"; name["again"] = "nothing changed, at once"; name["same"] = "nothing changed, 3 s later"
      name["named"] = "only the tag is new"
      wanted = sizes ~ /(^| )500 / ? 500 : sizes + 0
    }
    $1 == wanted { line[++count] = $0 }
    END {
      printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"680\" height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n", 70 + 38 * count
      printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
      printf "<text x=\"10\" y=\"18\" font-size=\"13\">Loading an image of %d MB, image store %s</text>\n", wanted, store
      printf "<rect x=\"10\" y=\"28\" width=\"10\" height=\"10\" fill=\"#1b7f5c\"/><text x=\"25\" y=\"37\">tg load-if-needed</text>"
      printf "<rect x=\"140\" y=\"28\" width=\"10\" height=\"10\" fill=\"#b0b0b0\"/><text x=\"155\" y=\"37\">kind load docker-image (logarithmic)</text>\n"
      for (power = 1; power <= 4; power++) {
        at = x(10 ^ power)
        printf "<line x1=\"%.0f\" x2=\"%.0f\" y1=\"46\" y2=\"%d\" stroke=\"#dddddd\"/>\n", at, at, 56 + 38 * count
      }
      for (n = 1; n <= count; n++) {
        split(line[n], part, " ")
        y = 52 + 38 * (n - 1)
        printf "<text x=\"10\" y=\"%d\">%s, %s</text>\n", y + 17, name[part[3]], part[2] == 1 ? "1 node" : part[2] " nodes"
        bar(y, part[4], "#1b7f5c")
        bar(y + 14, part[5], "#b0b0b0")
      }
      print "</svg>"
    }' "$scratch/chart"
}
