"""Action values, their target network, and the gradient of the Q-learning loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mbrl_split.agents import categorical
from mbrl_split.agents.networks import MLP, Activation, Parameters
from mbrl_split.interaction.spaces import Array

if TYPE_CHECKING:
    import torch

    from mbrl_split.agents.networks import Tensors


class QNetwork:
    """A perceptron from observations to one value per action, with a lagging copy of itself.

    With ``dueling`` the head gives one value and A advantages, Q = V + a − mean(a).

    Args:
        size: Length of an observation.
        n_actions: A.
        hidden: Units of the hidden layers.
        activation: ``"relu"`` or ``"tanh"``.
        rng: Draws the initial weights.
        dueling: See above.
        device: On ``"cpu"`` the gradient is written out in numpy; elsewhere torch's autograd computes it.
        dtype: float64 in numerical checks.
    """

    def __init__(
        self,
        size: int,
        n_actions: int,
        hidden: tuple[int, ...],
        activation: Activation,
        rng: np.random.Generator,
        *,
        dueling: bool = False,
        device: str = "cpu",
        dtype: Any = np.float32,
    ) -> None:
        sizes = (size, *hidden, n_actions + dueling)
        shapes = MLP.shapes("q", sizes)
        self.parameters, self.target_parameters = Parameters(shapes, dtype), Parameters(shapes, dtype)
        self.online = MLP("q", sizes, self.parameters, activation=activation, rng=rng)
        self.lagging = MLP("q", sizes, self.target_parameters, activation=activation)
        self.dueling, self.device = dueling, device
        self.update_target(1.0)

    def __call__(self, obs: Array) -> Array:
        """Q of encoded observations, (n, A)."""
        return self._values(self.online(obs))

    def _values(self, head: Array) -> Array:
        if not self.dueling:
            return head
        advantages = head[:, 1:]
        return np.asarray(head[:, :1] + advantages - advantages.mean(axis=1, keepdims=True))

    def update_target(self, tau: float) -> None:
        """Mix a share ``tau`` of the online network into the lagging one."""
        if tau == 1.0:
            self.target_parameters.value[...] = self.parameters.value
        else:
            self.target_parameters.value += tau * (self.parameters.value - self.target_parameters.value)

    def lagging_values(self, obs: Array) -> Array:
        """Q' of encoded observations by the lagging network, (n, A)."""
        return self._values(self.lagging(obs))

    def targets(self, batch: dict[str, Array], lagging: Array, *, double: bool) -> Array:
        """Σγ^i·r_i + γ^k·Q'(s', a*), (b,).

        Args:
            batch: b transitions, as :meth:`~mbrl_split.agents.replay.Replay.sample` gives them.
            lagging: Q' of their ``next_obs``, (b, A), from :meth:`lagging_values`.
            double: a* is the best *allowed* action in s' by the online network, else by the lagging one itself.
        """
        chooser = self(batch["next_obs"]) if double else lagging
        chosen = lagging[np.arange(len(lagging)), categorical.best(chooser, batch.get("next_mask"))]
        # By selection: a value that overflowed beyond a terminal state must not count, not even as 0·∞.
        bootstrap = batch["discount"] * np.where(batch["discount"] > 0, chosen, 0.0)
        bootstrap += batch["reward"]
        return bootstrap.astype(self.parameters.value.dtype)

    def gradient(self, obs: Array, actions: Array, targets: Array, *, autograd: bool = False) -> tuple[float, float]:
        """Write the gradient of the mean Huber loss (δ = 1) into ``parameters.grad``.

        Args:
            obs: (b, size).
            actions: (b,).
            targets: (b,).
            autograd: Let torch compute it, on the CPU as well.

        Returns:
            The loss and the mean value of the actions taken.
        """
        if autograd or self.device != "cpu":
            batch = {"obs": obs, "actions": actions, "targets": targets}
            found = self.parameters.autograd(self._huber, batch, self.device)
            return found["loss"], found["value"]
        n = len(actions)
        rows = np.arange(n)
        q = self._values(self.online.forward(obs))
        chosen = q[rows, actions]
        error = chosen - targets
        slope = np.minimum(np.maximum(error, -1.0), 1.0)
        loss = np.dot(slope, error - 0.5 * slope) / n  # Huber: e²/2 within ±1, |e| − 1/2 beyond
        d_q = np.zeros_like(q)
        d_q[rows, actions] = slope / n
        if self.dueling:
            total = d_q.sum(axis=1, keepdims=True)
            d_q = np.concatenate([total, d_q - total / q.shape[1]], axis=1)
        self.online.backward(d_q)
        return float(loss), float(np.add.reduce(chosen) / n)

    def _huber(self, flat: torch.Tensor, batch: Tensors) -> tuple[torch.Tensor, Tensors]:
        """The same loss under torch's autograd."""
        from torch.nn.functional import smooth_l1_loss

        head = self.online.torch(flat, batch["obs"])
        q = head[:, :1] + head[:, 1:] - head[:, 1:].mean(dim=1, keepdim=True) if self.dueling else head
        chosen = q.gather(1, batch["actions"][:, None])[:, 0]
        loss = smooth_l1_loss(chosen, batch["targets"])
        return loss, {"loss": loss, "value": chosen.mean()}
