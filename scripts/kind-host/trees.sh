# shellcheck shell=bash disable=SC2154 # variables of host.sh
# Sourced by host.sh: Debian packages, Debian trees, and the base images made from them.

# install_packages PACKAGE...: on this machine.
install_packages() {
  [ "$(id -u)" = 0 ] || fail "missing: $*" "install these packages, or run this as root"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
  say "installing Debian packages: $*"
  # Lists of some other source may be out of reach; whether these packages can be had is for the second command to say.
  limited "$state/apt-update.log" 600 "apt-get update" "${apt[@]}" update || say "going on with the package lists there are"
  persistent limited "$state/apt-install.log" 600 "apt-get install $*" "${apt[@]}" install -y --no-install-recommends "$@"
}

# tree NAME SUITE PACKAGES: a Debian tree under $state/trees.
tree() {
  local name=$1 suite=$2 packages=$3
  [ ! -e "$state/trees/$name/.done" ] || return 0
  command -v debootstrap >/dev/null || install_packages debootstrap
  say "assembling the Debian tree $name ($suite)"
  persistent assemble_tree "$name" "$suite" "$packages"
}

assemble_tree() {
  local dir=$state/trees/$1
  rm -rf "$dir"
  mkdir -p "$dir" "$state/packages"
  limited "$state/debootstrap-$1.log" 900 "debootstrap of the tree $1" \
    debootstrap --variant=minbase --cache-dir="$state/packages" --include="$3" "$2" "$dir" || return
  rm -rf "$dir"/var/cache/apt/* "$dir"/var/lib/apt/lists/* "$dir"/usr/share/{doc,man,locale,info}
  # A machine may trust more authorities than Debian does, and what runs in the tree has to reach the same places.
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] ||
    cp /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/ca-certificates.crt"
  touch "$dir/.done"
}

# import TAG DIR CHANGE...: a directory as an image of one layer.
import() {
  local tag=$1 dir=$2 changes=() change; shift 2
  for change; do changes+=(--change "$change"); done
  tar -C "$dir" --exclude ./.done -c . |
    timeout 600 docker import "${changes[@]}" - "$tag" >/dev/null || fail "docker import of $tag failed or took over 600 s"
}

# pulled IMAGE: an engine that is not ours may know the way to a registry; one that `up` started is known not to.
pulled() {
  ! engine_is_ours || return 1
  say "pulling $1"
  timeout 120 docker pull --quiet "$1" >"$state/pull.log" 2>&1 ||
    { say "$1 could not be pulled within 120 s, so it is made here: $(tail -n 1 "$state/pull.log")"; return 1; }
}

ensure_debian_image() {
  ! have_image "$debian_image" || return 0
  ! pulled "$debian_image" || return 0
  tree debian bookworm ca-certificates
  say "importing $debian_image"
  import "$debian_image" "$state/trees/debian" 'CMD ["bash"]'
}

ensure_rust_image() {
  ! have_image "$rust_image" || return 0
  ! pulled "$rust_image" || return 0
  tree rust bookworm ca-certificates,gcc,libc6-dev,pkg-config,git,curl
  copy_toolchain "$state/trees/rust/usr/local/rustup"
  say "importing $rust_image"
  import "$rust_image" "$state/trees/rust" \
    'ENV PATH=/usr/local/cargo/bin:/usr/local/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'ENV CARGO_HOME=/usr/local/cargo' 'CMD ["bash"]'
}

# copy_toolchain DIR: this machine's Rust toolchain, without its documentation and sources.
copy_toolchain() {
  local sysroot
  [ ! -e "$1/bin/cargo" ] || return 0
  sysroot=$(rustc --print sysroot) || fail "the image $rust_image needs Rust on this machine" "install it with rustup"
  if [ ! -x "$sysroot/bin/cargo" ] || [ "$sysroot" = /usr ]; then
    fail "the image $rust_image needs a toolchain in a directory of its own, not $sysroot" "install Rust with rustup"
  fi
  rm -rf "$1" "$1.part"
  mkdir -p "$1.part"
  tar -C "$sysroot" --exclude=./share --exclude=./lib/rustlib/src -c . | tar -C "$1.part" -x
  mv "$1.part" "$1"
}
