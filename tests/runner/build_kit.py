"""A model file that tests of `trtbench build` add models to."""

from __future__ import annotations

ZOO = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)

    def forward(self, x):
        return self.linear(x).relu()
"""
