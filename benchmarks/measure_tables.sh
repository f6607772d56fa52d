#!/bin/sh
# Measure every shipped table, or what is left of them.
#
#     benchmarks/measure_tables.sh [MODEL …]          default: tiny-llama tiny-gpt2 smollm2-135m
#     JOBS=8 STORE=/scratch/truth.sqlite HALVES="judge replay" FAMILIES="equalised" benchmarks/measure_tables.sh tiny-gpt2
#
# Stop it at any time: finished cells are in the store, finished tables in mbrl_split/data/tables, and the same command
# goes on with the rest. A table whose card is there is not measured again; remove the card to force it.
set -eu
cd "$(dirname "$0")/.."
: "${JOBS:=1}" "${STORE:=runs/truth.sqlite}" "${HALVES:=judge replay lockbox}" "${COMMAND:=mbrl-split}"
: "${FAMILIES:=equalised raw snr-token snr-tensor erasure-element erasure-packet erasure-token quantise-token quantise-tensor}"
[ $# -gt 0 ] || set -- tiny-llama tiny-gpt2 smollm2-135m

# What decides is measured first: all models' equalised tables, then the other families.
for family in $FAMILIES; do
    for model in "$@"; do
        for half in $HALVES; do
            [ -f "mbrl_split/data/tables/$model/$family-$half.json" ] && continue
            echo "$model, $family, $half"
            $COMMAND measure --model "$model" --family "$family" --half "$half" --store "$STORE" --jobs "$JOBS"
        done
    done
done
