"""A surrogate: a bag of extremely randomised trees."""

from mbrl_split.surrogates import SklearnSurrogate


def trees(*, seed=0, n_estimators=20, **settings):
    """Called as `trees(seed=..., **settings)`, with the row's `settings: {source: {...}}`."""
    forest = {"name": "ExtraTreesRegressor", "parameters": {"n_estimators": n_estimators, "min_samples_leaf": 2}}
    return SklearnSurrogate(forest, members=5, seed=seed, **settings)
