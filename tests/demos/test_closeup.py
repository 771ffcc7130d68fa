from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demos.closeup import CUTTING, windows
from demos.scenes.stages import closeups
from padecast.zoo.scenes.appearance import SIZE

places = st.floats(0, SIZE, width=32)


@given(st.lists(st.tuples(places, places), min_size=1, max_size=8), st.sampled_from([4, 8, 16]), st.integers(0, 99))
def test_close_ups_hold_their_centre_and_stand_on_the_lattice(
    centres: list[tuple[float, float]], lattice: int, seed: int
) -> None:
    cut = windows(torch.tensor(centres), lattice, torch.Generator().manual_seed(seed))
    assert len(cut) == len(centres)
    for (x, y), (rows, columns) in zip(centres, cut, strict=True):
        for place, window in ((x, columns), (y, rows)):
            assert window.start % lattice == 0 and window.start >= 0 and window.stop == window.start + CUTTING <= SIZE
            assert window.start - lattice / 2 <= place <= window.stop + lattice / 2


def test_places_differ_by_seed() -> None:
    centre = torch.full((8, 2), SIZE / 2)
    one, again, other = (windows(centre, 4, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert one == again != other and len({rows.start for rows, _ in one}) > 1


@pytest.mark.parametrize("count", [1, 3])
def test_close_ups_of_scenes_are_cut_from_them(count: int) -> None:
    pixels = closeups(count, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert pixels.shape == (count, 3, CUTTING, CUTTING)
    assert pixels.abs().max() <= 1 and (pixels.flatten(1).std(1) > 0).all()
