"""The report says what its numbers say: verdicts, marks, Markdown and HTML from made-up rows."""

import io
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from rich.console import Console

from mbrl_split import InvalidInputError
from mbrl_split.bench.comparison import prices
from mbrl_split.bench.figures import _one_method, score_by_seconds
from mbrl_split.bench.outcome import _references
from mbrl_split.bench.report import _group, cells, print_table, sentence, to_markdown, write_report
from mbrl_split.bench.results import curves, summarise

REFERENCE = {"regret_unit": "headroom", "headroom": 0.3, "headroom_std_error": 0.01, "action_word": "split"}


def run(algorithm: str, seed: int, curve: list[tuple[float, float]], **parts: str | None) -> dict:
    spec = {
        "seed": seed,
        "budget": 100,
        "algorithm": {
            "algorithm": algorithm,
            **dict.fromkeys(("agent", "source", "schedule", "acquisition", "baseline")),
            **parts,
        },
    }
    points = [
        {"true_evaluations": e, "oracle_seconds": e / 10, "train_seconds": 1.0, "env_steps": 0}
        | {"value": 0.1 - 0.3 * r, "regret": r}
        for e, r in curve
    ]
    return {
        "folder": f"equalised-m-{algorithm}-s{seed}-0a1b2c3d",
        "problem": "equalised/m",
        "labels": {"scenario": "equalised", "model": "m"},
        "unit": "true evaluation",
        "spec": spec,
        "status": "ok",
        "error": None,
        "curve": points,
        "reference": REFERENCE,
    }


RUNS = [
    run("random", 0, [(0, 3.0)]),
    *(run("ppo-true", s, [(300, 6.0), (600, 4.0)], agent="ppo", source="oracle") for s in range(3)),
    *(run("ppo-mlp", s, [(50, 0.5), (70, 0.15), (100, 0.1 + s / 100)], agent="ppo", source="mlp") for s in range(3)),
    *(run("argmax-mlp", s, [(100, 0.11)], agent="argmax", source="mlp") for s in range(3)),
]
ORDER = ["random", "ppo-true", "ppo-mlp", "argmax-mlp"]


def summary() -> dict:
    reference = {
        **REFERENCE,
        "optimal": 0.1,
        "best_fixed": -0.2,
        "best_fixed_action": 5,
        "contexts": 50,
        "random": -1.0,
    }
    return {
        "suite": "s",
        "title": "A <title>",
        "command": "mbrl-split bench run s.yaml",
        "versions": {"python": "3"},
        "references": {"equalised/m": reference},
        "units": {"equalised/m": "true evaluation"},
        "rows": summarise(RUNS, ORDER),
    }


def test_rows_follow_the_suite_and_average_over_seeds() -> None:
    rows = {r["algorithm"]: r for r in summary()["rows"]}
    assert list(rows) == ORDER
    assert rows["ppo-mlp"]["regret_mean"] == pytest.approx(0.11)
    assert rows["ppo-mlp"]["regret_worst"] == pytest.approx(0.12)
    assert rows["ppo-mlp"]["regret_ci"] is None  # three seeds make no interval
    assert rows["ppo-mlp"]["reach"]["by_seed"] == [{"evaluations": 100.0, "seconds": 11.0}, None, None]


def test_convergence_is_read_from_the_curve() -> None:
    rows = {r["algorithm"]: r for r in summary()["rows"]}
    assert not rows["ppo-true"]["converged"]
    assert "not converged" in cells(rows["ppo-true"])[0]
    assert rows["ppo-mlp"]["converged"]


def test_the_sentence_says_when_no_rl_was_needed() -> None:
    s = summary()
    text = sentence(s["rows"], s["references"]["equalised/m"])
    assert "ppo-mlp) beats the best fixed split" in text
    assert "has not converged" in text
    assert "argmax-mlp ties it" in text


def test_the_sentence_does_not_flatter() -> None:
    bad = [run("ppo-mlp", s, [(100, 1.4)], agent="ppo", source="mlp") for s in range(3)]
    assert "does not beat the best fixed split" in sentence(summarise(bad, ORDER), REFERENCE)


def test_without_a_trusted_headroom_verdicts_are_in_reward_and_know_its_error() -> None:
    """Losing 0.02 of 0.05 beats the best fixed split; losing 0.04 of 0.05 ± 0.02 does not; 0.3 of 0.05 is no 0.3 of a
    headroom."""
    reference = {**REFERENCE, "regret_unit": "reward", "headroom": 0.05, "headroom_std_error": 0.02}
    for regret, verdict, converged in (
        (0.02, "beats", True),
        (0.04, "does not beat", True),
        (0.3, "does not beat", False),
    ):
        runs = [
            {
                **run("ppo-mlp", s, [(80, regret + 0.01), (100, regret)], agent="ppo", source="mlp"),
                "reference": reference,
            }
            for s in range(3)
        ]
        rows = summarise(runs, ORDER)
        text = sentence(rows, reference)
        assert f"{verdict} the best fixed split, at {regret:.3f} reward a step lost" in text
        assert "of 0.050 that the best fixed split loses" in text
        assert rows[0]["converged"] is converged


def test_prices_in_reward_where_the_headroom_is_no_unit_but_surely_there(tmp_path: Path) -> None:
    """A tenth of 0.08 ± 0.01 is 0.008: the second point is the first to hold it. Of 0.02 ± 0.01 there is no price."""
    for headroom, priced in ((0.08, True), (0.02, False)):
        reference = {**summary()["references"]["equalised/m"], "headroom": headroom, "regret_unit": "reward"}
        curve = [(50, 0.009), (70, 0.0079), (100, 0.0061)]
        runs = [{**run("ppo-mlp", s, curve, agent="ppo", source="mlp"), "reference": reference} for s in range(3)]
        s = {**summary(), "rows": summarise(runs, ORDER), "references": {"equalised/m": reference}}
        text = to_markdown(s)
        assert ("| ppo-mlp | 3 of 3 | 70 | 8 |" in text) is priced
        assert ("a loss of 0.0080 reward per step, 0.1 of the estimated headroom" in text) is priced
        assert "| 0.0061 |" in text  # and regrets show what tells them apart
        if priced:
            write_report(s, curves(runs), tmp_path / "report.html")
            assert "regret (reward per step)" in (tmp_path / "figures" / "equalised-m-profile.svg").read_text()


def test_a_failed_run_is_a_row_that_says_why(tmp_path: Path) -> None:
    failed = {
        **run("ppo-mlp", 3, [], agent="ppo", source="mlp"),
        "status": "failed",
        "error": "InvalidInputError: no luck",
    }
    s = {**summary(), "rows": summarise([*RUNS, failed], ORDER)}
    row = next(r for r in s["rows"] if r["algorithm"] == "ppo-mlp")
    assert row["failed"] == [{"run": failed["folder"], "error": "InvalidInputError: no luck"}]
    write_report(s, points(), tmp_path / "report.html")
    assert "no luck" in (tmp_path / "report.html").read_text()


def test_beating_the_best_fixed_action_takes_the_whole_interval() -> None:
    for spread, verdict in ((0.1, "beats"), (0.9, "does not beat")):
        regrets = [0.8 + spread * (-1) ** s for s in range(10)]
        rows = summarise([run("ppo-mlp", s, [(9, regrets[s])], agent="ppo", source="mlp") for s in range(10)], ORDER)
        assert f"{verdict} the best fixed split" in sentence(rows, REFERENCE)


def test_a_failed_seed_moves_no_other_seeds_figures() -> None:
    failed = {**run("ppo-mlp", 0, [], agent="ppo", source="mlp"), "status": "failed", "error": "no luck"}
    good = [run("ppo-mlp", s, [(100 + 10 * s, s / 10)], agent="ppo", source="mlp") for s in (1, 2)]
    row = summarise([failed, *good], ORDER)[0]
    runs = _group({"command": "", "units": {"equalised/m": "true evaluation"}}, row)["runs"]
    assert [(r["seed"], r["regret"], r["truth"]) for r in runs] == [
        ("0", "failed", "–"),
        ("1", "0.1000", "110"),
        ("2", "0.2000", "120"),
    ]
    assert cells(row)[0].endswith("(1 of 3 failed)")
    assert [(p.held, p.seeds) for p in prices([row])] == [(1, 3)]


@pytest.mark.parametrize(
    ("seeds", "gap", "words"),
    [(10, 0.1, "trails it"), (10, -0.1, "beats it"), (3, 0.1, "too few seeds"), (10, 0.0, "ties it")],
)
def test_the_sentence_says_no_more_than_the_test_of_the_table_beneath(seeds: int, gap: float, words: str) -> None:
    """The rival loses ``gap`` more on every seed, or, without a gap, .3 more or .2 less by turns: far and not told."""
    runs = [run("ppo-mlp", s, [(100, 0.3)], agent="ppo", source="mlp") for s in range(seeds)]
    extra = [gap or (0.3, -0.2)[s % 2] for s in range(seeds)]
    runs += [run("argmax-mlp", s, [(100, 0.3 + extra[s])], agent="argmax", source="mlp") for s in range(seeds)]
    assert f"argmax-mlp {words}" in sentence(summarise(runs, ORDER), REFERENCE).replace(
        "is not told apart from it (too few seeds)", "too few seeds"
    )


def test_the_bold_curve_belongs_to_all_seeds_at_every_point() -> None:
    """Three seeds judged four times, refreshed at other times: the median never runs backwards or ends on one seed."""
    courses = {0: [(30, 0.9), (40, 0.9), (50, 0.8), (60, 0.8)], 1: [(60, 0.2), (60, 0.1), (60, 0.05), (60, 0.02)]}
    courses[2] = courses[1]
    table = pd.DataFrame(
        [
            {"seed": s, "true_evaluations": e, "regret": r, "algorithm": "a"}
            for s, curve in courses.items()
            for e, r in curve
        ]
    )
    axes = plt.figure().subplots()
    _one_method(axes, table, "true_evaluations", "regret", "a", {"color": "k", "marker": "o", "ls": "-"})
    bold = axes.lines[-1]
    assert bold.get_xdata().tolist() == [60]
    assert bold.get_ydata().tolist() == [0.02]
    plt.close()


def test_curves_against_seconds_are_of_truth_and_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[plt.Figure] = []
    monkeypatch.setattr("mbrl_split.bench.figures.to_svg", lambda figure: drawn.append(figure) or "")
    score_by_seconds(points(), summary()["rows"], "regret", "headroom")
    left, right = drawn[0].axes
    bold = [next(line for line in axes.lines if line.get_label() == "ppo-mlp") for axes in (left, right)]
    assert bold[0].get_xdata().tolist() == [5.0, 7.0, 10.0]  # a tenth of a second each, as RUNS has it
    assert bold[1].get_xdata().tolist() == [6.0, 8.0, 11.0]  # and one second of training
    assert bold[0].get_ydata().tolist() == bold[1].get_ydata().tolist() == [0.5, 0.15, 0.11]
    plt.close(drawn[0])


def test_runs_judged_on_two_tables_are_not_averaged() -> None:
    first, second = run("ppo-mlp", 0, [(9, 0.1)]), run("ppo-mlp", 1, [(9, 0.1)])
    first["reference"] = {**first["reference"], "optimal": 0.5}
    second["reference"] = {**second["reference"], "optimal": 0.5 + 1e-9}
    assert _references([first, second]) == {"equalised/m": first["reference"]}
    second["reference"]["optimal"] = 0.51
    with pytest.raises(InvalidInputError, match="different tables"):
        _references([first, second])


def points() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"problem": r["problem"], **r["labels"], "algorithm": r["spec"]["algorithm"]["algorithm"], **p}
            | {"seed": r["spec"]["seed"]}
            for r in RUNS
            for p in r["curve"]
        ]
    )


def test_the_page_is_self_contained_and_escapes(tmp_path: Path) -> None:
    write_report(summary(), points(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "A &lt;title&gt;" in page
    assert page.count("<svg") == 3  # the curves, twice, and the profile
    assert "<script" not in page
    assert "src=" not in page
    files = sorted(f.name for f in (tmp_path / "figures").iterdir())
    assert files == [f"equalised-m-{name}.svg" for name in ("curves", "profile", "seconds")]
    assert ElementTree.parse(tmp_path / "figures" / files[0]).getroot().tag.endswith("svg")
    links = [part.split('"')[0] for part in page.split('href="')[1:]]
    outside = {link for link in links if not link.startswith("#")}
    assert outside == {f"runs/{r['folder']}/result.json" for r in RUNS}
    write_report(summary(), points(), tmp_path / "again.html")
    assert page == (tmp_path / "again.html").read_text()


def test_markdown_holds_every_row() -> None:
    text = to_markdown(summary())
    for label in ORDER:
        assert f"| {label}" in text


def test_a_narrow_terminal_cuts_no_number() -> None:
    made = summary()
    long = next(r for r in made["rows"] if r["algorithm"] == "ppo-true")
    long |= {"algorithm": "a-method-of-a-very-long-name", "oracle_seconds": 1_234_567.8}
    console = Console(width=80, record=True, file=io.StringIO())
    print_table(made, console)
    text = console.export_text()
    assert "…" not in text
    for row in made["rows"]:
        for number in cells(row)[1:]:
            assert number in text
    assert max(map(len, text.partition("\ntruths:")[0].splitlines())) <= 80
