"""Callbacks that write records: JSON lines, CSV, TensorBoard, a progress bar."""

from __future__ import annotations

import csv
import json
import os
from os import PathLike
from pathlib import Path
from typing import Any, Self

from mbrl_split.agents.base import Agent
from mbrl_split.errors import InvalidInputError


class Writer:
    """A callback with something to close; use it in a ``with`` statement."""

    def close(self) -> None:
        """Flush and release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class JSONLWriter(Writer):
    """One JSON object per record, appended and flushed at once.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, JSONLWriter
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "log"
        >>> history = agent.learn(env, 512, callback=JSONLWriter(path))
        >>> len(path.read_text().splitlines())
        2
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)

    def __call__(self, agent: Agent, record: dict[str, float]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class CSVWriter(Writer):
    """A table with one column per scalar; a scalar that appears later adds a column, empty in the rows before.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, CSVWriter
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "log"
        >>> history = agent.learn(env, 512, callback=CSVWriter(path))
        >>> len(path.read_text().splitlines())
        3
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.columns: list[str] = []
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                self.columns = next(csv.reader(file), [])

    def __call__(self, agent: Agent, record: dict[str, float]) -> None:
        new = [name for name in record if name not in self.columns]
        if new:
            rows = self._rows()
            self.columns += new
            partial = self.path.with_name(self.path.name + ".partial")
            with open(partial, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns)
                writer.writeheader()
                writer.writerows(rows)
            os.replace(partial, self.path)
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(record)

    def _rows(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))


class TensorBoardWriter(Writer):
    """Scalars for TensorBoard, at their environment steps.

    Raises:
        InvalidInputError: The package ``tensorboard`` is not installed.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, TensorBoardWriter
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> history = agent.learn(env, 512, callback=TensorBoardWriter(folder))
        >>> len(list(folder.iterdir()))
        1
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InvalidInputError(
                "TensorBoard logs need the package tensorboard (pip install 'tensorboard>=2.21')"
            ) from error
        self._writer: Any = SummaryWriter(os.fspath(path))

    def __call__(self, agent: Agent, record: dict[str, float]) -> None:
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name, value, int(record["step"]))

    def close(self) -> None:
        self._writer.close()


class ProgressBar(Writer):
    """A bar on a terminal, a plain line every ``every`` updates elsewhere.

    Args:
        total_steps: As given to ``learn`` (plus the steps done before).
        every: Updates between plain lines.

    Example:
        >>> import gymnasium as gym
        >>> from mbrl_split.agents import PPO, ProgressBar
        >>> env = gym.make_vec("CartPole-v1", num_envs=8)
        >>> agent = PPO(env.single_observation_space, env.single_action_space, n_steps=32, seed=0)
        >>> history = agent.learn(env, 512, callback=ProgressBar(512))
    """

    def __init__(self, total_steps: int, every: int = 50) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.total, self.every, self._updates = total_steps, every, 0
        self._console = Console(stderr=True)
        self._bar = Progress(console=self._console) if self._console.is_terminal else None
        if self._bar is not None:
            self._task = self._bar.add_task("learning", total=total_steps)
            self._bar.start()

    def __call__(self, agent: Agent, record: dict[str, float]) -> None:
        self._updates += 1
        shown = f"return {record['episode/return']:.4g}" if "episode/return" in record else "learning"
        if self._bar is not None:
            self._bar.update(self._task, completed=record["step"], description=shown)
        elif self._updates % self.every == 0:
            self._console.print(f"{int(record['step'])}/{self.total} steps, {shown}", highlight=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
