"""Numbers that a page divides or subtracts are the numbers it prints: the reader gets the page's results from them."""

import re

import pytest

from mbrl_split.bench.printed import difference, number, quotient

from .pages import ROOT

RESULTS = ROOT / "benchmarks" / "results"
CLAIMS = ["rl_vs_mbrl/claims.md", "rl_vs_mbrl_tiny/claims.md", "lockbox/claims.md"]


def tables(text):
    """The Markdown tables of a page: the text since the last one, the head's cells, the rows'."""
    since, lines = [], [*text.splitlines(), ""]
    table = []
    for line in lines:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            yield "\n".join(since), table[0], table[2:]
            since, table = [line], []
        else:
            since.append(line)


def found(name, *heads):
    """The tables of a stored result that have these columns; there is one at least."""
    mine = [t for t in tables((RESULTS / name).read_text(encoding="utf-8")) if set(heads) <= set(t[1])]
    assert mine, f"{name} has no table with {heads}"
    return mine


def digits(cell):
    return len(cell.partition(".")[2])


def assert_quotient(cell, above, below, *, within=None):
    """A printed quotient, or the dash of one that cannot be."""
    assert cell in ("–", "—") or cell == quotient(above, below, f",.{digits(cell)}f"), (within, above, below, cell)


@pytest.mark.parametrize("name", [*CLAIMS, "transfer/claims.md"])
def test_times_ours(name):
    for _, head, rows in found(name, "times ours"):
        for i in (i for i, cell in enumerate(head) if cell == "times ours"):
            for row in rows:
                assert_quotient(row[i], row[i - 1], rows[0][i - 1], within=row)


@pytest.mark.parametrize("name", CLAIMS)
def test_times_less_than_on_the_truth(name):
    for above, _, rows in found(name, "times fewer", "times less"):
        truth = re.search(r"\(([\d,]+) true evaluations, ([\d,]+) s counted\)", above.split("Against")[-1])
        for *_, paid, fewer, seconds, less in rows:
            assert_quotient(fewer, truth[1], paid)
            assert_quotient(less, truth[2], seconds)


def test_the_two_judges():
    for _, _, rows in found("lockbox/claims.md", "times", "lockbox"):
        for row in rows:
            assert_quotient(row[-1], row[3], row[1], within=row)
    for _, _, rows in found("lockbox/claims.md", "difference", "seeds"):
        for row in rows:
            assert row[-1] == difference(row[-3], row[-2], "+.4f")


def test_the_paper_s_own_ratio():
    said = set(re.findall(r"24 days to 7.7 minutes, about ([\d,]+)", "".join(map(read, CLAIMS))))
    assert said == {f"{24 * 24 * 60 / 7.7:,.0f}"}


def read(name):
    return (RESULTS / name).read_text(encoding="utf-8")


def test_headrooms_in_their_standard_errors():
    for model in ("tiny-llama", "tiny-gpt2", "smollm2-135m"):
        for _, head, rows in found(f"landscape/{model}/landscape.md", "in standard errors"):
            i = head.index("in standard errors")
            for row in rows:
                assert_quotient(row[i], *row[i - 1].split(" ± "), within=row)


def test_regrets_in_headrooms():
    for above, _, rows in found("drive/drive.md", "in headrooms"):
        rooms = {model: value for value, model in re.findall(r"(\d\.\d+) ± \d\.\d+ on ([\w-]+)", above)}
        for row in rows:
            assert_quotient(row[-1], row[3], rooms[row[0].split(":")[0]], within=row)


def test_speeds():
    for _, _, rows in found("performance/agents.md", "ceiling / SB3"):
        for _, _, peer, _, ceiling, ratio in rows:
            assert_quotient(ratio, ceiling, peer)
    for _, _, rows in found("classic_control/summary.md", "ratio, processor"):
        for row in rows[1:]:
            for i in (-2, -1):
                assert_quotient(row[i], rows[0][i - 2], row[i - 2], within=row)
    text = read("performance/suites.md")
    runs, one, two, times, twice, both, each, wall = (
        re.search(pattern, text)[1]
        for pattern in (
            r"^(\d+) runs",
            r"\| one job \| ([\d.]+) s",
            r"two cores \| ([\d.]+) s",
            r"two cores \| [\d.]+ s, ([\d.]+) times",
            r"their own \| ([\d.]+) s",
            r"work, ([\d.]+) times",
            r"price, ([\d.]+) s a run",
            r"busy for (\d+) s each",
        )
    )
    assert_quotient(times, one, two)
    assert_quotient(both, f"{2 * number(one):.1f}", twice)
    assert_quotient(each, one, runs)
    assert_quotient(wall, f"{1000 * number(each):.0f}", "64")


def test_scores_against_the_best_peer():
    for _, head, rows in found("surrogates/claims.md", "best peer, CRPS"):
        first = head.index("best peer, CRPS")
        for row in rows:
            least = row[first].split(", ")[1]
            for cell in filter(None, row[first + 1 :]):
                value, share = re.fullmatch(r"([\d.]+) \(([+-]\d+ %)\)", cell).groups()
                assert share == quotient(difference(value, least, ".4f"), least, "+.0%").replace("%", " %"), row


def test_a_quotient_of_other_numbers_is_noticed():
    assert_quotient("1,890.8", "24,580", "13")
    for cell, above, below in (("1,918.4", "24,580", "13"), ("10.0", "128", "13"), ("2.6", "33", "never")):
        with pytest.raises(AssertionError):
            assert_quotient(cell, above, below)
