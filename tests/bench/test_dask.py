"""A suite and a measuring plan on a Dask cluster: the workers do the work, and the outcome is that of this process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mbrl_split.cli import main

distributed = pytest.importorskip("distributed")

SUITE = {
    "name": "small",
    "title": "On a cluster",
    "truth": "table",
    "scenarios": ["equalised"],
    "models": ["tiny-llama"],
    "seeds": 2,
    "budget": 40,
    "env_steps": 256,
    "contexts": 64,
    "algorithms": [
        {"algorithm": "best-fixed"},
        {
            "algorithm": "ppo-true",
            "agent": "ppo",
            "source": "oracle",
            "settings": {"agent": {"n_steps": 1, "batch_size": 8}},
        },
    ],
}
CELLS = ["--model", "tiny-llama", "--family", "quantise-token", "--splits", "9", "10", "--bits", "4", "8"]


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
        yield running


def test_the_workers_measure(cluster, tmp_path: Path) -> None:
    def measure(name: str, *more: str) -> pa.Table:
        place = ["--store", str(tmp_path / f"{name}.sqlite"), "--out", str(tmp_path / f"{name}.parquet")]
        main(["measure", *CELLS, "--tokens", "1024", *place, *more])
        return pq.read_table(tmp_path / f"{name}.parquet", columns=["split", "window", "nll"])

    there = measure("there", "--dask", cluster.scheduler_address)
    with distributed.Client(cluster) as client:
        loaded = client.run(lambda: "mbrl_split.llm.split_model" in sys.modules)
    assert any(loaded.values()), "no worker has loaded a language model"
    assert there.equals(measure("here"))


def test_the_workers_run_a_suite(cluster, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(SUITE))
    regrets = []
    for name, more in (("there", ["--dask", cluster.scheduler_address]), ("here", [])):
        main(["bench", "run", str(tmp_path / "suite.yaml"), "--out", str(tmp_path / name), *more])
        rows = json.loads((tmp_path / name / "summary.json").read_text())["rows"]
        regrets.append({row["algorithm"]: row["regret"] for row in rows})
    assert regrets[0] == regrets[1]
    assert set(regrets[0]) == {"best-fixed", "ppo-true"}


def test_a_scheduler_that_is_not_there_is_named(capsys, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["measure", *CELLS, "--store", str(tmp_path / "x.sqlite"), "--dask", "tcp://127.0.0.1:9"])
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
