"""Chapter 07's replies to answers that fail otherwise than by a known mistake: they say what is the matter."""

from test_checks_chapter_07_answers import average_in_numpy, clip_in_numpy

from course_utils.checks.registry import EXERCISES
from course_utils.checks.verdict import judge


def test_an_answer_for_exactly_two_tensors_does_not_pass():
    def averages_two(average, weights, n, decay):
        return average_in_numpy(average[:2], weights[:2], n, decay)

    def clips_two(gradients, max_norm):
        weight, bias = gradients
        return clip_in_numpy([weight, bias], max_norm)

    said = " ".join(judge(EXERCISES["07.2"], averages_two).text.split())
    assert "a weight [3, 2], a bias [3] and a second weight [1, 3], n = 6, decay = 0.9" in said
    assert "It returned a tuple of 2; return 3 things: weight, bias, second weight." in said
    said = " ".join(judge(EXERCISES["07.3"], clips_two).text.split())
    assert "of lengths 6, 2 and 3, max_norm = 3.5" in said
    assert "ValueError: too many values to unpack (expected 2" in said  # newer Pythons say more


def test_what_is_wrong_in_the_third_tensor_is_said_by_its_name():
    def forgets_the_third(average, weights, n, decay):
        new = average_in_numpy(average, weights, n, decay)
        return [*new[:2], *average[2:]]

    said = " ".join(judge(EXERCISES["07.2"], forgets_the_third).text.split())
    assert "Seen: second weight[0," in said
    assert "Off in 3 of 3 numbers" in said


def test_averaging_in_place_is_named_with_what_it_changes():
    def in_place(average, weights, n, decay):
        for a, w in zip(average, weights, strict=True):
            a.lerp_(w, 1 - min(decay, (1 + n) / (10 + n)))
        return average

    def into_the_network(average, weights, n, decay):
        return in_place(weights, average, n, 1 - decay)

    for answer, changed in ((in_place, "average"), (into_the_network, "weights")):
        said = " ".join(judge(EXERCISES["07.2"], answer).text.split())
        assert f"Your function changed its input {changed} in place" in said


def test_a_length_of_zero_and_an_empty_folder_are_shown_where_they_are_met():
    def divides_by_zero(gradients, max_norm):
        length = sum(float(g.square().sum()) for g in gradients) ** 0.5
        return [g * min(1, max_norm / length) for g in gradients]

    def takes_the_largest(names, good, accumulate):
        k, i = max((int(n[5:-12]), i) for i, n in enumerate(names) if good[i])
        return i, k, k * accumulate

    said = " ".join(judge(EXERCISES["07.3"], divides_by_zero).text.split())
    assert "that are zero, max_norm = 1.0 (7 of 8 cases were right before it)" in said
    assert "ZeroDivisionError" in said
    said = " ".join(judge(EXERCISES["07.6"], takes_the_largest).text.split())
    assert "damaged: step-100, step-200" in said
    assert "ValueError" in said
