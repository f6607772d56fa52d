"""A baseline: the split that is best in the middle of all contexts, for every context."""

import numpy as np

from mbrl_split.bench import CurvePoint, Method


class Middle(Method):
    """Called with the row's `settings: {baseline: {...}}`; it takes none."""

    def learn(self, task):
        middle = np.array([[float(column.from_unit(0.5)) for column in task.context_columns]])
        damage = task.measure_actions(middle, task.rng(1))
        best = int(task.actions[task.rewards(damage, middle)[0].argmax()])
        yield CurvePoint(task.problem.rule(lambda context: np.full(len(context), best)))
