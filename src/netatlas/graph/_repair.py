"""Re-Pair: runs of a sequence found by joining its most frequent pair of neighbours again and again."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence

LONGEST = 16
"""Most elements a run may grow to."""


def repair(seq: Sequence[int], longest: int = LONGEST) -> list[int]:
    """Lengths of the runs, summing to ``len(seq)``.

    Larsson and Moffat, "Offline dictionary-based compression", DCC 1999, without the dictionary: while a pair of neighbouring
    symbols occurs at least twice, the most frequent one becomes a symbol of its own, unless it would stand for more than
    ``longest`` elements. Of equally frequent pairs the one with the smaller symbols is taken, and overlapping occurrences are
    joined from the left. O(n log n).
    """
    state = _Sequence(seq, longest)
    while (pair := state.most_frequent()) is not None:
        state.join(pair)
    return state.lengths()


class _Sequence:
    """A doubly linked sequence of symbols that knows where every pair of neighbours occurs."""

    def __init__(self, seq: Sequence[int], longest: int) -> None:
        self.symbol = list(seq)
        self.length = dict.fromkeys(self.symbol, 1)
        self.newest = max(self.symbol, default=0)
        self.longest = longest
        self.before = list(range(-1, len(seq) - 1))
        self.after = [*range(1, len(seq)), -1] if seq else []
        self.alive = [True] * len(seq)
        self.places: dict[tuple[int, int], set[int]] = defaultdict(set)
        self.count: dict[tuple[int, int], int] = {}
        self.heap: list[tuple[int, tuple[int, int]]] = []
        for i in range(len(seq) - 1):
            self.places[self._pair(i)].add(i)
        self._recount(list(self.places))

    def _pair(self, i: int) -> tuple[int, int]:
        return self.symbol[i], self.symbol[self.after[i]]

    def most_frequent(self) -> tuple[int, int] | None:
        """The pair to join next; what the heap says of a pair that was counted again since is passed over."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            if self.count.get(pair) == -count:
                return pair
        return None

    def _recount(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Count occurrences that do not overlap, once per pair and joining, so that a long run of one symbol stays cheap."""
        for pair in pairs:
            places = self.places[pair]
            count = len(places) if pair[0] != pair[1] else self._apart(places)
            self.count[pair] = count
            if count >= 2 and self.length[pair[0]] + self.length[pair[1]] <= self.longest:
                heapq.heappush(self.heap, (-count, pair))

    def _apart(self, places: set[int]) -> int:
        count, blocked = 0, -1
        for i in sorted(places):
            if i != blocked:
                count, blocked = count + 1, self.after[i]
        return count

    def join(self, pair: tuple[int, int]) -> None:
        """Replace every occurrence of a pair by a new symbol."""
        self.newest += 1
        self.length[self.newest] = self.length[pair[0]] + self.length[pair[1]]
        touched: set[tuple[int, int]] = {pair}
        for i in sorted(self.places[pair]):
            if self.alive[i] and self.after[i] >= 0 and self._pair(i) == pair:
                self._replace(i, touched)
        self._recount(sorted(touched))

    def _replace(self, i: int, touched: set[tuple[int, int]]) -> None:
        gone, previous = self.after[i], self.before[i]
        for place in (previous, i, gone):
            if place >= 0 and self.after[place] >= 0:
                touched.add(self._pair(place))
                self.places[self._pair(place)].discard(place)
        self.symbol[i], self.alive[gone], self.after[i] = self.newest, False, self.after[gone]
        if self.after[i] >= 0:
            self.before[self.after[i]] = i
        for place in (previous, i):
            if place >= 0 and self.after[place] >= 0:
                touched.add(self._pair(place))
                self.places[self._pair(place)].add(place)

    def lengths(self) -> list[int]:
        return [self.length[symbol] for symbol, alive in zip(self.symbol, self.alive, strict=True) if alive]
