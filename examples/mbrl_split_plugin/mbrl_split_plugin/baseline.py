"""A baseline: the split that is best in the middle of all contexts, for every context."""

import numpy as np

from mbrl_split.bench import CurvePoint, Method


class Middle(Method):
    """Called with the row's `settings: {baseline: {...}}`; it takes none."""

    def learn(self, task):
        middle = np.array([[float(column.from_unit(0.5)) for column in task.scenario.context]])
        damage = task.measure_splits(middle, task.rng(1))
        best = int(task.splits[task.reward(damage, task.splits[None])[0].argmax()])
        yield CurvePoint(lambda context, split, step: np.full(len(context), best))
