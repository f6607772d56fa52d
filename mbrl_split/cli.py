"""The command line: ``mbrl-split info | train | tune | bench | check``, and what is registered beside.

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

from mbrl_split.errors import InvalidInputError, MbrlSplitError
from mbrl_split.registry import COMMANDS

if TYPE_CHECKING:
    from mbrl_split.bench.runner import Outcome

Assignments = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
"""``--set A=1 --set B=2``."""

# Commands import what they need when they run: `mbrl-split --help` should not wait for torch.


def info() -> None:
    """Versions, registered names, and which optional parts are installed."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import mbrl_split
    from mbrl_split import registry

    print(f"mbrl_split {mbrl_split.__version__}, Python {platform.python_version()}")
    optional = ("torch", "gymnasium", "transformers", "xgboost", "xgboost-cpu", "optuna", "tensorboard", "pandas")
    for package in optional:
        try:
            print(f"  {package} {version(package)}")
        except PackageNotFoundError:
            print(f"  {package}: not installed")
    listed = {name: list(registry.resolve(where)) for name, where in registry.NAMED.items()}
    for name, members in {**listed, **{kind.kind: list(kind) for kind in registry.KINDS}}.items():
        if members:
            print(f"{name}: " + ", ".join(members))


def bench_list(folder: Positional[Path] = Path("benchmarks")) -> None:
    """The suites in a folder.

    Args:
        folder: Where suites lie.
    """
    from mbrl_split.bench import load_suite

    found = sorted(folder.glob("*.yaml"))
    if not found:
        raise InvalidInputError(f"no suite (*.yaml) in {folder}")
    for path in found:
        try:
            suite = load_suite(path)
        except InvalidInputError:  # another kind of file; the suite's own errors show when it is run
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
        only: PROBLEM/ALGORITHM/SEED, with * for any; a missing end means any.
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
    chosen = select(loaded, only, shard_of(shard))
    command = "mbrl-split bench run " + str(suite) + "".join(f" --set {a}" for a in assignments)
    if published is not None:
        print(f"{restore(loaded, published, target)} runs from {published}", file=sys.stderr)
    try:
        with cluster(dask):
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
    """Run one cell: a suite file with one algorithm, one problem and one seed.

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
        raise InvalidInputError(f"{config} describes {len(cells)} runs; train takes one (use `mbrl-split bench run`)")
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
        found = tune(data, target, jobs=jobs, home=config.parent, command=command, told=print_trial(data.trials))
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on with the next trial (study: {target})", file=sys.stderr)
        raise SystemExit(130) from None
    for line in found.lines():
        print(line)


def check(target: Positional[str]) -> None:
    """Run the conformance suite on your own class.

    Args:
        target: module:Class of a surrogate, agent, environment, oracle, problem or channel that needs no arguments.
    """
    from mbrl_split.testing import check_any

    print(check_any(target))


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Within it joblib sends its work to a Dask scheduler, if one is named."""
    if address is None:
        yield
        return
    import joblib

    try:
        from distributed import Client
    except ImportError:
        raise InvalidInputError("--dask needs the package distributed (pip install 'mbrl-split[cluster]')") from None
    try:
        client = Client(address, timeout=5)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"no Dask scheduler answers at {address}: {str(error).splitlines()[0]}") from None
    with client, joblib.parallel_config(backend="dask"):
        yield


def _complain(failed: list[Outcome]) -> None:
    """Name the runs that did not end well; exit code 2 if their input was refused, 1 if the library failed."""
    for outcome in failed:
        print(f"mbrl-split: {outcome.name}: {outcome.error}", file=sys.stderr)
    if failed:
        raise SystemExit(1 if any(o.status == "failed" for o in failed) else 2)


def shard_of(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if not (slash and index.isdigit() and count.isdigit()):
        raise InvalidInputError(f"--shard takes I/N, for instance 0/4, not {text!r}")
    return int(index), int(count)


Command = Callable[..., Any]
GROUPS: dict[str, dict[str, Command]] = {
    "bench": {"list": bench_list, "run": bench_run, "status": bench_status, "report": bench_report},
}
OWN: dict[str, Command] = {"info": info, "train": train, "tune": tune, "check": check}


def _commands() -> tuple[dict[str, Command], dict[str, dict[str, Command]]]:
    """All commands and groups of commands, those that other packages (and the wing) have registered included."""
    plain, groups = dict(OWN), {name: dict(members) for name, members in GROUPS.items()}
    for name in COMMANDS:
        group, _, rest = name.partition(" ")
        members = groups.setdefault(group, {}) if rest else plain
        members.setdefault(rest or group, _registered(name))
    return plain, groups


def _registered(name: str) -> Command:
    """A registered command; one that cannot be loaded says so when it is asked for, and takes no other with it."""
    try:
        found: Command = COMMANDS[name]
    except InvalidInputError as error:
        reason = error

        def found() -> None:
            raise reason

        found.__doc__ = str(reason)
    return found


def _group(name: str, members: dict[str, Command]) -> Command:
    def run(arguments: Annotated[tuple[str, ...], tyro.conf.Positional] = ()) -> None:
        _dispatch(members, list(arguments), f"mbrl-split {name}")

    run.__doc__ = f"{' | '.join(members)} (see `mbrl-split {name} --help`)"
    return run


def _dispatch(commands: dict[str, Command], arguments: list[str], prog: str) -> None:
    tyro.extras.subcommand_cli_from_dict(commands, prog=prog, args=arguments, sort_subcommands=False)


def main(argv: list[str] | None = None) -> None:
    """Entry point of the command ``mbrl-split``."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        plain, groups = _commands()
        if arguments and arguments[0] in groups:
            _dispatch(groups[arguments[0]], arguments[1:], f"mbrl-split {arguments[0]}")
        else:
            _dispatch(
                plain | {name: _group(name, members) for name, members in groups.items()}, arguments, "mbrl-split"
            )
    except MbrlSplitError as error:
        print(f"mbrl-split: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
