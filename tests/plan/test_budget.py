from __future__ import annotations

import pytest
from pydantic import ValidationError

from kohya_runner.findings import Severity
from kohya_runner.plan.cost import Speed, TimePlan, budget_findings
from kohya_runner.recipe.finish import Budget

PLACES = {"max_cost": "r.yaml:9:3", "max_hours": "r.yaml:10:3"}
TWO_HOURS = TimePlan(7140, Speed(1.0, 60.0, "lads/001"), 0.5)


def _found(time: TimePlan = TWO_HOURS, *, per_epoch: int = 714, **limits: float):
    return tuple(budget_findings(Budget(**limits), time, steps_per_epoch=per_epoch, places=PLACES))


def test_no_limits_no_findings():
    assert _found(price_per_hour=0.5) == ()


@pytest.mark.parametrize("limits", [{"price_per_hour": 0.5, "max_cost": 1.0}, {"max_hours": 2}])
def test_a_run_that_just_keeps_to_the_budget_is_no_finding(limits):
    assert _found(**limits) == ()


def test_a_run_that_costs_more_is_an_error_with_the_epochs_that_fit():
    (finding,) = _found(price_per_hour=0.5, max_cost=0.5)
    assert (finding.severity, finding.code, finding.where) == (Severity.ERROR, "budget.cost", "r.yaml:9:3")
    assert finding.hint.startswith("write args.max_train_epochs: 4 ")
    assert "costs about 1.00" in finding.message


def test_a_run_that_takes_longer_is_an_error_with_the_epochs_that_fit():
    (finding,) = _found(max_hours=1)
    assert (finding.code, finding.where) == ("budget.hours", "r.yaml:10:3")
    assert finding.hint.startswith("write args.max_train_epochs: 4 ")


def test_where_not_even_one_epoch_fits_the_limit_must_be_raised():
    (finding,) = _found(max_hours=0.01)
    assert finding.hint == "raise budget.max_hours"


def test_both_limits_are_told():
    assert [f.code for f in _found(price_per_hour=0.5, max_cost=0.1, max_hours=0.1)] == ["budget.cost", "budget.hours"]


def test_without_a_measured_speed_nothing_is_refused():
    (finding,) = _found(TimePlan(7140, None, 0.5), price_per_hour=0.5, max_cost=0.01)
    assert (finding.severity, finding.code) == (Severity.INFO, "budget.unmeasured")


def test_a_limit_of_money_needs_a_price():
    codes = [(f.severity, f.code) for f in _found(TimePlan(7140, TWO_HOURS.speed), max_cost=5)]
    assert codes == [(Severity.ERROR, "budget.price")]


def test_a_price_of_nothing_costs_nothing():
    free = TimePlan(7140, TWO_HOURS.speed, 0.0)
    assert _found(free, price_per_hour=0, max_cost=0.01) == ()


@pytest.mark.parametrize("wrong", [{"max_cost": -1}, {"max_hours": 0}, {"price_per_hour": "cheap"}, {"max_price": 1}])
def test_a_budget_that_says_nothing_sensible_is_refused(wrong):
    with pytest.raises(ValidationError):
        Budget(**wrong)
