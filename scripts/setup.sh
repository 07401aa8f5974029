#!/usr/bin/env bash
# Installs what the build needs and this machine lacks: Debian packages, and libtorch (the PyPI wheel `torch`, in .venv/).
# A libtorch on CMAKE_PREFIX_PATH, or a torch that python3 imports, is used as it is. Running it again is quick.
#
# usage: scripts/setup.sh            environment: CARAVAN_SKIP_PACKAGES=1 leaves Debian's packages alone
set -euo pipefail
cd "$(dirname "$0")/.."
torch_version=2.13.0   # the version that CMake's messages name: CARAVAN_TORCH_PINNED in cmake/libtorch.cmake

packages=(
  g++ cmake ninja-build ccache make pkg-config            # the tools
  python3 python3-venv ca-certificates                    # pip, which fetches libtorch and the demo's model
  libfmt-dev libspdlog-dev nlohmann-json3-dev libsimdjson-dev libcli11-dev zlib1g-dev
  libpcre2-dev libutf8proc-dev libsentencepiece-dev       # text
  libedit-dev                                             # lines typed in a chat
  libtomlplusplus-dev                                     # training configs
  libopenmpi-dev openmpi-bin                              # training in several processes
  libgtest-dev libbenchmark-dev)

say() { printf '== %s\n' "$*" >&2; }
die() { printf '\nerror: %s\n' "$1" >&2; shift; printf '  %s\n' "$@" >&2; exit 1; }

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

install_packages() {
  if [ "${CARAVAN_SKIP_PACKAGES:-}" = 1 ]; then say "packages: left alone (CARAVAN_SKIP_PACKAGES=1)"; return; fi
  if ! command -v dpkg-query >/dev/null; then
    command -v cmake >/dev/null && command -v ninja >/dev/null && command -v python3 >/dev/null ||
      die "this is no Debian system: install the equivalents of these packages, then run this again." "${packages[*]}"
    say "packages: this is no Debian system; taking what is there"; return
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} = 0 ]; then say "packages: all ${#packages[@]} are there"; return; fi
  if [ "$(id -u)" != 0 ]; then
    die "these Debian packages are missing, and installing them needs root:" \
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" "then run this again."
  fi
  say "packages: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local apt=(apt-get -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
  # An apt-get that was interrupted half way leaves packages unpacked but not configured.
  dpkg --configure -a >&2
  { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >&2 ||
    die "the Debian packages could not be installed (is this machine offline?). apt-get's words are above. Missing:" "${missing[*]}"
}

# Prints "VERSION FOLDER" of the libtorch that CMake will use; fails where there is none.
find_libtorch() { cmake ${CARAVAN_PYTHON:+-DCARAVAN_PYTHON="$CARAVAN_PYTHON"} -P cmake/libtorch.cmake 2>/dev/null | tail -1 | grep '^[0-9]'; }

# Shared libraries that this one needs and that cannot be found.
unresolved() { ldd "$1" 2>/dev/null | awk '/not found/ { print $1 }'; }

# libtorch_cpu of a CUDA wheel needs CUDA's run time and profiler interface (13 MB); the rest of its CUDA libraries (2.5 GB)
# serve libtorch_cuda only. Which versions: torch's own metadata says.
install_cuda_runtime() {
  [ -n "$(unresolved "$1")" ] || return 0
  say "libtorch: this is a CUDA build; installing $(unresolved "$1" | xargs) for it"
  local requirements
  mapfile -t requirements < <(.venv/bin/python - <<'PY'
import importlib.metadata
import re
for line in importlib.metadata.requires("torch"):
    requirement = line.split(";")[0].strip()
    if re.match(r"nvidia-cuda-(runtime|cupti)\b", requirement):
        print(requirement)
    elif requirement.startswith("cuda-toolkit"):
        print(re.sub(r"^cuda-toolkit(\[.*?\])?", "cuda-toolkit[cudart,cupti]", requirement))
PY
  )
  local pip=(.venv/bin/python -m pip install --disable-pip-version-check --no-warn-conflicts)
  [ ${#requirements[@]} = 0 ] || "${pip[@]}" "${requirements[@]}" >&2 || true
  [ -n "$(unresolved "$1")" ] || return 0
  say "libtorch: still missing $(unresolved "$1" | xargs): installing all of torch's dependencies"
  "${pip[@]}" "torch==$torch_version" >&2 || die "torch's dependencies could not be installed. pip's words are above."
}

install_libtorch() {
  local found
  if found=$(find_libtorch); then
    case ${found#* } in "$PWD"/.venv/*) install_cuda_runtime "${found#* }/lib/libtorch_cpu.so" ;; esac
    say "libtorch: ${found/ / in }"
    return
  fi
  if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    say "libtorch: making a virtual environment in .venv/"
    rm -rf .venv
    python3 -m venv .venv || die "python3 -m venv failed." "On Debian: sudo apt-get install -y python3-venv"
  fi
  say "libtorch: installing torch==$torch_version into .venv/ (the CPU wheel has 190 MB, a CUDA wheel 530 MB)"
  # --no-deps: Caravan links the C++ libraries only. Torch's Python dependencies, and the gigabytes of CUDA libraries that a
  # CUDA wheel asks for, are not needed for them. --force-reinstall repairs an installation that was interrupted.
  .venv/bin/python -m pip install --disable-pip-version-check --no-deps --force-reinstall "torch==$torch_version" >&2 ||
    die "torch==$torch_version could not be installed (is this machine offline?). pip's words are above." \
        "Run this again when online, or point CMAKE_PREFIX_PATH at an unpacked libtorch $torch_version."
  found=$(find_libtorch) || { cmake -P cmake/libtorch.cmake >&2 || true; die "the torch that pip installed cannot be used; see above."; }
  install_cuda_runtime "${found#* }/lib/libtorch_cpu.so"
  say "libtorch: ${found/ / in }"
}

install_packages
install_libtorch
