from __future__ import annotations

import math
from itertools import pairwise

import pytest

from kohya_runner.show.charts import ChartCurve, Marks, Window, braille, chart, smoothed, thinned, ticks


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    points = [(float(n), float(n)) for n in range(1, 101)]
    drawn = braille(points, Window(1, 100, 1, 100), 10, 5)
    assert [len(line) for line in drawn] == [10] * 5
    assert drawn[0].strip() == drawn[0][-2:]
    assert drawn[-1].strip() == drawn[-1][:2]


def test_what_is_no_number_is_a_gap():
    points = [(1.0, 1.0), (2.0, math.nan), (3.0, 1.0)]
    assert braille(points, Window(1, 3, 0, 2), 9, 1)[0][3:6] == "   "


@pytest.mark.parametrize("most", [1, 3, 100])
def test_thinning_keeps_the_mean_and_the_number_of_points(most):
    points = [(float(n), float(n % 7)) for n in range(10_000)]
    found = thinned(points, most)
    assert len(found) == most
    assert sum(y for _, y in found) / most == pytest.approx(3.0, abs=0.1)


def test_a_smoothed_line_begins_where_its_points_begin():
    found = smoothed([(1.0, 5.0), (2.0, 5.0), (3.0, math.nan), (4.0, 2.0)])
    assert [y for _, y in found[:2]] == [pytest.approx(5.0), pytest.approx(5.0)]
    assert math.isnan(found[2][1])
    assert found[3][1] == pytest.approx(2.0)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1e-9, 3e-9), (-5.0, 12_000.0), (0.1, 0.1000001)])
def test_ticks_are_few_and_inside(low, high):
    found = ticks(low, high)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in found)


def test_a_chart_of_one_point_of_nothing_and_of_no_number():
    assert chart([ChartCurve("a", ())], Marks(), 400, 200) is None
    assert chart([ChartCurve("a", ((1.0, math.nan),))], Marks(), 400, 200) is None
    one = chart([ChartCurve("a", ((1.0, 0.5),))], Marks(), 400, 200)
    assert one.lines[0].path.endswith("h1")


def test_a_loss_that_becomes_nan_is_a_mark_and_a_gap():
    points = tuple((float(n), math.nan if n > 5 else 0.1) for n in range(1, 10))
    drawn = chart([ChartCurve("a", points)], Marks(total=10), 400, 200)
    assert len(drawn.broken) == 4
    assert drawn.lines[0].path.count("M") == 1


def test_many_epochs_do_not_fill_the_picture_with_lines():
    marks = Marks(epochs=[(n * 10, n) for n in range(1, 1001)])
    drawn = chart([ChartCurve("a", tuple((float(n), 1.0 + n) for n in range(1, 10_000)))], marks, 400, 200)
    assert len(drawn.epochs) <= 60
    labels = [(x, text) for x, text in drawn.epochs if text]
    assert all(after - x > 8 * len(text) for (x, text), (after, _) in pairwise(labels))
