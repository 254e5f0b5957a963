"""The model of compare_backends.py, in a file of its own so that workers can import it."""

import torch


class SmallNet(torch.nn.Module):
    """Two linear layers with a GELU between them: x[batch, 64] -> [batch, 10]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = torch.nn.Linear(64, width)
        self.second = torch.nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, float, shape [batch, 10]."""
        return self.second(torch.nn.functional.gelu(self.first(x)))
