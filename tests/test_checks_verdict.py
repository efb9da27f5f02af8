"""Whatever a learner hands in, the check answers in a few helpful lines and never raises."""

import random
import sys
import time

import numpy as np
import pytest
import torch
from broken_answers import BROKEN

from course_utils.checks import calling
from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge

STEP = EXERCISES["02.1"]


def right(beta, x_prev, t, eps):
    return (1 - beta[t]).sqrt() * x_prev + beta[t].sqrt() * eps


def in_shape(beta, x_prev, t, eps):
    answer = right(beta, x_prev, t, eps)
    eps.resize_(3)
    return answer


def in_dtype(beta, x_prev, t, eps):
    x_prev.data = x_prev.data.double()
    return right(beta, x_prev, t, eps)


def fails(beta, x_prev, t, eps):
    scale = beta[t]
    return scale.squareroot() * x_prev


SAID = {  # for the broken answers to 02.1, a part of what must be said
    "None": "needs the function itself",
    "a result instead of a function": "without parentheses",
    "a name in quotes": "without quotes",
    "a class": "the class Identity",
    "a module": "this is an object of type module",
    "a string": "a string",
    "a complex number": "one number",
    "an object": "an object of type object",
    "a function returned": "a function (are its parentheses missing?), where x_t",
    "a class returned": "a function (are its parentheses missing?), where x_t",
    "an empty list": "shape [0]; expected [4, 3, 8, 10]",
    "a list of nothing": "It returned None, where x_t should be one number or a tensor of numbers",
    "a ragged list": "does not stack",
    "a list that holds itself": "cannot be read as numbers",
    "a number beyond float": "cannot be read as numbers",
    "an object array": "dtype object",
    "texts in an array": "it should hold numbers",
    "a generator": "`yield`",
    "a coroutine": "`async`",
    "twice": "a tuple of 2; return x_t alone",
    "a stray comma": "stray comma",
    "a dict": "a dict of 1",
    "one axis too many": "shape [1, 4, 3, 8, 10]; expected [4, 3, 8, 10]",
    "one number too many": "shape [961]",
    "empty": "shape [0]",
    "no data": "cannot be read as numbers",
    "huge": "1,000,000,000,000 numbers, far too many",
    "True": "shape []",
    "a number": "shape []; expected [4, 3, 8, 10]",
    "the first argument": "shape [10]; expected [4, 3, 8, 10]",
    "complex": "complex numbers (complex64)",
    "bfloat16": "keeps only three digits",
    "float16 in a list": "x_t is float16, which keeps",
    "whole numbers": "whole numbers, where fractions are needed",
    "yes or no": "x_t is bool: whole numbers, where fractions are needed",
    "NaN": "960 of the 960 numbers in x_t are NaN",
    "one infinity": "1 of the 960",
    "overflow": "scatter by inf",
    "an exception": "'squareroot'",
    "an error inside torch": "Your function raised RuntimeError: ",
    "a generator in the wrong place": "torch._C.Generator); write generator=generator It happened",
    "sys.exit": "SystemExit: done",
    "StopIteration": "StopIteration: (no message)",
    "infinite recursion": "calls itself without end",
    "an exception of many words": "many words many words",
    "an exception without words": "its message cannot be shown",
    "not even an Exception": "NotAnError: odd",
    "a long printout": "Your function printed: scale / is / wrong …",
    "no parameters": "takes (nothing)",
    "too many parameters": "takes (a, b, c, d, e, f, g, h, i, j), but the exercise calls it with (beta,",
    "None on the second call": "(1 of 4 cases was right before it)",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_answer_is_told_what_is_broken(kind):
    text = judge(STEP, BROKEN[kind](STEP)).text
    assert SAID[kind] in " ".join(text.split())
    assert text == judge(STEP, BROKEN[kind](STEP)).text  # the same words each time


@pytest.mark.parametrize(("change", "name"), [(in_shape, "eps"), (in_dtype, "x_prev")])
def test_an_input_that_has_another_shape_or_dtype_was_changed(change, name):
    assert f"changed its input {name} in place" in " ".join(judge(STEP, change).text.split())


def test_the_line_of_an_exception_is_the_learner_s():
    text = judge(STEP, fails).text
    assert "return scale.squareroot() * x_prev" in text
    assert f"line {fails.__code__.co_firstlineno + 2} of your code" in text

    def through_the_library(beta, x_prev, t, eps):
        return torch.nn.Linear(3, 3)(x_prev.flatten())

    assert "return torch.nn.Linear(3, 3)(x_prev.flatten())" in judge(STEP, through_the_library).text


def test_an_address_in_a_message_is_hidden():
    def fails_with_address(beta, x_prev, t, eps):
        raise ValueError(f"cannot use {object()}")

    assert "object at 0x…>" in judge(STEP, fails_with_address).text


def test_torchs_own_not_implemented_error_is_no_stub():
    def unsupported(beta, x_prev, t, eps):
        return torch.empty(2, device="meta").cpu()

    with pytest.raises(NotImplementedError):
        unsupported(0, 0, 0, 0)
    verdict = judge(STEP, unsupported)
    assert verdict.outcome == "failed"
    assert (
        "Your function raised NotImplementedError: Cannot copy out of meta tensor" in verdict.text
    )


def test_what_the_function_printed_is_shown_only_when_it_fails(capsys):
    def chatty(beta, x_prev, t, eps):
        print("\n".join(["scale", "is", "wrong", "here"] * 1000))
        return x_prev

    verdict = judge(STEP, chatty)
    assert "Your function printed: scale / is / wrong …" in verdict.text

    def fine(beta, x_prev, t, eps):
        print("fine")
        print("fine", file=sys.stderr)
        return right(beta, x_prev, t, eps)

    assert "fine" not in judge(STEP, fine).text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("wait", ["busy", "asleep"])
def test_an_endless_loop_is_stopped(monkeypatch, wait):
    monkeypatch.setattr(calling, "SECONDS", 0.2)

    def endless(beta, x_prev, t, eps):
        while True:
            if wait == "asleep":
                time.sleep(60)

    began = time.monotonic()
    verdict = judge(STEP, endless)
    assert time.monotonic() - began < 5
    assert verdict.outcome == "failed"
    assert "had not returned after 0.2 seconds" in verdict.text


def test_the_learner_s_own_interrupt_goes_through():
    def interrupted(beta, x_prev, t, eps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(STEP, interrupted)


def test_random_states_are_as_before():
    def draws(beta, x_prev, t, eps):
        return torch.randn(3) + random.random() + np.random.rand()

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    first = judge(STEP, draws).text
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])
    torch.randn(7)
    assert judge(STEP, draws).text == first


def test_an_answer_right_but_for_one_sample_says_which():
    def skips_one(beta, x_prev, t, eps):
        answer = right(beta, x_prev, t, eps)
        answer[-1] = x_prev[-1]
        return answer

    said = " ".join(judge(STEP, skips_one).text.split())
    assert "numbers: in samples [3], right in the others." in said


def test_two_cases_were_right_but_one_case_was():
    def wrong_at_the_first_step(beta, x_prev, t, eps):
        return x_prev if t == 0 else right(beta, x_prev, t, eps)

    said = " ".join(judge(STEP, wrong_at_the_first_step).text.split())
    assert "(2 of 4 cases were right before it)" in said


@pytest.mark.parametrize("exercise", ["02.1", "02.3"])
@pytest.mark.parametrize(
    "draw",
    [
        torch.randn_like,
        lambda x: torch.randn(x.shape),
        lambda x: torch.from_numpy(np.random.default_rng().normal(size=x.shape)),
    ],
)
def test_noise_of_one_s_own_is_noticed_where_it_is_given(exercise, draw):
    """The fourth parameter of both is eps; the answer is right but for it."""
    found = EXERCISES[exercise]
    verdict = judge(found, lambda a, x, t, eps: found.reference(a, x, t, draw(x)))
    said = " ".join(verdict.text.split())
    assert "it draws noise of its own. Here the noise is given: use eps." in said
    assert verdict.misconception is None


def test_noise_where_none_is_needed_is_noticed():
    said = " ".join(judge(EXERCISES["02.2"], torch.rand_like).text.split())
    assert "it draws noise of its own. Nothing is random here." in said


def test_a_list_that_begins_with_a_whole_number_is_not_whole_numbers():
    def begins_with_one(beta):
        left = [1]
        for b in beta[:-1]:
            left.append(left[-1] * (1 - b.item()))
        return left

    assert "whole numbers" not in judge(EXERCISES["02.2"], begins_with_one).text
    assert "int64: whole numbers" in judge(EXERCISES["02.2"], lambda beta: beta.long()).text
