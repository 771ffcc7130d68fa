"""Lessons: read at their own grid they give their own matrix, at others that of the process; they add up."""

from __future__ import annotations

import numpy as np
import pytest

from padecast import InvalidOption
from padecast.lessons import Identity, Lesson
from padecast.lessons.analytic import make_features, make_look, make_noise
from padecast.lessons.interpolation import place, share_covered, spline_weights
from padecast.lessons.lesson import LOOKS
from padecast.lessons.look import SINGLES, Look, root_of

WHO = Identity("DiT")


def lesson_of(*looks: Look) -> Lesson:
    lesson = Lesson(WHO)
    for look in looks:
        lesson = lesson.add(look)
    return lesson


def test_read_at_its_own_levels_it_gives_its_own_matrix() -> None:
    look = make_look(20)
    np.testing.assert_allclose(lesson_of(look).at(look.levels), look.mean(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(lesson_of(look).singles(look.levels), look.singles, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("before", "after"), [((20, 1.0), (50, 1.0)), ((50, 1.0), (20, 1.0)), ((20, 1.0), (20, 2.0))])
def test_read_at_other_levels_it_gives_the_matrix_of_the_process(
    before: tuple[int, float], after: tuple[int, float]
) -> None:
    look, target = make_look(*before), make_look(*after)
    matrix = lesson_of(look).at(target.levels)
    assert np.abs(matrix - target.mean()).max() < 0.06 * np.abs(target.mean()).max()


def test_what_is_interpolated_has_no_negative_eigenvalue() -> None:
    matrix = lesson_of(make_look(20)).at(make_noise(50).levels[:-1])
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * np.linalg.eigvalsh(matrix).max()


def test_interpolating_the_matrix_is_interpolating_the_features() -> None:
    few, many = make_noise(10), make_noise(25)
    weights = spline_weights(place(few.levels[:-1]), place(many.levels[:-1]))
    rows = make_features(few)
    np.testing.assert_allclose(weights @ (rows @ rows.T) @ weights.T, (weights @ rows) @ (weights @ rows).T)


def test_splines_are_those_of_scipy() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    nodes, values = np.array([0.0, 0.4, 1.0, 2.5, 3.0]), np.array([1.0, -1.0, 2.0, 0.5, 0.0])
    at = np.linspace(0, 3, 31)
    expected = interpolate.CubicSpline(nodes, values, bc_type="natural")(at)
    np.testing.assert_allclose(spline_weights(nodes, at) @ values, expected, atol=1e-12)


def test_beyond_its_ends_a_spline_is_a_straight_line() -> None:
    weights = spline_weights([0.0, 1.0, 3.0], [-2.0, -1.0, 0.0, 3.0, 4.0, 5.0])
    np.testing.assert_allclose(weights[0] - weights[1], weights[1] - weights[2])
    np.testing.assert_allclose(weights[5] - weights[4], weights[4] - weights[3])
    np.testing.assert_allclose(weights.sum(1), 1.0)


def test_nodes_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        spline_weights([0.0, 0.0, 1.0], [0.5])


def test_a_lesson_says_what_it_did_not_see() -> None:
    late = make_noise(20).levels[10:-1]
    lesson = lesson_of(make_look(20))
    assert lesson.covers(late) and lesson.share(late) == 1.0
    assert not Lesson(WHO).covers(late)
    assert share_covered(late, make_noise(20).levels[:-1]) < 1.0
    with pytest.raises(InvalidOption, match="of which the lesson saw"):
        Lesson(WHO).at(late)


def test_one_look_that_covers_all_is_wanted_not_two_that_do_together() -> None:
    few, many = make_look(20, size=25.0), make_look(400, size=25.0)
    levels = [step / 10 for step in range(10, -1, -1)]
    assert not lesson_of(few).covers(levels)
    assert lesson_of(few, many).covers(levels)


def test_a_short_part_of_a_grid_is_covered_and_a_coarse_grid_is_not() -> None:
    lesson, noise = lesson_of(make_look(20)), make_noise(20)
    for begin in (0, 8, 14, 17):
        assert lesson.covers(noise.part(begin, 20).levels[:-1])
    assert not lesson.covers(make_noise(8).levels[:-1]) and lesson.covers(make_noise(12).levels[:-1])


def test_looks_at_one_grid_add_up_in_any_order() -> None:
    first, second, third = (make_look(12, seed=seed) for seed in (0, 10, 20))
    left, right = (first + second) + third, first + (second + third)
    assert left.samples == right.samples == 6 and left.runs == right.runs == 3
    np.testing.assert_allclose(left.mean(), right.mean())
    np.testing.assert_array_equal(left.singles, right.singles)
    joined = lesson_of(first, second) + lesson_of(third)
    assert joined.samples == 6 and joined.runs == 3 and len(joined.looks) == 1


def test_few_matrices_of_single_samples_are_remembered() -> None:
    look = make_look(6, samples=5)
    assert (look + look).singles.shape == (SINGLES, 6, 6) and (look + look).samples == 10


def test_looks_at_other_grids_stand_side_by_side_and_are_few() -> None:
    lesson = lesson_of(*(make_look(steps) for steps in range(8, 8 + LOOKS + 3)))
    assert len(lesson.looks) == LOOKS
    assert lesson.looks[-1].steps == 8 + LOOKS + 2
    assert not make_look(8).is_like(make_look(8, shift=2.0))


def test_several_looks_are_read_together_by_their_samples() -> None:
    few, many = make_look(40, samples=1), make_look(41, samples=4)
    levels = make_noise(20).levels[:-1]
    both = lesson_of(few, many).at(levels)
    expected = (lesson_of(few).at(levels) + 4 * lesson_of(many).at(levels)) / 5
    np.testing.assert_allclose(both, expected)


def test_lessons_of_two_models_do_not_add_up() -> None:
    with pytest.raises(InvalidOption, match="cannot be taken together"):
        Lesson(WHO) + Lesson(Identity("DiT", guidance=3.0))


def test_a_look_of_wrong_shapes_is_refused() -> None:
    look = make_look(6)
    with pytest.raises(ValueError, match="shapes"):
        Look(look.noise, look.timesteps[:-1], look.grams, look.singles, 2, 1)
    with pytest.raises(ValueError, match="do not add up"):
        look + make_look(7)


def test_a_root_keeps_small_differences_in_single_precision() -> None:
    rows = np.random.default_rng(0).normal(size=(1, 64)) + 1e-4 * np.random.default_rng(1).normal(size=(3, 64))
    gram, root = rows @ rows.T, root_of(rows @ rows.T).astype(np.float32).astype(np.float64)
    bend = np.array([1.0, -2.0, 1.0])
    assert bend @ (root.T @ root) @ bend == pytest.approx(bend @ gram @ bend, rel=1e-2)


def test_single_samples_of_many_runs_are_a_fair_choice_in_any_order() -> None:
    """Of 24 runs of a sample, every one is remembered in about 8 of 24 orders; so it is where halves are merged."""
    runs, orders, counts = 24, 120, np.zeros((2, 24))
    noise = make_look(2).noise
    marks = [np.full((1, 2, 2), float(number)) for number in range(runs)]
    looks = [Look(noise, (1000.0, 500.0), {"guided": mark[0]}, mark, 1, 1) for mark in marks]
    generator = np.random.default_rng(0)
    for _ in range(orders):
        order = [looks[place] for place in generator.permutation(runs)]
        one_by_one = sum(order[1:], order[0])
        halves = sum(order[1:8], order[0]) + sum(order[9:], order[8])
        for way, look in enumerate((one_by_one, halves)):
            assert look.singles.shape == (8, 2, 2) and look.samples == runs
            counts[way, look.singles[:, 0, 0].astype(int)] += 1
    assert (counts > 0.5 * orders / 3).all() and (counts < 1.5 * orders / 3).all()
    latest = sum(looks[1:], looks[0]).singles[:, 0, 0]
    assert max(latest) >= 8, "not the first alone"
    np.testing.assert_array_equal(latest, sum(looks[1:], looks[0]).singles[:, 0, 0])


def test_places_in_the_order_of_runs_are_remembered_alike() -> None:
    """Which places survive depends on counts alone: over reservoirs of many lengths no place is favoured."""
    noise = make_look(2).noise
    early, late = 0, 0
    for runs in range(16, 64):
        marks = [np.full((1, 2, 2), float(number)) for number in range(runs)]
        looks = [Look(noise, (1000.0, 500.0), {"guided": mark[0]}, mark, 1, 1) for mark in marks]
        numbers = sum(looks[1:], looks[0]).singles[:, 0, 0]
        early += int((numbers < runs // 2).sum())
        late += int((numbers >= (runs + 1) // 2).sum())
    assert 0.6 < early / late < 1.7
