"""Schedules against mpmath at 50 digits and against diffusers."""

import mpmath as mp
import pytest
import torch
from diffusers import DDPMScheduler
from exact_chain import ExactChain, off
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.diffusion import schedule

mp.mp.dps = 50
NAMES = ["linear", "scaled_linear", "sigmoid", "cosine"]


def exact_beta(name: str, T: int) -> list:
    """β by its textbook formula at 50 digits; the constants enter as the decimals that they are written as."""

    def line(start, end):
        return [start + (end - start) * mp.mpf(k) / max(T - 1, 1) for k in range(T)]

    if name == "linear":
        return line(mp.mpf("1e-4"), mp.mpf("0.02"))
    if name == "scaled_linear":
        return [b**2 for b in line(mp.sqrt(mp.mpf("0.00085")), mp.sqrt(mp.mpf("0.012")))]
    if name == "sigmoid":
        spread = mp.mpf("0.02") - mp.mpf("1e-4")
        return [mp.mpf("1e-4") + spread / (1 + mp.exp(-x)) for x in line(mp.mpf(-6), mp.mpf(6))]
    s = mp.mpf("0.008")

    def alpha_bar(k):
        return mp.cos((mp.mpf(k) / T + s) / (1 + s) * mp.pi / 2) ** 2

    return [min(1 - alpha_bar(k + 1) / alpha_bar(k), mp.mpf("0.999")) for k in range(T)]


@pytest.mark.parametrize("T", [1, 2, 10, 1000, 4000])
@pytest.mark.parametrize("name", NAMES)
def test_every_table_has_twelve_correct_digits(name, T):
    made = getattr(schedule, name)(T)
    beta = exact_beta(name, T)
    alpha_bar = mp.mpf(1)
    for t in range(T):
        alpha_bar *= 1 - beta[t]
        expected = {
            "beta": beta[t],
            "alpha": 1 - beta[t],
            "alpha_bar": alpha_bar,
            "one_minus_alpha_bar": 1 - alpha_bar,
        }
        for field, value in expected.items():
            got = mp.mpf(getattr(made, field)[t].item())
            assert abs(got / value - 1) < 1e-12, (name, T, t, field)
    assert made.T == T


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedule.linear(), {"beta_schedule": "linear"}),
        (
            schedule.scaled_linear(),
            {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        ),
        (schedule.sigmoid(), {"beta_schedule": "sigmoid"}),
        (schedule.cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    ],
)
def test_diffusers_has_the_same_tables_in_single_precision(ours, theirs):
    scheduler = DDPMScheduler(**theirs)
    torch.testing.assert_close(scheduler.betas, ours.beta.float(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(
        scheduler.alphas_cumprod, ours.alpha_bar.float(), rtol=2e-4, atol=1e-6
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_any_beta_gives_tables_that_agree_with_each_other(beta):
    made = schedule.from_beta(beta)
    product = 1.0
    for t, b in enumerate(beta):
        product *= 1 - b
        assert made.alpha_bar[t] == pytest.approx(product, rel=1e-12, abs=1e-300)
        assert made.one_minus_alpha_bar[t] == pytest.approx(1 - product, rel=1e-9, abs=1e-12)


def test_a_schedule_keeps_no_hold_on_the_tensor_that_it_was_made_from():
    beta = torch.full((3,), 0.1, dtype=torch.float64)
    made = schedule.from_beta(beta)
    beta[0] = 0.9
    assert made.beta[0] == 0.1


def test_a_terminal_step_of_pure_noise_is_allowed():
    made = schedule.from_beta([0.5, 1.0])
    assert made.alpha_bar[-1] == 0
    assert made.one_minus_alpha_bar[-1] == 1


@pytest.mark.parametrize("beta", [[], [[0.1]], [0.1, -0.1], [1.1], [float("nan")]])
def test_impossible_variances_are_refused(beta):
    with pytest.raises(ValueError, match="beta"):
        schedule.from_beta(beta)


@pytest.mark.parametrize("T", [0, -3, 2.5, True, "10"])
@pytest.mark.parametrize("name", NAMES)
def test_impossible_numbers_of_steps_are_refused(name, T):
    with pytest.raises(ValueError, match="number of steps"):
        getattr(schedule, name)(T)


def test_impossible_ranges_are_refused():
    with pytest.raises(ValueError, match="beta_start"):
        schedule.linear(10, beta_start=0.2, beta_end=0.1)
    with pytest.raises(ValueError, match="s > 0"):
        schedule.cosine(10, s=0)


def test_gather_picks_by_t_and_shapes_for_broadcasting():
    table = torch.arange(10, dtype=torch.float64)
    x = torch.zeros(3, 2, 4, 4)
    picked = schedule.gather(table, torch.tensor([7, 0, 9]), x)
    assert picked.shape == (3, 1, 1, 1)
    assert picked.flatten().tolist() == [7, 0, 9]
    assert picked.dtype == torch.float32
    assert schedule.gather(table, 4, x).shape == (1, 1, 1, 1)
    assert schedule.gather(table, torch.tensor([[1, 2]] * 3), x).shape == (3, 2, 1, 1)


@pytest.mark.parametrize("t", [-1, 10, torch.tensor([0, 1, 10]), torch.tensor([0, -1, 1])])
def test_steps_outside_the_schedule_are_refused(t):
    with pytest.raises(ValueError, match=r"0 … 9"):
        schedule.gather(torch.ones(10), t, torch.zeros(3, 2))


@pytest.mark.parametrize("t", [0.5, torch.tensor([0.0, 1.0, 2.0]), True])
def test_steps_that_are_no_whole_numbers_are_refused(t):
    with pytest.raises(ValueError, match="whole"):
        schedule.gather(torch.ones(10), t, torch.zeros(3, 2))


def test_a_t_for_each_sample_must_match_the_batch():
    with pytest.raises(ValueError, match="each of the 3 samples"):
        schedule.gather(torch.ones(10), torch.tensor([1, 2]), torch.zeros(3, 2))


def test_gather_refuses_what_is_not_floating_point():
    with pytest.raises(ValueError, match=r"floating-point tensor; got torch.uint8"):
        schedule.gather(torch.ones(10), 3, torch.zeros(3, 2, dtype=torch.uint8))


# --- jumps between steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_between_two_steps_lies_what_the_tables_say(name):
    made = getattr(schedule, name)(100)
    t = torch.arange(100)
    for got, right in zip(schedule.between(made, t - 1, t), (made.alpha, made.beta), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-13, atol=0)
    tables = made.alpha_bar, made.one_minus_alpha_bar
    for got, right in zip(schedule.between(made, -1, t), tables, strict=True):
        torch.testing.assert_close(got, right, rtol=1e-13, atol=0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.floats(1e-15, 1), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40),
    st.data(),
)
def test_between_has_twelve_digits_of_both_numbers(beta, data):
    made = schedule.from_beta(beta)
    chain = ExactChain(made)
    later = data.draw(st.integers(-1, made.T - 1))
    earlier = data.draw(st.integers(-1, later))
    kept, added = schedule.between(made, earlier, torch.tensor(later))
    right = chain.kept(earlier, later)
    assert off(kept, right) < 1e-12 or right < 1e-290  # smaller ones leave float64
    assert off(added, 1 - right) < 1e-12


def test_between_no_steps_nothing_happens():
    made = schedule.from_beta([0.5, 1.0, 0.1])
    for t in range(-1, 3):
        kept, added = schedule.between(made, t, torch.tensor(t))
        assert (kept.item(), added.item()) == (1, 0)


def test_between_broadcasts():
    made = schedule.linear(10)
    earlier, later = torch.tensor([[-1], [2]]), torch.tensor([3, 5, 9])
    kept, added = schedule.between(made, earlier, later)
    assert kept.shape == added.shape == (2, 3)
    assert kept[1, 1] == schedule.between(made, 2, torch.tensor(5))[0]


def test_a_jump_is_shaped_to_multiply():
    made = schedule.linear(10)
    x = torch.zeros(3, 2, 4)
    t, t_prev = schedule.check_jump(made, torch.tensor([9, 4, 0]), None, x)
    assert t.shape == t_prev.shape == (3, 1, 1)
    assert t_prev.flatten().tolist() == [8, 3, -1]
    t, t_prev = schedule.check_jump(made, 5, torch.tensor([[0, 1]] * 3, dtype=torch.int32), x)
    assert t.shape == (1, 1, 1)
    assert t_prev.shape == (3, 2, 1)
    assert t_prev.dtype == torch.int64


@pytest.mark.parametrize(
    ("t", "t_prev", "message"),
    [
        (4, 4, "got t_prev=4 and t=4"),
        (torch.tensor([4] * 7), 5, r"got t_prev=5 and t=\[4, 4, 4, 4, 4, …\]"),
        (10, None, "t must lie in 0 … 9"),
        (4, -2, "t_prev must lie in -1 … 9"),
        (4, True, "t_prev must hold whole numbers"),
        (torch.tensor([1, 2]), None, "each of the 7 samples"),
    ],
)
def test_jumps_that_do_not_lead_back_are_refused(t, t_prev, message):
    with pytest.raises(ValueError, match=message):
        schedule.check_jump(schedule.linear(10), t, t_prev, torch.zeros(7, 2))
