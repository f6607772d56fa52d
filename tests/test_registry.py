"""Every registered name leads somewhere, and an unknown one to a hint."""

import pytest

from mbrl_split import InvalidInputError, registry


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in registry.KINDS for n in k])
def test_every_name_leads_to_something_to_call(kind: registry.Registry, name: str) -> None:
    assert callable(kind[name])


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match=r"unknown surrogate 'ensmble'; did you mean 'ensemble'"):
        registry.SURROGATES["ensmble"]
