import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_search import constants
from model_search.search.history.history import History
from model_search.search.planning.budget import Budget
from model_search.search.planning.planner import Planner, PlannerSettings
from model_search.spec.load import load_spec


@pytest.mark.parametrize(
    ("rows", "columns", "least", "most"),
    [(700, 60, 64, 64), (4000, 10, 64, 64), (14_000, 12, 24, 32), (36_000, 6, 14, 18), (40_000, 100, 6, 8)],
)
def test_epochs_fall_with_the_rows_and_for_large_tables_with_the_columns(rows, columns, least, most):
    assert least <= Budget(rows, columns).epochs <= most


@given(st.integers(1, 10**7), st.integers(1, 10**5), st.sampled_from([None, 1, 32, 5000]))
def test_every_table_has_a_budget(rows, columns, batch_size):
    budget = Budget(rows, columns, batch_size)
    assert budget.epochs in budget.choices_of_epochs
    assert min(budget.choices_of_epochs) >= 1
    assert budget.usual_steps >= 100
    more = Budget(rows + 1, columns, batch_size)
    assert more.epochs <= budget.epochs
    assert budget.steps(2 * budget.epochs, budget.usual_batch_size) >= budget.usual_steps


def planner(budget):
    settings = PlannerSettings(
        seed=1, train_steps=budget.usual_steps, batch_size=budget.usual_batch_size, rows=budget.rows, budget=budget
    )
    return Planner(load_spec(constants.DEFAULT_TABULAR), settings, "loss", "minimize")


def first_plans(budget, count):
    made = planner(budget)
    return [made.plan(number, History(made._ranking)) for number in range(1, count + 1)]


def test_trials_choose_epochs_and_batch_size_and_starting_points_the_usual_ones():
    budget = Budget(3000, 8)
    plans = [plan for plan in first_plans(budget, 30) if plan.architecture]
    for plan in plans:
        epochs, batch_size = plan.hyperparameters["epochs"], plan.hyperparameters["batch_size"]
        assert (plan.batch_size, plan.steps) == (batch_size, budget.steps(epochs, batch_size))
    assert plans[0].hyperparameters["epochs"] == budget.epochs == 64
    assert plans[0].batch_size == 256
    assert {plan.hyperparameters["epochs"] for plan in plans} == {32, 64, 128}
    assert {plan.batch_size for plan in plans} == {128, 256, 512}


def test_a_given_batch_size_is_not_searched():
    plans = [plan for plan in first_plans(Budget(3000, 8, 50), 12) if plan.architecture]
    assert {plan.batch_size for plan in plans} == {50}
    assert not any("batch_size" in plan.hyperparameters for plan in plans)


@pytest.mark.parametrize("rows", [300, 2000, 15_000, 60_000, None])
def test_starting_points_are_those_for_the_size_of_the_table(rows):
    settings = PlannerSettings(seed=1, train_steps=1000, batch_size=32, rows=rows)
    made = Planner(load_spec(constants.DEFAULT_TABULAR), settings, "loss", "minimize")
    plan = made.plan(1, History(made._ranking))
    small = ("PLE_16", "MLP_64")
    wide = {2000: ("PLE_32", *["MLP_128"] * 3), 15_000: ("PLE_48", *["MLP_256"] * 3)}
    assert plan.architecture == {300: small, **wide, 60_000: wide[15_000], None: small}[rows]
    assert (plan.steps, plan.batch_size) == (1000, 32)
    assert "epochs" not in plan.hyperparameters
