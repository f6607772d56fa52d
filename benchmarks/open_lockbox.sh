#!/bin/sh
# Judge the frozen methods of the headline suite once more, on the lockbox: documents and channel draws by which nothing
# was ever chosen.
#
#     benchmarks/open_lockbox.sh [OUT]          default: runs/lockbox
#
# Same rows, same seeds, hence the same policies as in the published results; the judge alone is another. Left out is what
# takes hours and decides nothing: foreign libraries with unlimited truth, and whole evaluations on a process of ours.
# Stop it at any time: the same command goes on with the rest.
set -eu
cd "$(dirname "$0")/.."
out=${1:-runs/lockbox}
for row in \
    'equalised/optimal' 'equalised/random' 'equalised/best-fixed' 'equalised/noise-bins' \
    'equalised/argmax-tuned-*' 'equalised/argmax-rounds-50' 'equalised/gp-*' 'equalised/knn*' 'equalised/table-*' 'equalised/pilot-*' \
    'equalised/*-300' 'equalised/linucb' 'equalised/authors' 'equalised/ppo-fading-gp-50' 'equalised/ppo-true' \
    'drive/optimal' 'drive/random' 'drive/best-fixed' 'drive/myopic*' \
    'drive/planner-tuned-*' 'drive/planner-rounds-50' 'drive/gp-*' 'drive/knn*' 'drive/table-*' 'drive/pilot-*' \
    'drive/ppo-fading-gp' 'drive/ppo-true'
do
    mbrl-split bench run benchmarks/rl_vs_mbrl.yaml --set judge=lockbox --out "$out" --only "$row" --jobs "${JOBS:-1}"
done
