"""One example of every kind of plug-in, named in `pyproject.toml`. Nothing but Gymnasium is imported here."""

import gymnasium

gymnasium.register(
    "mbrl_split_plugin/Tilt-v0",
    entry_point="mbrl_split_plugin.environment:TiltSingle",
    vector_entry_point="mbrl_split_plugin.environment:Tilt",
    disable_env_checker=True,
)
