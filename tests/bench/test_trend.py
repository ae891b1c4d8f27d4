"""The line through samples, and what is called growth."""

import random

import pytest

from bench.trend import line, trend


def test_the_slope_is_that_of_least_squares_and_its_error_that_of_newey_and_west() -> None:
    slope, error = line([1, 2, 3, 4, 5], [2.1, 3.9, 6.2, 7.8, 10.1])
    assert slope == pytest.approx(1.99)
    # by hand: residuals 0.06 -0.13 0.18 -0.21 0.1, pulls -0.12 0.13 0 -0.21 0.2, reach 2
    squares = 0.12**2 + 0.13**2 + 0.21**2 + 0.2**2
    near = -0.12 * 0.13 - 0.21 * 0.2
    next_but_one = -0.13 * 0.21
    assert error == pytest.approx(((squares + 2 * (2 / 3 * near + 1 / 3 * next_but_one)) * 5 / 3) ** 0.5 / 10)


def test_a_drift_makes_the_error_larger_than_noise_of_the_same_size() -> None:
    noise = random.Random(3)
    steps = [noise.gauss(0, 1.0) for _ in range(80)]
    drift = [sum(steps[max(0, at - 8) : at + 1]) for at in range(80)]
    shuffled = noise.sample(drift, 80)
    (_, drifting), (_, still) = line(range(80), drift), line(range(80), shuffled)
    assert drifting is not None
    assert still is not None
    assert drifting > 1.4 * still


def test_fewer_than_three_points_tell_no_slope() -> None:
    assert line([1, 2], [1, 2]) == (None, None)
    assert line([3, 3, 3], [1, 2, 3]) == (None, None)
    assert trend([0, 10], [1, 2]).steady(1.0) is None


def test_what_grows_under_its_noise_is_seen_to_grow() -> None:
    noise = random.Random(7)
    runs = list(range(0, 1000, 10))
    still = [5e7 + noise.gauss(0, 3e5) for _ in runs]
    leak = [value + 4096 * run for run, value in zip(runs, still, strict=True)]
    assert trend(runs, still).steady(1024.0) is True
    assert trend(runs, leak).steady(1024.0) is False


def test_the_warm_up_is_left_out_and_first_and_last_are_not() -> None:
    runs = list(range(0, 101, 10))
    found = trend(runs, [0.0, 50.0, *[80.0] * 9])
    assert (found.first, found.last, found.slope, found.error) == (0.0, 80.0, 0.0, 0.0)


def test_what_shrinks_does_not_grow() -> None:
    assert trend([0, 10, 20, 30], [40.0, 30.0, 20.0, 10.0], warm_up=0.2).steady(0.001) is True


def test_growth_below_the_bound_is_steady_and_above_it_is_not() -> None:
    runs = list(range(0, 101, 10))
    assert trend(runs, [run * 1000.0 for run in runs]).steady(1024.0) is True
    assert trend(runs, [run * 1100.0 for run in runs]).steady(1024.0) is False


def test_a_pool_that_fills_late_is_no_leak_and_one_that_overflows_is() -> None:
    runs = list(range(0, 101, 10))
    assert trend(runs, [10.0] * 6 + [14.0] * 5, warm_up=0.2).steady(0.001, allowed=6) is True
    assert trend(runs, [10.0 + run / 10 for run in runs], warm_up=0.2).steady(0.001, allowed=6) is False
