"""The devices that a test can run on here."""

import pytest
import torch

on_every_device = pytest.mark.parametrize(
    "device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
)
