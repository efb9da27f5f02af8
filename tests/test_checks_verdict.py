"""Whatever a learner hands in, the check answers in a few helpful lines and never raises."""

import random
import sys
import time

import numpy as np
import pytest
import torch

from course_utils.checks import calling
from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import WIDTH, judge

STEP = EXERCISES["02.1"]


def right(beta, x_prev, t, eps):
    return (1 - beta[t]).sqrt() * x_prev + beta[t].sqrt() * eps


def gives(value):
    """A function that returns the value whatever it is given."""
    return lambda beta, x_prev, t, eps: value


def does(action):
    """A function that does something to a right answer, or to the inputs before it."""

    def function(beta, x_prev, t, eps):
        return action(right(beta, x_prev, t, eps))

    return function


def in_place(beta, x_prev, t, eps):
    x_prev *= (1 - beta[t]).sqrt()
    x_prev += beta[t].sqrt() * eps
    return x_prev


def in_beta(beta, x_prev, t, eps):
    answer = right(beta, x_prev, t, eps)
    beta[t] = 0
    return answer


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


def exits(beta, x_prev, t, eps):
    sys.exit("done")


def recurs(beta, x_prev, t, eps):
    return recurs(beta, x_prev, t, eps)


def yields(beta, x_prev, t, eps):
    yield right(beta, x_prev, t, eps)


async def waits(beta, x_prev, t, eps):
    return right(beta, x_prev, t, eps)


class SayNothingError(Exception):
    """An exception that cannot even be printed."""

    def __str__(self):
        raise RuntimeError


def says_nothing(beta, x_prev, t, eps):
    raise SayNothingError


class NotAnError(BaseException):
    """As an interpreter or a debugger may raise."""


def raises_oddly(beta, x_prev, t, eps):
    raise NotAnError("odd")


def returns_itself(beta, x_prev, t, eps):
    answer = []
    answer.append(answer)
    return answer


def only_sometimes(beta, x_prev, t, eps):
    return right(beta, x_prev, t, eps) if t == 3 else None


def inside_torch(beta, x_prev, t, eps):
    return torch.nn.functional.conv2d(x_prev, eps) + right(beta, x_prev, t, eps).reshape(7)


BROKEN = {  # name: (what is handed in, a part of what must be said)
    "None": (None, "needs the function itself"),
    "a result instead of a function": (torch.zeros(3), "without parentheses"),
    "a name in quotes": ("one_step", "without quotes"),
    "a class": (torch.nn.Identity, "the class Identity"),
    "a tuple": (does(lambda x: (x, x)), "a tuple of 2; return x_t alone"),
    "a stray comma": (does(lambda x: (x,)), "stray comma"),
    "a dict": (does(lambda x: {"x_t": x}), "a dict of 1"),
    "a string": (gives("x_t"), "a string"),
    "True": (gives(True), "shape []"),
    "a number": (gives(0.5), "shape []; expected [4, 3, 8, 10]"),
    "complex": (does(lambda x: x.to(torch.complex64)), "complex numbers (complex64)"),
    "a complex number": (gives(1j), "one number"),
    "an object array": (gives(np.array([None, "x"])), "dtype object"),
    "texts in an array": (gives(np.array(["x"])), "it should hold numbers"),
    "an empty list": (gives([]), "does not stack"),
    "a ragged list": (gives([torch.zeros(2), torch.zeros(3)]), "does not stack"),
    "a list that holds itself": (returns_itself, "cannot be read as numbers"),
    "a number beyond float": (gives(10**400), "cannot be read as numbers"),
    "a function": (gives(right), "a function (are its parentheses missing?), where x_t"),
    "an object": (gives(object()), "an object of type object"),
    "a generator": (yields, "`yield`"),
    "a coroutine": (waits, "`async`"),
    "transposed": (
        does(lambda x: x.transpose(0, 1)),
        "shape [3, 4, 8, 10]; expected [4, 3, 8, 10]",
    ),
    "one axis too many": (does(lambda x: x[None]), "shape [1, 4, 3, 8, 10]"),
    "huge": (gives(torch.zeros(1).expand(10**12)), "1,000,000,000,000 numbers, far too many"),
    "no data": (does(lambda x: x.to("meta")), "cannot be read as numbers"),
    "NaN": (does(lambda x: x * float("nan")), "960 of the 960 numbers in x_t are NaN"),
    "one infinity": (
        does(lambda x: x.index_put((torch.tensor(0),) * 4, torch.tensor(torch.inf))),
        "1 of the 960",
    ),
    "whole numbers": (does(lambda x: x.long()), "whole numbers, where fractions are needed"),
    "bfloat16": (does(lambda x: x.bfloat16()), "keeps only three digits"),
    "float16 in a list": (does(lambda x: [x[0].half(), *x[1:]]), "x_t is float16, which keeps"),
    "overflow": (does(lambda x: x.double() * 1e307), "standard deviation inf"),
    "an exception": (fails, "'squareroot'"),
    "an error inside torch": (inside_torch, "Your function raised RuntimeError: "),
    "a generator in the wrong place": (
        lambda beta, x_prev, t, eps: torch.randn(x_prev.shape, torch.Generator()),
        "torch._C.Generator); write generator=generator It happened",
    ),
    "sys.exit": (exits, "SystemExit: done"),
    "infinite recursion": (recurs, "calls itself without end"),
    "an exception without words": (says_nothing, "its message cannot be shown"),
    "not even an Exception": (raises_oddly, "NotAnError: odd"),
    "too few parameters": (
        lambda x_prev, t: x_prev,
        "takes (x_prev, t), but the exercise calls it with (beta,",
    ),
    "no parameters": (lambda: 0, "takes (nothing)"),
    "input changed": (in_place, "changed its input x_prev in place"),
    "table changed": (in_beta, "changed its input beta in place"),
    "input resized": (in_shape, "changed its input eps in place"),
    "input cast": (in_dtype, "changed its input x_prev in place"),
    "None in one branch": (only_sometimes, "(1 of 4 cases was right before it)"),
}


@pytest.mark.parametrize(("handed_in", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_gets_a_short_helpful_message(handed_in, said):
    verdict = judge(STEP, handed_in)
    assert verdict.outcome == "failed"
    assert said in " ".join(verdict.text.split())
    lines = verdict.text.splitlines()
    assert lines[0] == "✗ 02.1 One step of the chain: not right yet."
    assert lines[-1] == '  Stuck? hint("02.1")'
    assert len(lines) <= 7
    assert max(map(len, lines)) <= WIDTH
    assert verdict.text == judge(STEP, handed_in).text  # the same words each time
    assert "0x" not in verdict.text.replace("0x…", "")
    assert "/" not in verdict.text, "a path of this machine"


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("exercise", list(EXERCISES.values())[1:], ids=list(EXERCISES)[1:])
def test_no_exercise_stumbles_over_a_broken_answer(exercise, answer):
    handed_in = answer[0]
    if callable(handed_in) and not isinstance(handed_in, type):

        def function(*arguments, _f=handed_in):
            return _f(torch.rand(5), torch.zeros(2, 3), 3, torch.zeros(2, 3))
    else:
        function = handed_in
    assert judge(exercise, function).outcome in ("failed", "not written")


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

    assert "Off in samples [3], right in the others." in judge(STEP, skips_one).text


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
