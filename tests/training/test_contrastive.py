"""Contrastive losses against closed forms and loops."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")

from torch import nn

from netatlas.training.contrastive import class_contrast, info_nce, minimise, supervised_contrast


def test_class_contrast_in_closed_form():
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert class_contrast(z, torch.zeros(6, dtype=torch.long)).item() == pytest.approx(0, abs=1e-6)
    for b in (2, 5, 16):
        orthogonal = class_contrast(torch.eye(b), torch.arange(b))
        assert orthogonal.item() == pytest.approx(math.log(1 + (b - 1) / math.e), rel=1e-6)


def test_class_contrast_ignores_rotation_and_scale():
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(9, 5, generator=generator), torch.randint(3, (9,), generator=generator)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator))
    torch.testing.assert_close(class_contrast(z, y), class_contrast(7 * z @ turn, y))


def cosine(a, b):
    return (a @ b / a.norm() / b.norm()).item()


def test_supervised_contrast_by_definition():
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(8, 5, generator=generator), torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    total, anchors = 0.0, 0
    for i in range(8):
        positives = [j for j in range(8) if j != i and y[j] == y[i]]
        if positives:
            below = sum(math.exp(cosine(z[i], z[j]) / 0.1) for j in range(8) if j != i)
            total -= sum(math.log(math.exp(cosine(z[i], z[j]) / 0.1) / below) for j in positives) / len(positives)
            anchors += 1
    assert supervised_contrast(z, y).item() == pytest.approx(total / anchors, rel=1e-4)


def test_supervised_contrast_without_pairs_is_zero_and_differentiable():
    z = torch.randn(3, 2, requires_grad=True)
    loss = supervised_contrast(z, torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert not z.grad.any()


def test_info_nce_by_definition_and_its_mask():
    generator = torch.Generator().manual_seed(0)
    a, c = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    alike = torch.rand(5, 5, generator=generator) < 0.4
    expected = 0.0
    for i in range(5):
        others = [j for j in range(5) if j == i or not alike[i, j]]
        below = sum(math.exp(cosine(a[i], c[j]) / 0.1) for j in others)
        expected -= math.log(math.exp(cosine(a[i], c[i]) / 0.1) / below) / 5
    assert info_nce(a, c, alike).item() == pytest.approx(expected, rel=1e-4)


def test_gradients_are_finite_and_point_down():
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([0, 0, 1, 1])
    for loss in (class_contrast, supervised_contrast):
        z = torch.randn(4, 3, generator=generator, requires_grad=True)
        value = loss(z, y)
        value.backward()
        assert z.grad.isfinite().all()
        assert loss(z.detach() - 0.01 * z.grad, y) < value


def test_minimise_learns_only_what_it_is_given():
    learns, fixed = nn.Linear(2, 1), nn.Linear(2, 1)
    before = fixed.weight.clone()
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))

    def train():
        with torch.no_grad():
            learns.weight.fill_(0.5)
            learns.bias.zero_()
        history = minimise(
            lambda rows: (learns(x[rows]) - fixed(x[rows])).square().mean(), [learns], lambda g: torch.randperm(16, generator=g).split(4),
            epochs=20, lr=0.1, generator=torch.Generator().manual_seed(3),
        )  # fmt: skip
        return history, learns.weight.clone()

    (history, weight), (again, same) = train(), train()
    assert history == again
    assert torch.equal(weight, same)
    assert history[-1] < history[0] / 10
    assert torch.equal(fixed.weight, before)
    assert not learns.training
