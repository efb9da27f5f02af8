"""06.2: how far a stack of convolutions sees, after each of its layers."""

from itertools import accumulate, pairwise

from course_utils.checks.exercise import Case, Exercise, Misconception


def _fields(layers):
    """Counted, not calculated: from one output pixel back to the input, the leftmost and the rightmost it needs."""
    fields = []
    for depth in range(1, len(layers) + 1):
        left = right = 0
        for kernel, stride in reversed(layers[:depth]):
            left, right = left * stride, right * stride + kernel - 1
        fields.append(right - left + 1)
    return fields


_CASES = (
    ("three 3 × 3 convolutions", [(3, 1), (3, 1), (3, 1)]),
    ("two that halve, and two that do not", [(3, 2), (3, 1), (3, 2), (3, 1)]),
    ("kernels and strides of many kinds", [(7, 2), (1, 1), (5, 3), (2, 2), (3, 1), (4, 1)]),
    ("one 1 × 1 convolution", [(1, 1)]),
    ("the way down of a UNet", [(3, 1)] * 5 + [(3, 2)] + [(3, 1)] * 4 + [(3, 2)] + [(3, 1)] * 4),
)


def _case(says, layers):
    if len(layers) <= 6:
        says += f": layers = {layers}"
    return Case(says, (layers,))


def _step_by_step(step, start=(1, 1)):
    """The exercise with step(field, stride so far, kernel, stride) → (field, stride so far)."""

    def fields(layers):
        states = accumulate(layers, lambda state, layer: step(*state, *layer), initial=start)
        return [field for field, _ in states][1:]

    return fields


_grows = _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump, jump * s))


EXERCISE = Exercise(
    id="06.2",
    title="How far it sees",
    difficulty=1,
    minutes=10,
    reference=_fields,
    returns=("fields",),
    cases=lambda: tuple(_case(says, list(layers)) for says, layers in _CASES),
    misconceptions=(
        Misconception(
            "the strides are left out",
            "After a stride of 2, neighbours lie two pixels of the image apart, so every later kernel reaches twice "
            "as far. Multiply (k − 1) by the strides so far.",
            _step_by_step(lambda field, jump, k, s: (field + k - 1, 1)),
        ),
        Misconception(
            "a layer's own stride already counts for its own kernel",
            "The kernel lies on the layer's input, whose pixels are spaced by the strides before it. Its own stride "
            "only spreads its outputs, for the layers after it.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump * s, jump * s)),
        ),
        Misconception(
            "only a layer's own stride counts, not those before it",
            "A kernel reaches over its layer's input, which the strides before it have spread. Its own stride "
            "comes after it.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * s, 1)),
        ),
        Misconception(
            "each layer adds k pixels instead of k − 1",
            "A kernel's first pixel was in the field already: 3 pixels wide, it reaches one further on each side, "
            "two in all.",
            _step_by_step(lambda field, jump, k, s: (field + k * jump, jump * s)),
        ),
        Misconception(
            "the field starts at 0 instead of 1",
            "Before any layer a pixel sees itself: that is 1. So one 3 × 3 convolution sees 3, not 2.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump, jump * s), (0, 1)),
        ),
        Misconception(
            "the kernels are multiplied",
            "Two 3 × 3 convolutions see 5 pixels in a row, not 9: their kernels overlap. Each adds (k − 1) times "
            "the strides so far.",
            _step_by_step(lambda field, jump, k, s: (field * k, jump)),
        ),
        Misconception(
            "the strides are added instead of multiplied",
            "Two halvings make a quarter: after strides 2 and 2 neighbours are 4 pixels apart, and after three of "
            "them 8.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump, jump + s - 1)),
        ),
        Misconception(
            "only the stride of the layer before counts, not all before it",
            "Every stride so far has spread the pixels: multiply them all.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump, s)),
        ),
        Misconception(
            "the whole field is multiplied by each stride",
            "What was seen before does not grow when later pixels are skipped. Only what a kernel adds is spread by "
            "the strides before it.",
            _step_by_step(lambda field, jump, k, s: (field * s + k - 1, jump)),
        ),
        Misconception(
            "the rule for walking from the output to the image is used from the image to the output",
            "field = (field − 1) · stride + k is right when you begin with the last layer. Going forward, add "
            "(k − 1) times the strides so far.",
            _step_by_step(lambda field, jump, k, s: ((field - 1) * s + k, jump)),
        ),
        Misconception(
            "the stride divides instead of multiplying",
            "A halving makes the picture smaller, so that one of its pixels stands for more of the image, "
            "not for less.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump, jump / s)),
        ),
        Misconception(
            "the kernel reaches to one side only",
            "A kernel of 3 adds one pixel on the left and one on the right: k − 1 in all.",
            _step_by_step(lambda field, jump, k, s: (field + (k // 2) * jump, jump * s)),
        ),
        Misconception(
            "every kernel is taken for one of 3",
            "A kernel adds k − 1 pixels, each as wide as the strides so far: that is 2 only where k is 3.",
            _step_by_step(lambda field, jump, k, s: (field + 2 * jump, jump * s)),
        ),
        Misconception(
            "an even kernel is taken for the next larger odd one",
            "A kernel of 2 lies on 2 pixels and adds 1. Twice k // 2 is k − 1 only where k is odd.",
            _step_by_step(lambda field, jump, k, s: (field + 2 * (k // 2) * jump, jump * s)),
        ),
        Misconception(
            "every stride above 1 is taken for a halving",
            "A stride of 3 gives every third output. Multiply by the stride itself, whatever it is.",
            _step_by_step(lambda field, jump, k, s: (field + (k - 1) * jump, jump * min(s, 2))),
        ),
        Misconception(
            "what each layer adds is returned, not the field",
            "The field is the sum: 1, and what all layers so far have added.",
            lambda layers: [b - a for a, b in pairwise([1, *_grows(layers)])],
        ),
        Misconception(
            "pixels are counted in the square instead of in a row",
            "The width of the field is asked for: 3 for one 3 × 3 convolution, not 9.",
            lambda layers: [field**2 for field in _fields(layers)],
        ),
        Misconception(
            "the strides so far are returned, not the fields",
            "That is how far apart two neighbouring outputs look. How wide each of them looks is asked for.",
            _step_by_step(lambda jump, _, k, s: (jump * s, 1)),
        ),
        Misconception(
            "only the field after the last layer is returned",
            "One number for each layer is asked for, so that you see it grow.",
            lambda layers: _fields(layers)[-1],
        ),
        Misconception(
            "the image itself is counted too: one number too many",
            "One number for each layer: the first is the field after the first layer.",
            lambda layers: [1, *_grows(layers)],
        ),
        Misconception(
            "each number is the field before its layer, not after it",
            "Append after you have added the layer's (k − 1) times the strides so far: the first number is the "
            "first kernel.",
            lambda layers: [1, *_grows(layers)[:-1]],
        ),
    ),
    hints=(
        "Draw three rows of dots, the image at the bottom, and follow one dot of the top row down. A kernel of 3 "
        "reaches one dot further on each side, of the row just below it.",
        "How far apart do two neighbouring dots of that row lie, in pixels of the image? By the product of all "
        "strides below. Keep two numbers: the field, and this distance.",
        "Begin with field = 1 and jump = 1. For each layer: field += (kernel - 1) * jump, note the field, "
        "and only then jump *= stride.",
    ),
    success=(
        "Convolutions one after another see further by 2 pixels each; every halving doubles what all that follow "
        "add. That is why the UNet goes down before it answers. (Your dots: 3, then 7, then 15.)"
    ),
)
