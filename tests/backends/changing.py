"""Models whose calls are not alike, and some that only look so, which tests name as ``changing.py:function``."""

import collections
import functools

import torch

HISTORY: list[int] = []


class Counter(torch.nn.Module):
    """Counts its calls in a buffer that the output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)
        self.register_buffer("step", torch.zeros(()))

    def forward(self, x):
        self.step.add_(1)
        return self.layer(x) * self.step


class ShiftsInPlace(torch.nn.Module):
    """Writes to its input, which the program that is exported of it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, x):
        x.add_(1.0)
        return self.layer(x)


class Keys(torch.nn.Module):
    """A cache that grows with each call, of equal rows, so that the outputs stay the same."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = None

    def forward(self, x):
        x = x[:, None]
        self.keys = x if self.keys is None else torch.cat([self.keys, x], 1)
        return torch.softmax(x @ self.keys.transpose(1, 2), -1) @ self.keys


class Normalises(torch.nn.Module):
    """A batch norm that is left in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(8)

    def forward(self, x):
        self.norm.train()
        return self.norm(x)


class Memory:
    """A plain object with state."""

    __slots__ = ("hidden", "queue")

    def __init__(self) -> None:
        self.hidden = 0.0
        self.queue = collections.deque(maxlen=2)


class Hides(torch.nn.Module):
    """State in a closure, a plain object, a class attribute, a global of the file and a function's cache."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        total = []

        def count(x):
            total.append(0)
            return x

        self.count = count

    def forward(self, x):
        Hides.calls += 1
        HISTORY.append(1)
        self.memory.hidden = self.memory.hidden + x.abs().mean()
        squares(Hides.calls)
        return self.count(x)


@functools.cache
def squares(n):
    return n * n


class Dropout(torch.nn.Module):
    """Dropout that is active whatever the mode."""

    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.5)


class NoisyScores(torch.nn.Module):
    """Noise that is small beside the rest of the output."""

    def forward(self, x):
        return torch.cat([x * 640, torch.rand_like(x)], -1)


class Rolls(torch.nn.Module):
    """A buffer whose values move, so that their sum stays."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ring", torch.arange(8.0))

    def forward(self, x):
        self.ring.copy_(self.ring.roll(1))
        return x + 1


class Steady(torch.nn.Module):
    """Keeps what each call writes again with equal values: features, a list, a grid of its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.features = [None]
        self.grid = None
        self.register_buffer("sparse", torch.eye(3).to_sparse())

    def forward(self, x):
        if self.grid is None:
            self.grid = torch.arange(8.0, dtype=x.dtype)
        self.features[0] = self.last = self.norm(self.layer(x))
        return self.last + self.grid


@functools.lru_cache
def grid(n):
    return torch.arange(1.0, n + 1)


class Returns(torch.nn.Module):
    """Returns tensors that it keeps in a function's cache, a closure and a plain object, and computes with one."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 8)
        table = torch.arange(16.0)
        self.slice = lambda n: table[:n]
        self.helper = Memory()
        self.helper.hidden = torch.ones(3)

    def forward(self, x):
        anchors = grid(x.shape[1])
        return self.head(x) * anchors, anchors, self.slice(5), self.helper.hidden


class Buffers(torch.nn.Module):
    """Returns a buffer that it computes with, and a part of it: constants where the program is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 8)
        self.register_buffer("anchors", torch.arange(1.0, 9))

    def forward(self, x):
        return self.head(x) * self.anchors, self.anchors, self.anchors[2:5]


class Complex(torch.nn.Module):
    """A spectrum, its conjugate view, and a rotation in float32."""

    def forward(self, x):
        spectrum = torch.fft.fft(x.float())
        return spectrum, spectrum.conj(), torch.complex(x.float(), -x.float()).mH


class Forces(torch.nn.Module):
    """The gradient of an energy, with gradients switched on where it needs them, or left as the caller has them."""

    def __init__(self, switch: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)
        self.switch = switch

    def forward(self, x):
        with torch.enable_grad() if self.switch else torch.autograd.set_detect_anomaly(False):
            x = x.detach().clone().requires_grad_(True)
            energy = torch.tanh(self.layer(x)).sum()
            (gradient,) = torch.autograd.grad(energy, x)
        return energy, -gradient


class Masks(torch.nn.Module):
    """Scores with a mask of minus infinity, and with the lowest number of their type."""

    def forward(self, x):
        mask = torch.arange(x.shape[1]) > 3
        return x.masked_fill(mask, float("-inf")), x.masked_fill(mask, torch.finfo(x.dtype).min)


def counter():
    return Counter()


def shifts_in_place():
    return ShiftsInPlace()


def keys():
    return Keys()


def normalises():
    return Normalises()


def hides():
    return Hides()


def dropout():
    return Dropout()


def noisy_scores():
    return NoisyScores()


def rolls():
    return Rolls()


def steady():
    return Steady()


def returns():
    return Returns()


def buffers():
    return Buffers()


def complexes():
    return Complex()


def forces():
    return Forces(switch=True)


def plain_forces():
    return Forces(switch=False)


def masks():
    return Masks()
