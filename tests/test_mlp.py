"""The small network for points."""

import pytest
import torch
from devices import on_every_device

from course_utils.diffusion.mlp import MLP


def points(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@on_every_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_answers_in_the_shape_dtype_and_device_of_the_points(dim, dtype, device):
    model = MLP(10, dim=dim, width=8, depth=1).to(device, dtype)
    x = points(5, dim, dtype=dtype).to(device)
    answer = model(x, 3)
    assert answer.shape == (5, dim)
    assert (answer.dtype, answer.device) == (x.dtype, x.device)
    for t in (torch.tensor(3), torch.full((5,), 3), torch.full((5,), 3, device=device)):
        torch.testing.assert_close(model(x, t), answer)


def test_each_sample_sees_its_own_step():
    model = MLP(1000)
    x = points(4, 2)
    t = torch.tensor([0, 1, 500, 999])
    together = model(x, t)
    for k in range(4):
        torch.testing.assert_close(together[k : k + 1], model(x[k : k + 1], int(t[k])))


def test_every_step_looks_different():
    """Sine and cosine of t/T · π/2 and its multiples: no two steps have the same, and neighbours nearly."""
    model = MLP(1000)
    seen = []
    model.layers.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(torch.zeros(1000, 2), torch.arange(1000))
    embedding = seen[0][:, 2:]
    assert embedding.abs().max() <= 1
    apart = torch.cdist(embedding, embedding) + 1000 * torch.eye(1000)
    assert apart.min() > 0.01
    assert (embedding[1:] - embedding[:-1]).norm(dim=1).max() < 0.1


@pytest.mark.parametrize(("depth", "linear"), [(0, 1), (1, 2), (3, 4)])
def test_depth_is_the_number_of_hidden_layers(depth, linear):
    model = MLP(10, width=16, depth=depth, frequencies=4)
    layers = [layer for layer in model.layers if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == linear
    assert layers[0].in_features == 2 + 8
    assert layers[-1].out_features == 2
    assert model(points(3, 2), 9).shape == (3, 2)


def test_gradients_reach_every_parameter_and_the_points():
    model = MLP(10, width=8)
    x = points(5, 2).requires_grad_()
    model(x, torch.arange(5)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    assert x.grad.abs().sum() > 0
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}
