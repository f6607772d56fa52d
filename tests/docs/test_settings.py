"""Settings on the site: every class that a user fills in, with each field's type, meaning and default."""

import dataclasses
import html
import importlib
import inspect
import pkgutil
import re

import pytest

import mbrl_split
from mbrl_split import agents, registry
from mbrl_split.bench.suite import Algorithm, SuiteData
from mbrl_split.layer_split import costs
from mbrl_split.layer_split.scenarios import Scenario

ITEM = re.compile(
    r'<li class="doc-section-item field-body">\s*<b><code>(?P<name>.*?)</code></b>\s*'
    r"(?:\(<code>(?P<type>.*?)</code>\)\s*)?"
    r'–\s*<div class="doc-md-description">(?P<meaning>.*?)</div>',
    re.DOTALL,
)
DEFAULT = re.compile(r" Default: (.+)\.$")


def modules():
    for found in pkgutil.walk_packages(mbrl_split.__path__, "mbrl_split."):
        yield importlib.import_module(found.name)


def settings():
    """Classes of settings: by their names, by the agent that takes them, by the name a suite knows them by."""
    found = {Algorithm, SuiteData, Scenario, costs.Device, costs.Radio, costs.ModelSize, agents.Constant, agents.Linear}
    for module in modules():
        classes = (c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__)
        found |= {c for c in classes if dataclasses.is_dataclass(c) and c.__name__.endswith(("Config", "Spec"))}
    found |= {a.Config for a in public_agents()}
    for kind in (registry.SCHEDULES, registry.ACQUISITIONS):
        found |= {kind[name] for name in kind if inspect.isclass(kind[name]) and not kind.origin(name)}
    return sorted(found, key=lambda c: (c.__module__, c.__name__))


def public_agents():
    """Agents whose settings are keyword arguments (a planner's are written out in its signature)."""
    public = (getattr(agents, name) for name in agents.__all__)
    return [a for a in public if inspect.isclass(a) and issubclass(a, agents.Learner) and hasattr(a, "Config")]


def plain(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", markup)).split())


def shown(text, path):
    """The fields that the part of a page about one class lists: name to (type, meaning, default or None)."""
    part = text.split(f'id="{path}" class="doc doc-heading"', 1)[1].split('class="doc doc-heading"', 1)[0]
    fields = {}
    for item in ITEM.finditer(part):
        meaning = plain(item["meaning"])
        default = DEFAULT.search(meaning)
        fields[plain(item["name"])] = (
            plain(item["type"] or ""),
            DEFAULT.sub("", meaning),
            default and default[1],
        )
    return fields


def value(field):
    """The default of a field, what a factory makes in its place; MISSING without one."""
    made = field.default_factory is not dataclasses.MISSING
    return field.default_factory() if made else field.default


def home(cls, name):
    """The names known where a field is written."""
    writer = next(c for c in cls.__mro__ if name in vars(c).get("__annotations__", {}))
    return dict(vars(importlib.import_module(writer.__module__)))


@pytest.fixture(scope="module")
def pages(site):
    return [path.read_text(encoding="utf-8") for path in sorted((site / "api").glob("*.html"))]


def differences(cls, fields):
    """What the site says of a class's fields and should not, or the other way round."""
    declared = {f.name: f for f in dataclasses.fields(cls)}
    if fields.keys() != declared.keys():
        yield f"fields {sorted(fields.keys() ^ declared.keys())}"
    for name, (kind, meaning, default) in fields.items():
        if not kind or not meaning:
            yield f"{name} lacks a type or a meaning"
        expected = value(declared[name])
        said = dataclasses.MISSING if default is None else eval(default, home(cls, name))
        if said != expected:
            yield f"{name}: default {default}, not {expected}"


@pytest.mark.parametrize("cls", settings(), ids=lambda c: c.__qualname__)
def test_every_field_is_on_the_site(cls, pages):
    names = [f"{cls.__module__}.{cls.__name__}"]  # where it is defined, or the room that offers it
    names += [f"{names[0].rsplit('.', k)[0]}.{cls.__name__}" for k in range(2, names[0].count(".") + 1)]
    found = [(text, name) for text in pages for name in names if f'id="{name}" class="doc doc-heading"' in text]
    assert len(found) == 1, f"docs/api lacks '::: {names[0]}'"
    assert list(differences(cls, shown(*found[0]))) == []


def test_every_agent_has_settings():
    takers = {a.__name__ for a in public_agents()}
    assert {"PPO", "A2C", "DQN", "REINFORCE", "UCB1", "EpsilonGreedy", "LinUCB", "LinTS", "SurrogateBandit"} <= takers
    assert {a.Config for a in public_agents()} <= set(settings())


def test_a_field_that_is_not_shown_is_noticed(pages):
    (text,) = (page for page in pages if 'id="mbrl_split.agents.ppo.PPOConfig"' in page)
    fields = shown(text, "mbrl_split.agents.ppo.PPOConfig")
    assert fields["gamma"][0] == "float"
    assert fields["gamma"][2] == "0.99"
    config = agents.PPO.Config
    for name, (kind, meaning, default) in {
        "gamma": ("float", "Discount.", "0.9"),
        "clip_range": ("float", "ε.", None),
        "n_epochs": ("int", "", "10"),
    }.items():
        assert len(list(differences(config, {**fields, name: (kind, meaning, default)}))) == 1
    fields.pop("batch_size")
    assert list(differences(config, fields)) == ["fields ['batch_size']"]
