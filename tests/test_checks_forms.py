"""Exercises of other forms than chapter 02's, which later chapters need."""

import inspect

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


@pytest.mark.parametrize("answer", [2, 2.0, np.int64(2), torch.tensor(2), np.float32(2)])
def test_a_number_may_come_in_any_form(answer):
    assert judge(FIRST_BELOW, lambda values: answer).passed


def test_a_wrong_number_is_shown_beside_the_right_one():
    verdict = judge(FIRST_BELOW, lambda values: 3)
    assert "Seen: t is 3; expected 2." in verdict.text
    assert verdict.misconception == "t counts from 1"


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
