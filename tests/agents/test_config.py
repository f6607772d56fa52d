"""Hyper-parameters: what is refused, in one line that names it, and that they are plain data."""

import json
from typing import Literal, get_origin, get_type_hints

import numpy as np
import pytest

from mbrl_split.agents.conformance import Corridor
from mbrl_split.errors import InvalidInputError
from mbrl_split.registry import AGENTS

from .registered import SETTINGS

WHOLE, SHARE, POSITIVE = (0, -1, 2.5, "8", None), (-0.1, 1.1, np.nan, "0.9"), (0, -1.0, np.nan, "1")
BAD = {
    **dict.fromkeys(("n_steps", "batch_size", "n_epochs", "n_episodes", "max_steps", "value_steps"), WHOLE),
    **dict.fromkeys(("buffer_size", "train_freq", "target_update_interval", "propensity_draws", "cold_start"), WHOLE),
    **dict.fromkeys(("gamma", "gae_lambda", "tau", "exploration_fraction"), SHARE),
    **dict.fromkeys(("exploration_initial_eps", "exploration_final_eps"), SHARE),
    **dict.fromkeys(("prior_alpha", "prior_beta", "prior_std", "noise_std", "reward_range", "l2_lambda"), POSITIVE),
    **dict.fromkeys(("c", "alpha"), (-1.0, np.nan, "1")),
    **dict.fromkeys(("activation", "baseline", "rms_prop", "likelihood", "rule", "optimism"), ("gelu", 0, None)),
    "gradient_steps": (0, -2, "1"),
    "fit_every": (-1, "1"),
    "delta": (0, 1, "0.1"),
}
READ = {
    **dict.fromkeys(("learning_rate", "clip_range", "epsilon"), ("fast", None, {"linear": {"begin": 1}})),
    "net_arch": ((0,), (8, -3)),
}


def asked(kind):
    """Names of the fields that ask something of their value."""
    hints = get_type_hints(kind.Config, include_extras=True)
    return {name for name, hint in hints.items() if hasattr(hint, "__metadata__") or get_origin(hint) is Literal}


def make(name, **settings):
    env = Corridor()
    return AGENTS[name](env.observation_space, env.action_space, seed=0, **{**SETTINGS[name], **settings})


@pytest.mark.parametrize("name", SETTINGS)
def test_every_bad_value_is_refused_by_name(name):
    fields = asked(AGENTS[name])
    assert fields <= BAD.keys() | READ.keys(), "a field without a case here"
    for field in sorted(fields):
        for value in BAD.get(field) or READ[field]:
            with pytest.raises(InvalidInputError) as caught:
                make(name, **{field: value})
            assert "\n" not in str(caught.value)
            what = f"{field} must be " if field in BAD else ""
            assert str(caught.value).startswith(f"{AGENTS[name].__name__}: {what}")


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_plain_data(name):
    agent = make(name)
    data = json.loads(json.dumps(agent.config.data()))
    assert type(agent.config)(**data) == agent.config
    with pytest.raises(InvalidInputError, match=f"unknown hyper-parameter of {type(agent).__name__} 'n_stepz'"):
        make(name, n_stepz=3)
