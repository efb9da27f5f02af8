"""Exercises of other forms than chapter 02's, which later chapters need."""

import inspect
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from course_utils.checks.exercise import Case, Exercise, Misconception, Statistic
from course_utils.checks.verdict import judge


def exercise(**fields):
    return Exercise(
        id="99.1",
        title="A test",
        difficulty=1,
        minutes=5,
        hints=("think",),
        success="Well.",
        **fields,
    )


FIRST_BELOW = exercise(
    reference=lambda values: int((values < 1).nonzero()[0]),
    returns=("t",),
    cases=lambda: (Case("a falling ratio", (torch.tensor([9.0, 3.0, 0.9, 0.1]),)),),
    misconceptions=(
        Misconception(
            "t counts from 1",
            "It counts from 0.",
            lambda values: int((values < 1).nonzero()[0]) + 1,
        ),
    ),
)


@pytest.mark.parametrize(
    "answer",
    [
        2,
        2.0,
        np.int64(2),
        torch.tensor(2),
        np.float32(2),
        [2],
        np.array([2]),
        torch.full((1, 1), 2),
    ],
    ids=repr,
)
def test_a_number_may_come_in_any_form(answer):
    assert judge(FIRST_BELOW, lambda values: answer).passed


@pytest.mark.parametrize("answer", [3, torch.tensor([[[3.0]]])])
def test_a_wrong_number_is_shown_beside_the_right_one(answer):
    verdict = judge(FIRST_BELOW, lambda values: answer)
    assert "Seen: t is 3; expected 2." in verdict.text
    assert verdict.misconception == "t counts from 1"


def test_several_numbers_are_not_one_number():
    said = judge(FIRST_BELOW, lambda values: torch.tensor([2, 2])).text
    assert "Seen: t has shape [2]; expected one number." in said


LENGTHS = exercise(
    reference=lambda x: x.norm(dim=-1),
    returns=("length",),
    cases=lambda: tuple(Case(f"{n} points", (torch.ones(n, 2),)) for n in (1, 0, 2)),
    misconceptions=(),
)


def test_where_a_line_of_numbers_is_wanted_one_number_is_not_enough():
    assert "has shape []; expected [1]" in judge(LENGTHS, lambda x: float(x[0].norm())).text


def test_a_loop_that_finds_nothing_to_do_returns_an_empty_line():
    assert judge(LENGTHS, lambda x: [float(point.norm()) for point in x]).passed
    assert "has shape [0]; expected [1]" in judge(LENGTHS, lambda x: []).text


def test_a_range_is_a_line_of_numbers():
    counted = exercise(
        reference=lambda n: [*range(n)],
        returns=("ts",),
        cases=lambda: (Case("n = 3", (3,)), Case("n = 0", (0,))),
        misconceptions=(),
    )
    assert judge(counted, range).outcome == "failed"  # the class, not a function
    assert judge(counted, lambda n: range(n)).passed
    assert "has shape [2]; expected [3]" in judge(counted, lambda n: range(n - 1)).text


def test_a_list_of_numbers_in_another_order_has_been_changed():
    def sorts(ts):
        ts.sort()
        return ts[0]

    smallest = exercise(
        reference=lambda ts: min(ts),
        returns=("t",),
        cases=lambda: (Case("ts = [9, 6, 5]", ([9, 6, 5],)),),
        misconceptions=(),
    )
    assert judge(smallest, lambda ts: sorted(ts)[0]).passed
    assert "Your function changed its input ts in place" in judge(smallest, sorts).text


def seen(answer, right, **more):
    """What a check says about an array where it expects another."""
    known = exercise(
        reference=lambda: right,
        returns=("a",),
        cases=lambda: (Case("nothing", ()),),
        misconceptions=(),
        **more,
    )
    text = " ".join(judge(known, lambda: answer).text.split())
    return text.partition("Seen: ")[2].partition(" Stuck?")[0]


def test_of_a_matrix_the_worst_entry_and_the_bad_rows_are_shown():
    right = np.arange(6.0).reshape(3, 2)
    said = "a[2,0] is 6; expected 4. Off in 2 of 6 numbers: in rows [2], right in the others."
    assert seen([[0, 1], [2, 3], [6, 4]], right).startswith(said)
    assert seen(3 + 2 * right, right) == "a[2,1] is 13; expected 5. Off in 6 of 6 numbers."


def test_of_higher_arrays_the_first_axis_is_called_what_it_counts():
    right = np.zeros((3, 2, 2))
    wrong = right.copy()
    wrong[1] = 1
    assert "Off in 4 of 12 numbers: in samples [1], right in the others." in seen(wrong, right)
    assert "in places [1], right in the others." in seen(wrong, right, entries="places")


def test_of_many_numbers_the_scatter_is_told_where_it_is_another():
    right = np.array([-1.0, 1.0] * 48).reshape(2, 3, 4, 4)
    said = "a[0,0,0,0] is -3; expected -1. Off in 96 of 96 numbers. The numbers in a scatter by 3, expected 1."
    assert seen(3 * right, right) == said
    assert seen(-right, right) == "a[0,0,0,0] is 1; expected -1. Off in 96 of 96 numbers."


@pytest.mark.parametrize(("size", "shown"), [(50, 3), (51, 9)])
def test_of_a_long_line_the_worst_number_is_shown_and_of_a_short_one_the_first(size, shown):
    right = np.zeros(size)
    answer = right.copy()
    answer[3], answer[9] = 0.25, -4
    assert seen(answer, right).startswith(
        f"a[{shown}] is {answer[shown]:g}; expected 0. Off in 2 of"
    )


PAIR = exercise(
    reference=lambda x: (x.mean(), x.var()),
    returns=("mean", "variance"),
    cases=lambda: (Case("four numbers", (torch.tensor([1.0, 2.0, 4.0, 8.0]),)),),
    misconceptions=(
        Misconception("the deviation is returned", "Square it.", lambda x: (x.mean(), x.std())),
    ),
)


def test_several_returned_things_are_compared_by_name():
    assert judge(PAIR, lambda x: [x.mean().item(), np.var(x.numpy(), ddof=1)]).passed
    verdict = judge(PAIR, lambda x: (x.mean(), x.var().sqrt()))
    assert "Seen: variance is 3.0957; expected 9.58333." in verdict.text
    assert verdict.misconception == "the deviation is returned"
    assert "return 2 things: mean and variance" in judge(PAIR, lambda x: x.mean()).text


@pytest.mark.parametrize(("stack", "kind"), [(torch.stack, "tensor"), (np.stack, "array")])
def test_things_that_were_stacked_should_come_one_by_one(stack, kind):
    said = " ".join(judge(PAIR, lambda x: stack((x.mean(), x.var()))).text.split())
    assert (
        f"It returned one {kind} of shape [2]; return them separately: return mean, variance."
        in said
    )


def test_huge_numbers_are_alike_whatever_their_size():
    inverse = exercise(
        reference=lambda a: a,
        returns=("inverse",),
        cases=lambda: (Case("two numbers", (torch.tensor([1e-33, 1.0]),)),),
        misconceptions=(Misconception("it is divided", "Multiply.", lambda a: 1 / a),),
    )
    assert judge(inverse, lambda a: [1e13, 1.0]).misconception == "it is divided"
    assert judge(inverse, lambda a: [-1e13, 1.0]).misconception is None


def test_a_case_of_two_calls_keeps_the_generator_between_them():
    seeds = exercise(
        reference=lambda generator: torch.randint(10**9, (), generator=generator),
        returns=("number",),
        cases=lambda: (Case("two draws", (torch.Generator().manual_seed(0),), calls=2),),
        misconceptions=(),
    )
    draw = torch.Generator().manual_seed(0)
    draws = [int(torch.randint(10**9, (), generator=draw)) for _ in range(2)]
    assert judge(seeds, lambda generator: draws[1]).passed
    assert not judge(seeds, lambda generator: draws[0]).passed


def test_a_function_that_does_not_tell_its_parameters_is_simply_called():
    size = exercise(
        reference=lambda x: x.abs(),
        returns=("size",),
        cases=lambda: (Case("two numbers", (torch.tensor([-1.0, 2.0]),)),),
        misconceptions=(),
    )
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(torch.abs)
    assert judge(size, torch.abs).passed
    assert "size[0] is -1; expected 1" in judge(size, torch.ceil).text


def test_infinity_is_right_where_it_is_expected():
    ratio = exercise(
        reference=lambda a: a / (1 - a),
        returns=("snr",),
        cases=lambda: (Case("a share of one", (torch.tensor([1.0, 0.5, 0.0]),)),),
        misconceptions=(),
    )
    assert judge(ratio, lambda a: [float("inf"), 1, 0]).passed
    assert "snr[1] is 2; expected 1" in judge(ratio, lambda a: [float("inf"), 2, 0]).text
    assert "snr[0] is 7; expected inf" in judge(ratio, lambda a: [7, 1, 0]).text


def test_a_measured_exercise_says_which_statistic_is_off():
    coin = exercise(
        reference=lambda n, g: torch.bernoulli(torch.full((n,), 0.5), generator=g),
        returns=("tosses",),
        cases=lambda: (Case("10,000 tosses", (10_000, torch.Generator().manual_seed(0))),),
        misconceptions=(
            Misconception("the coin is weighted", "It is fair.", lambda n, g: torch.ones(n)),
        ),
        measure=lambda answers: (Statistic("the share of heads", answers[0][0].mean(), 0.5, 0.03),),
    )
    assert judge(coin, lambda n, g: np.random.default_rng(0).integers(0, 2, n)).passed
    verdict = judge(coin, lambda n, g: torch.ones(n))
    assert verdict.misconception == "the coin is weighted"
    assert "the share of heads: 1; expected: 0.5" in verdict.text
    assert "NaN" in judge(coin, lambda n, g: torch.full((n,), torch.nan)).text


def test_a_statistic_of_nearly_zero_is_shown_as_zero():
    nearly = exercise(
        reference=lambda: 1.0,
        returns=("number",),
        cases=lambda: (Case("no input", ()),),
        misconceptions=(),
        measure=lambda answers: (Statistic("its size", answers[0][0].item(), 1.0, 0.1),),
    )
    assert "its size: 0; expected: 1." in judge(nearly, lambda: -1e-17).text


@pytest.mark.parametrize("given", ["eps", "noise", "noises"])
def test_noise_of_one_s_own_is_noticed_whatever_the_given_noise_is_called(given):
    references = {
        "eps": lambda x, eps: x + eps,
        "noise": lambda eps, noise: eps + noise,  # where both are there, eps is the model's
        "noises": lambda x, noises: x + noises,
    }
    sums = exercise(
        reference=references[given],
        returns=("sum",),
        cases=lambda: (Case("two numbers each", (torch.zeros(2), torch.ones(2))),),
        misconceptions=(),
    )
    said = judge(sums, lambda x, noise: x + torch.randn(2)).text
    assert f"Here the noise is given: use {given}." in said


@dataclass(frozen=True)
class Line:
    """A model: a callable record with numbers in it."""

    slope: torch.Tensor

    def __call__(self, x):
        return self.slope * x


def test_a_model_can_be_an_argument_and_its_own_change_is_noticed():
    squares = exercise(
        reference=lambda model, x: float((model(x) ** 2).sum()),
        returns=("loss",),
        cases=lambda: (Case("two numbers", (Line(torch.tensor(2.0)), torch.tensor([1.0, 3.0]))),),
        misconceptions=(
            Misconception("the root is taken", "Leave it.", lambda model, x: model(x).norm()),
        ),
    )

    def changes_the_model(model, x):
        model.slope.mul_(0.5)
        return model(x).square().sum() * 4

    assert judge(squares, lambda model, x: model(x).square().sum()).passed
    assert judge(squares, lambda model, x: sum(model(x) ** 2) ** 0.5).misconception
    assert "changed its input model in place" in judge(squares, changes_the_model).text
