"""Networks that read small tensors are traced without data."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from netatlas.sources._known_values import following, know


class Reader(torch.nn.Module):
    """Looks at its inputs in all the ways networks of the zoo do."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("limit", torch.tensor([2, 3]), persistent=False)

    def forward(self, x, grid=None, ids=None):
        t, h, w = grid[0].tolist()
        y = self.linear(x).view(t, h, w, 4)
        if (ids == 3).any() and int(self.limit.sum()) == 5:
            y = y + 1
        sizes = torch.repeat_interleave(grid[:, 1] * grid[:, 2], grid[:, 0])
        parts = torch.split(y.view(-1, 4), sizes.tolist())
        self.last = sizes
        places = grid[:, [0, 2, 1]].prod(-1).cumsum(0)
        steps = torch.arange(int(places[-1]), device=x.device)
        steps[1:3] = 7
        again = torch.tensor([steps[1], 1], device=x.device).sum().item()
        return parts[0][:again], y.view(-1, 4)[:3][ids[0] == 3], torch.masked_select(x[:3], (ids[0] == 3)[:, None])


GRID, IDS = torch.tensor([[1, 2, 4]]), torch.tensor([[1, 3, 3]])
SHAPES = [(8, 4), (2, 4), (8,)]


def reader():
    with torch.device("meta"), following() as follow:
        module = Reader()
        buffers = {n: follow.value(b) for n, b in module.named_buffers()}
    known = {"grid": GRID, "ids": IDS}
    kwargs = {"x": torch.empty(8, 4, device="meta"), **{n: v.to("meta") for n, v in known.items()}}
    return know(module, known, buffers), kwargs


def shapes(output):
    return [tuple(x.shape) for x in output]


def test_agrees_with_the_real_pass():
    assert shapes(Reader()(torch.zeros(8, 4), GRID, IDS)) == SHAPES


def test_runs_on_meta():
    module, kwargs = reader()
    assert shapes(module(**kwargs)) == SHAPES
    assert not hasattr(module, "last")


def test_exports_with_plain_sizes():
    module, kwargs = reader()
    program = torch.export.export(module, (), kwargs, strict=False)
    output = next(n for n in program.graph.nodes if n.op == "output")
    assert [tuple(n.meta["val"].shape) for n in output.args[0]] == SHAPES
    assert not program.range_constraints


def test_without_values_it_cannot_be_run():
    module, kwargs = reader()
    with pytest.raises((RuntimeError, NotImplementedError)):
        type(module).forward(module, **kwargs)


def test_deep_copy_runs_itself():
    module, kwargs = reader()
    twin = copy.deepcopy(module)
    twin.linear = torch.nn.Linear(4, 4, bias=False, device="meta")
    calls = []
    twin.linear.register_forward_hook(lambda *_: calls.append(1))
    twin(**kwargs)
    assert calls == [1]


def test_values_overwritten_by_unknown_ones_are_forgotten():
    with following() as follow:
        x = torch.zeros(3, device="meta")
        assert follow.value(x).tolist() == [0, 0, 0]
        x[0] = torch.empty(4, device="meta").normal_().sum()
        assert follow.value(x) is None


def test_random_numbers_are_not_known():
    with following() as follow:
        assert follow.value(torch.rand(3, device="meta")) is None
        assert follow.value(torch.zeros(3, device="meta").normal_()) is None
