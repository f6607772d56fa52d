"""What the pages show runs: Python blocks are executed, suites are validated, commands and their options exist."""

import inspect
import re
import shlex

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from mbrl_split import cli
from mbrl_split.bench import load_suite

from .pages import FENCE, IDS, PAGES, ROOT, blocks, outputs
from .plugin import install

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run_in_order_and_print_what_the_page_says(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if page.name == "plug-in.md":
        install(tmp_path, monkeypatch)
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(page)
    examples = list(document.examples())
    said = outputs(page)
    assert len(examples) == len(said)
    for example, expected in zip(examples, said, strict=True):
        capsys.readouterr()
        example.evaluate()
        if expected is not None:
            assert_prints(capsys.readouterr().out, expected)


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def assert_prints(printed, expected):
    """The same words, and numbers as close as another processor's rounding leaves them."""
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", expected)
    numbers = [[float(x) for x in NUMBER.findall(text)] for text in (printed, expected)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.05)


def test_another_output_is_noticed():
    assert_prints("regret 0.12 with 69.0\n", "regret 0.14 with 69.0\n")
    for other in ("regret 0.31 with 69.0\n", "regret 0.12 with 75.0\n", "regrets 0.12 with 69.0\n", "regret 0.12\n"):
        with pytest.raises(AssertionError):
            assert_prints(other, "regret 0.12 with 69.0\n")


def test_a_block_that_fails_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    first, second = Sybil(parsers=[PythonCodeBlockParser()]).parse(page).examples()
    first.evaluate()
    with pytest.raises(AssertionError):
        second.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_includes_are_whole(page):
    """A formatter takes an include in a Python block for arithmetic."""
    assert "--8 <" not in page.read_text(encoding="utf-8")


def with_includes(body):
    """A block whose lines are those of a file that it includes."""
    return re.sub(r'^--8<-- "([^"]+)"$', lambda found: (ROOT / found[1]).read_text(), body, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_suites_are_valid(page, tmp_path, monkeypatch):
    if page.name == "plug-in.md":
        install(tmp_path, monkeypatch)
    for i, body in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"suite-{i}.yaml"
        path.write_text(with_includes(body))
        assert list(load_suite(path).cells())


def command_lines(*begins):
    """Lines of code blocks and inline code that begin with a command, with the page they stand on."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for _, body in FENCE.findall(text) for line in body.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        for line in lines:
            if line.startswith(begins):
                yield pytest.param(line.split("  #")[0].strip(), id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize("line", list(command_lines("pip install ")))
def test_what_is_installed_is_there(line):
    check_install(line)


def check_install(line):
    """What pip is told to install is a folder of the checkout that it can build: no index has the package."""
    for word in shlex.split(line, comments=True)[2:]:
        if not word.startswith("-"):
            assert (ROOT / word.partition("[")[0] / "pyproject.toml").is_file(), f"{line}: no project {word}"


def test_a_package_that_no_index_has_is_noticed():
    check_install('pip install -e ".[all]"')
    with pytest.raises(AssertionError, match=r"no project mbrl-split\[all\]"):
        check_install('pip install "mbrl-split[all]"')


@pytest.mark.parametrize("line", list(command_lines("mbrl-split ", "make ", "python benchmarks/")))
def test_commands_exist(line):
    words = shlex.split(line, comments=True)
    if words[0] == "python":
        assert (ROOT / words[1]).is_file()
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        check_command(words[1:])


def check_command(words):
    """The command and its options are known to the command line."""
    plain, groups = cli._commands()
    if words[0] in groups:
        if len(words) == 1:
            return
        function = groups[words[0]][words[1]]
    else:
        function = plain[words[0]]
    known = inspect.signature(function).parameters
    for option in (word for word in words if word.startswith("--")):
        assert option.removeprefix("--").replace("-", "_") in known, f"{' '.join(words)}: no option {option}"


def test_an_unknown_option_is_noticed():
    with pytest.raises(AssertionError, match="no option --fast"):
        check_command(["bench", "run", "suite.yaml", "--fast"])
