"""07.6: where a run that was cut off goes on."""

import re

from course_utils.checks.exercise import Case, Exercise, Misconception


def _resume(names, good, accumulate):
    best = None
    for i, (name, whole) in enumerate(zip(names, good, strict=True)):
        k = int(re.fullmatch(r"step-(\d+)\.safetensors", name)[1])
        if whole and (best is None or k > best[0]):
            best = (k, i)
    return (-1, 0, 0) if best is None else (best[1], best[0], best[0] * accumulate)


def _cases() -> tuple[Case, ...]:
    def case(steps, damaged, accumulate):
        named = ", ".join(f"step-{k}" for k in steps) or "no checkpoint"
        bad = ", ".join(f"step-{k}" for k in damaged) or "none"
        return Case(
            f"{named}; damaged: {bad}; accumulate = {accumulate}",
            (
                [f"step-{k}.safetensors" for k in steps],
                [k not in damaged for k in steps],
                accumulate,
            ),
        )

    return (
        case([200, 300, 400], [], 1),
        case([200, 300, 400], [400], 4),
        case([900, 1000, 800, 1200, 700], [1200], 2),
        case([20000, 5000, 3000], [], 3),
        case([600, 100, 200, 500, 400, 300], [200, 500, 600], 8),
        case([100, 200], [100, 200], 2),
        case([], [], 2),
    )


def _step(name):
    return int(name.removeprefix("step-").removesuffix(".safetensors"))


def _newest(names, good):
    return max((i for i in range(len(names)) if good[i]), key=lambda i: _step(names[i]))


def _goes_on(
    choose=_newest, told=lambda i, k, accumulate: (i, k, k * accumulate), otherwise=(-1, 0, 0)
):
    """The exercise with choose(names, good) as the checkpoint, and told(i, its step, accumulate) as the answer."""

    def wrong(names, good, accumulate):
        if not any(good):
            return otherwise
        i = choose(names, good)
        return otherwise if i is None else told(i, _step(names[i]), accumulate)

    return wrong


def _oldest_first(names):
    return sorted(range(len(names)), key=lambda i: _step(names[i]))


def _newest_of_all(names, good):
    return _oldest_first(names)[-1]


def _newest_but_the_last(names, good):
    *older, _ = _oldest_first(names)
    return next((i for i in reversed(older) if good[i]), None)


def _by_text(names, good):
    return max((i for i in range(len(names)) if good[i]), key=lambda i: names[i])


def _last_in_the_list(names, good):
    return max(i for i in range(len(names)) if good[i])


def _first_in_the_list(names, good):
    return good.index(True)


def _oldest(names, good):
    return next(i for i in _oldest_first(names) if good[i])


def _newest_or_none(names, good):
    i = _oldest_first(names)[-1]
    return i if good[i] else None


def _one_before(names, good):
    *_, before, last = _oldest_first(names)
    return last if good[last] else before


def _back_through_the_list(names, good):
    i = _oldest_first(names)[-1]
    while not good[i]:
        i -= 1
    return i % len(names)


def _up_to_the_first_damaged(names, good):
    found = None
    for i in _oldest_first(names):
        if not good[i]:
            break
        found = i
    return found


def _place_among(which):
    """The right checkpoint, with its place in the list which(names, good) of places."""

    def wrong(names, good, accumulate):
        if not any(good):
            return -1, 0, 0
        i = _newest(names, good)
        k = _step(names[i])
        return which(names, good).index(i), k, k * accumulate

    return wrong


EXERCISE = Exercise(
    id="07.6",
    title="Going on after a crash",
    difficulty=2,
    minutes=10,
    reference=_resume,
    returns=("which", "step", "batch"),
    cases=_cases,
    misconceptions=(
        Misconception(
            "the newest checkpoint is taken though it is damaged",
            "That is the one which was being written when the machine died. Take the newest of the good ones.",
            _goes_on(_newest_of_all),
        ),
        Misconception(
            "good is not used",
            "The newest is the one which was being written when the machine died. Take the newest of the good "
            "ones; if there is none, the run starts anew.",
            lambda names, good, accumulate: _goes_on(_newest_of_all)(
                names, [True] * len(names), accumulate
            ),
        ),
        Misconception(
            "the newest checkpoint is left out even where it is good",
            "It may be damaged, but good says whether it is. As it is, every crash costs one checkpoint more.",
            _goes_on(_newest_but_the_last),
        ),
        Misconception(
            "the names are compared as text, not as numbers",
            'As text "step-900" comes after "step-1000", because 9 comes after 1. Turn the digits into an int '
            "first.",
            _goes_on(_by_text),
        ),
        Misconception(
            "the last good one in the list is taken",
            "A folder lists its files in any order it likes. Compare the numbers in the names.",
            _goes_on(_last_in_the_list),
        ),
        Misconception(
            "the first good one in the list is taken",
            "A folder lists its files in any order it likes. Compare the numbers in the names, and take the "
            "largest.",
            _goes_on(_first_in_the_list),
        ),
        Misconception(
            "the oldest good checkpoint is taken",
            "It would do, but all work since then is lost. Take the newest of the good ones.",
            _goes_on(_oldest),
        ),
        Misconception(
            "the run starts anew as soon as the newest checkpoint is damaged",
            "That is why more than one is kept: look at the one before it.",
            _goes_on(_newest_or_none),
        ),
        Misconception(
            "behind a damaged newest checkpoint the one before it is taken unseen",
            "It may be damaged too. Go back until one is good.",
            _goes_on(_one_before),
        ),
        Misconception(
            "behind a damaged newest checkpoint the search goes back through the list as it stands",
            "The list is in no order: the one to its left may be much older. Go back by the numbers in the names.",
            _goes_on(_back_through_the_list),
        ),
        Misconception(
            "all checkpoints after a damaged one are given up",
            "Each file stands for itself: a newer one that is good holds the whole run.",
            _goes_on(_up_to_the_first_damaged),
        ),
        Misconception(
            "the run goes on one step too late",
            "After k steps, 0 … k−1 are made, so the next one is k. With k+1 one step, and its batches, are "
            "left out.",
            _goes_on(told=lambda i, k, a: (i, k + 1, (k + 1) * a)),
        ),
        Misconception(
            "the step is one too large, though the batch is right",
            "After k steps, 0 … k−1 are made, so the next one is k. The learning rate of its warm-up would be "
            "skipped.",
            _goes_on(told=lambda i, k, a: (i, k + 1, k * a)),
        ),
        Misconception(
            "the last step is made a second time",
            "step-k is written after k steps, 0 … k−1. Step k−1 is in it already.",
            _goes_on(told=lambda i, k, a: (i, k - 1, (k - 1) * a)),
        ),
        Misconception(
            "the batch has the number of the step, as if accumulate were 1",
            "Each step took `accumulate` batches. As it is, most of them would be seen again.",
            _goes_on(told=lambda i, k, a: (i, k, k)),
        ),
        Misconception(
            "the step is divided by accumulate to get the batch",
            "One step takes several batches, so there are more batches than steps: multiply.",
            _goes_on(told=lambda i, k, a: (i, k, k // a)),
        ),
        Misconception(
            "the number in the name is taken for that of the batch",
            "It counts steps of the optimiser, k; the batches are `accumulate` times as many.",
            _goes_on(told=lambda i, k, a: (i, k // a, k)),
        ),
        Misconception(
            "the batch is one too large",
            "After k · accumulate batches the next one has this very number, since they are counted from 0.",
            _goes_on(told=lambda i, k, a: (i, k, k * a + 1)),
        ),
        Misconception(
            "the batches begin anew",
            "Then the run sees the first batches twice, and differs from the one that was not cut off.",
            _goes_on(told=lambda i, k, a: (i, k, 0)),
        ),
        Misconception(
            "the checkpoint is loaded, but steps and batches are counted from 0",
            "The learning rate would warm up once more, and the first batches come twice. Go on where the "
            "checkpoint stands.",
            _goes_on(told=lambda i, k, a: (i, 0, 0)),
        ),
        Misconception(
            "the step stands where the place in the list is asked for",
            "which is an index into names, so that names[which] is the file to load.",
            _goes_on(told=lambda i, k, a: (k, k, k * a)),
        ),
        Misconception(
            "which counts the good ones only",
            "names[which] is the file that gets loaded, so which counts all names, damaged ones too.",
            _place_among(lambda names, good: [i for i in range(len(names)) if good[i]]),
        ),
        Misconception(
            "which counts the sorted names",
            "names[which] is the file that gets loaded, so which is its place in the list as it was given.",
            _place_among(lambda names, good: _oldest_first(names)),
        ),
        Misconception(
            "the place 0 is taken for none",
            "0 counts as False in `if not which`. Ask whether it `is None`, or whether anything was found.",
            _goes_on(told=lambda i, k, a: (i, k, k * a) if i else (-1, 0, 0)),
        ),
        Misconception(
            "without any good checkpoint, the answer is checkpoint 0",
            "names[0] is damaged, or not there at all. −1 says that there is none.",
            _goes_on(otherwise=(0, 0, 0)),
        ),
    ),
    hints=(
        "Three questions, one after the other: which files may be used at all, which of those is furthest, and "
        "what has been done when it was written?",
        'int(name.split("-")[1].split(".")[0]) is k, the number in a name. After k steps the next one is step '
        "k, and k times accumulate batches are used up.",
        "found = [(number, i) for each good i]; if not found: return -1, 0, 0; k, i = max(found); "
        "return i, k, k * accumulate",
    ),
    success=(
        "A crash costs what came after the last good checkpoint, and no more. The library writes "
        "step-00000900: with leading zeros, text sorts like numbers."
    ),
)
