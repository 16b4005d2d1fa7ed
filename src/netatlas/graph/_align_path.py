"""The best order-preserving matching of two sequences: Needleman and Wunsch with gaps that cost once however long (Gotoh 1982)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

GAP = 4
"""Price of a run of unmatched nodes."""

_OUT = -(10**8)


def best_path(n: int, m: int, row: Callable[[int], npt.NDArray[np.int32]], gap: int = GAP) -> list[tuple[int, int]]:
    """Pairs ``(i, j)``, ascending in both, of the matching with the largest sum of likenesses less ``gap`` per run left out.

    Rows are computed whole, O(n m) with n steps of numpy; one byte per cell is kept.

    Args:
        n: Length of the first sequence.
        m: Length of the second.
        row: Likeness of an element of the first to all of the second ``(m,)``.
        gap: Price of a run of unmatched elements.
    """
    if not n or not m:
        return []
    moves = np.zeros((n + 1, m + 1), dtype=np.uint8)  # see _traced
    best = np.full(m + 1, -gap, dtype=np.int32)
    best[0] = 0
    moves[0, 1:] = 2
    up = np.full(m + 1, _OUT, dtype=np.int32)
    match = np.full(m + 1, _OUT, dtype=np.int32)
    for i in range(1, n + 1):
        match[1:] = best[:-1] + row(i - 1)
        opened = best - gap
        opens = opened >= up
        up = np.maximum(opened, up)
        closed = np.maximum(match, up)
        run = np.maximum.accumulate(closed)
        left = np.empty_like(run)
        left[0] = _OUT
        left[1:] = run[:-1] - gap
        # A run to the left opens where the cell before is itself the maximum; otherwise it goes on.
        left_opens = np.empty(m + 1, dtype=bool)
        left_opens[0] = False
        left_opens[1:] = closed[:-1] == run[:-1]
        best = np.maximum(closed, left)
        state = np.where(match == best, 0, np.where(up == best, 1, 2))
        moves[i] = state | (opens << 2) | (left_opens << 3) | ((closed > match) << 4)
        match = np.full(m + 1, _OUT, dtype=np.int32)
    return _traced(moves, n, m)


def _traced(moves: npt.NDArray[np.uint8], n: int, m: int) -> list[tuple[int, int]]:
    """The pairs on the way back from the end.

    Bits of a move: 1 and 2, the best state (0 match, 1 a gap in the second sequence, 2 one in the first); 4, the gap in the second
    opens here; 8, the one in the first does; 16, the best state but a gap in the first is a gap in the second.
    """
    pairs = []
    i, j = n, m
    state = int(moves[i, j]) & 3
    while i and j:
        cell = int(moves[i, j])
        if state == 0:
            i, j = i - 1, j - 1
            pairs.append((i, j))
            state = int(moves[i, j]) & 3
        elif state == 1:
            i -= 1
            if cell & 4:
                state = int(moves[i, j]) & 3
        else:
            j -= 1
            if cell & 8:
                state = int(moves[i, j]) >> 4 & 1
    return pairs[::-1]
