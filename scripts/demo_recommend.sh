#!/usr/bin/env bash
# From an interaction log to recommendations with one program: MovieLens-100K, a minute or two on two cores.
#
#   scripts/demo_recommend.sh build/release/bin/caravan [FOLDER]      # default: a folder in the cache, made anew
#
# docs/quickstart-recommend.md explains every step.
set -euo pipefail
cd "$(dirname "$0")/.."
caravan=${1:?usage: scripts/demo_recommend.sh PROGRAM [FOLDER]}
work=${2:-${CARAVAN_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/caravan}/demo-recommend}
step() { printf '\n== %s\n' "$*" >&2; }

log=$(scripts/fetch_movielens.sh)
mkdir -p "$work"
rm -rf "$work/data" "$work/run"

step "1. the log becomes a dataset"
"$caravan" items prepare "$log" -o "$work/data"
step "2. every film gets a code of three words, from its title, genres and who watched it with what"
"$caravan" items build --data "$work/data" --vectors tfidf,cooccurrence --levels 2 --codebook 64
step "3. a small LLaMA learns the users' sequences"
"$caravan" train examples/recommend/movielens.toml --output "$work/run" --data.dataset "$work/data" \
  --data.codes "$work/data/codes.json"
step "4. how good is it? The last film of every user, ranked among all films, beside counting"
"$caravan" eval recommend -m "$work/run/final" --data "$work/data" --baseline all
step "5. recommendations for three users"
for history in "Star Wars,Empire Strikes Back, The,Raiders of the Lost Ark" "Toy Story,Aladdin,Lion King, The" \
               "Scream,Psycho,Shining, The"; do
  printf '\n%s\n' "$history"
  "$caravan" recommend -m "$work/run/final" -q -k 5 --history "$history"
done
printf '\nThe model is in %s; ask it more: %s recommend -m %s\n' "$work/run/final" "$caravan" "$work/run/final" >&2
