"""What makes a measured model the same model: its architecture, config and weights, in one short hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

# Where a model came from, or which release wrote its files, does not change what it computes.
_VOLATILE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


@torch.no_grad()
def fingerprint(model: Any) -> str:
    """16 hex digits of the SHA-256 over class, config and every weight's name, dtype, shape and bytes."""
    config = {k: v for k, v in model.config.to_dict().items() if k not in _VOLATILE}
    digest = hashlib.sha256(type(model).__name__.encode())
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
