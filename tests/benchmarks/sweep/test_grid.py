import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._sweep.grid import Grid, check_seeds, group_by, parse_shard

GRID = Grid({"width": (1, 2), "rate": (0.1, 0.2, 0.3)}, (5, 6))


def test_members_are_settings_times_seeds_in_a_fixed_order():
    assert GRID.members == 12
    assert GRID.settings[:4] == [
        {"width": 1, "rate": 0.1},
        {"width": 1, "rate": 0.2},
        {"width": 1, "rate": 0.3},
        {"width": 2, "rate": 0.1},
    ]


def test_groups_share_their_static_values():
    groups = group_by(GRID, np.arange(12), ["width"])
    assert [(values, members.tolist()) for values, members in groups] == [
        ({"width": 1}, [0, 1, 2, 3, 4, 5]),
        ({"width": 2}, [6, 7, 8, 9, 10, 11]),
    ]
    assert [members.tolist() for _, members in group_by(GRID, np.arange(4, 8), [])] == [[4, 5, 6, 7]]


@given(st.integers(1, 40))
def test_shards_are_disjoint_complete_and_even(parts):
    shards = [GRID.shard((number, parts)) for number in range(1, parts + 1)]
    np.testing.assert_array_equal(np.concatenate(shards), np.arange(12))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_shard_is_read_and_checked():
    assert parse_shard("3/16") == (3, 16)
    for text, message in (
        ("0/16", "does not exist: parts run from 1/16 to 16/16"),
        ("17/16", "17/16 does not exist"),
        ("3", "not of the form 3/16"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_shard(text)


def test_seeds_are_checked():
    assert check_seeds(3, 7) == (7, 8, 9)
    for seeds, first in ((0, 0), (1, -1), (2, 2**31 - 1), (1.5, 0), (None, 0), (1, "2")):
        with pytest.raises(ValueError, match="seed"):
            check_seeds(seeds, first)
