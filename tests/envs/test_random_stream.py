"""The counter-based generator: known answers, distributions, independence of neighbours."""

import numpy as np
import pytest
from scipy import stats

from mbrl_split.envs.random_stream import RandomStream, philox, spread_seeds, stream_keys
from mbrl_split.errors import InvalidInputError

# Known answers of Philox-4x32-10, published with the authors' reference implementation (Random123, kat_vectors).
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(values):
    return tuple(np.array([v], dtype=np.uint64) for v in values)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, answer):
    assert tuple(int(w[0]) for w in philox(words(counter), words(key))) == answer


def keys_of(seeds):
    return np.stack([stream_keys(s, 3)[0] for s in seeds])


def test_a_rows_numbers_do_not_depend_on_its_neighbours():
    keys, episode, step = keys_of(range(5)), np.array([0, 7, 1, 2, 3]), np.array([4, 0, 0, 9, 1])
    together = RandomStream(keys, episode, step)
    alone = RandomStream(keys[3:4], episode[3:4], step[3:4])
    for _ in range(2):  # consecutive calls too
        assert np.array_equal(together.uniform(3)[3:4], alone.uniform(3))
        assert np.array_equal(together.normal(2)[3:4], alone.normal(2))
        assert np.array_equal(together.seeds()[3:4], alone.seeds())


def test_rows_moments_and_calls_differ():
    keys = keys_of([0, 1])
    seen = [RandomStream(keys, [e, e], [s, s]).uniform(4) for e in range(3) for s in range(3)]
    draws = RandomStream(keys, [0, 0], [0, 0])
    seen += [draws.uniform(4), draws.uniform(4)][1:]
    numbers = np.concatenate([x.ravel() for x in seen])
    assert len(np.unique(numbers)) == numbers.size
    consumers = stream_keys(0, 3)
    assert len({tuple(k) for k in consumers}) == 3


def test_distributions():
    n = 20_000
    draws = RandomStream(np.repeat(stream_keys(11, 1), n, axis=0), np.zeros(n, int), np.arange(n))
    u = draws.uniform(3)
    assert u.shape == (n, 3)
    assert u.min() >= 0
    assert u.max() < 1
    for j in range(3):
        assert stats.kstest(u[:, j], "uniform").pvalue > 1e-4
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.03
    assert stats.kstest(draws.normal(1)[:, 0], "norm").pvalue > 1e-4
    counts = np.bincount(draws.integers(2, 7, 1)[:, 0], minlength=8)
    assert counts[:2].sum() == 0
    assert counts[7] == 0
    assert stats.chisquare(counts[2:7]).pvalue > 1e-4
    seeds = draws.seeds()
    assert seeds.dtype == np.int64
    assert (seeds >= 0).all()
    assert len(np.unique(seeds)) == n


def test_normal_is_finite_at_the_ends_of_the_grid():
    class Ends(RandomStream):
        def uniform(self, size):
            return np.array([[0.0, 1 - 2.0**-53]])

    z = Ends(stream_keys(0, 1), [0], [0]).normal(2)
    assert np.isfinite(z).all()
    assert z[0, 0] < -8
    assert z[0, 1] > 8


def test_seeds_follow_gymnasiums_rule():
    assert spread_seeds(5, 3) == [5, 6, 7]
    assert spread_seeds(np.int64(5), 1) == [5]
    assert spread_seeds([4, None], 2) == [4, None]
    assert spread_seeds(None, 2) == [None, None]
    with pytest.raises(InvalidInputError, match="2 seeds for 3 sub-environments"):
        spread_seeds([1, 2], 3)
    with pytest.raises(InvalidInputError, match="non-negative integers, not -1"):
        spread_seeds(-1, 1)
