"""A native Gymnasium vector environment as a Stable-Baselines3 ``VecEnv``."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from mbrl_split.errors import InvalidInputError, UnsupportedError


def to_sb3(vec: VectorEnv[Any, Any, Any]) -> Any:
    """The vector environment in the form that Stable-Baselines3 trains on, without a wrapper per sub-environment.

    Args:
        vec: A vector environment that resets in the same step (SAME_STEP).

    Returns:
        A ``stable_baselines3.common.vec_env.VecEnv``.

    Raises:
        UnsupportedError: Another autoreset mode; its dead or missing transitions have no place in a ``VecEnv``.
        InvalidInputError: Stable-Baselines3 is not installed.
    """
    mode = vec.metadata.get("autoreset_mode")
    if mode not in (AutoresetMode.SAME_STEP, AutoresetMode.SAME_STEP.value):
        raise UnsupportedError(f"to_sb3 needs a vector environment in mode AutoresetMode.SAME_STEP, not {mode}")
    try:
        from stable_baselines3.common.vec_env import VecEnv
    except ImportError as error:
        raise InvalidInputError("to_sb3 needs the package stable-baselines3") from error

    class NativeVecEnv(VecEnv):  # type: ignore[misc]
        """Passes arrays through; final observations and truncations go where Stable-Baselines3 looks for them."""

        def __init__(self) -> None:
            super().__init__(vec.num_envs, vec.single_observation_space, vec.single_action_space)
            self._actions: Any = None

        def reset(self) -> Any:
            obs, _ = vec.reset(seed=self._seeds[0])  # Stable-Baselines3 seeds consecutively, as Gymnasium does
            self._reset_seeds()
            self._reset_options()
            return np.array(obs)

        def step_async(self, actions: Any) -> None:
            self._actions = actions

        def step_wait(self) -> Any:
            obs, rewards, terminated, truncated, info = vec.step(self._actions)
            dones = np.logical_or(terminated, truncated)
            infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
            for i in np.flatnonzero(dones):
                infos[i]["terminal_observation"] = np.asarray(info["final_obs"][i])
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            return np.array(obs), np.array(rewards, dtype=np.float32), dones, infos

        def close(self) -> None:
            vec.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            # Stable-Baselines3 asks every environment for this one.
            value = None if attr_name == "render_mode" else getattr(vec, attr_name)
            return [value for _ in self._get_indices(indices)]

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            if indices is not None:
                raise UnsupportedError("sub-environments of a native vector environment share their attributes")
            setattr(vec, attr_name, value)

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            result = getattr(vec, method_name)(*args, **kwargs)
            return [result[i] for i in self._get_indices(indices)]

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False for _ in self._get_indices(indices)]

    return NativeVecEnv()
