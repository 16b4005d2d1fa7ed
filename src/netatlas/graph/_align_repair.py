"""What a sequence alignment leaves to be put right: gaps moved to where modules begin, branches listed in another order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from netatlas.graph._align_labels import Labels, Side
from netatlas.graph._diff_units import belonging

MOST_SHIFTS = 1024
"""Places a gap is tried at in each direction."""


class Matching:
    """A one-to-one matching under repair.

    Args:
        labels: Both graphs.
        pairs: Matched nodes.

    Attributes:
        to_b: Partner of every node of the first graph, -1 for none.
        to_a: Partner of every node of the second graph, -1 for none.
    """

    def __init__(self, labels: Labels, pairs: Sequence[tuple[int, int]]) -> None:
        self.labels = labels
        self.to_b = [-1] * len(labels.a.graph)
        self.to_a = [-1] * len(labels.b.graph)
        for i, j in pairs:
            self.to_b[i], self.to_a[j] = j, i
        self._full = [x.tolist() for x in labels.full]
        self._own = [x.tolist() for x in labels.own]

    def keep_to_parts(self) -> None:
        """Take apart nodes that are not alike, layers of other widths included, where hardly anything else joins their parts.

        The first convolution of one block has not become the one of another block that has its own counterpart.
        """
        if self.labels.owner is None:
            return
        ours, theirs = (x.tolist() for x in self.labels.owner)
        layers = self.labels.a.is_layer.tolist()
        together = belonging([(ours[i], theirs[j]) for i, j in enumerate(self.to_b) if j >= 0], Counter(ours), Counter(theirs))
        for i, j in enumerate(self.to_b):
            key = self._full if layers[i] else self._own
            if j >= 0 and (ours[i], theirs[j]) not in together and key[0][i] != key[1][j]:
                self.to_b[i] = self.to_a[j] = -1

    # ------------------------------------------------------------ gaps

    def shift_gaps(self) -> None:
        """Move every run of nodes without partner, within what repetition leaves open, to where the fewest tensors pass.

        Sixteen equal blocks against seventeen match in seventeen ways and, started anywhere, in many more; the one that reads well
        leaves out a module from its first to its last operator.
        """
        for side, own, other, mine in (
            (self.labels.b, self.to_a, self.to_b, self._full[1]),
            (self.labels.a, self.to_b, self.to_a, self._full[0]),
        ):
            stop = 0
            while (start := _next_gap(own, stop)) >= 0:
                stop = start
                while stop < len(own) and own[stop] < 0:
                    stop += 1
                stop = max(stop, self._shift(side, own, other, start, stop, mine))

    def _shift(self, side: Side, own: list[int], other: list[int], start: int, stop: int, mine: list[int]) -> int:
        """Move the gap ``own[start:stop]``; its end afterwards."""
        low, high = start, start
        while low > 0 and start - low < MOST_SHIFTS and self._slides(own, other, low - 1, low - 1 + stop - start, mine, -1):
            low -= 1
        while stop + high - start < len(own) and high - start < MOST_SHIFTS:
            if not self._slides(own, other, high + stop - start, high, mine, 1):
                break
            high += 1
        if low == high:
            return stop
        length = stop - start
        best = min(range(low, high + 1), key=lambda s: (self._cost(side, s, s + length), abs(s - start)))
        step = 1 if best > start else -1
        at = start
        while at != best:
            leaving, taking = (at + length, at) if step > 0 else (at - 1, at - 1 + length)
            partner = own[leaving]
            own[leaving], own[taking], other[partner] = -1, partner, taking
            at += step
        return best + length

    @staticmethod
    def _slides(own: list[int], other: list[int], leaving: int, taking: int, mine: list[int], step: int) -> bool:
        """Whether the partner of ``leaving`` may go to ``taking``: both are the same operator, and nothing else lies in the gap."""
        partner = own[leaving]
        if partner < 0 or mine[leaving] != mine[taking]:
            return False
        beside = partner - step
        return not 0 <= beside < len(other) or other[beside] >= 0

    @staticmethod
    def _cost(side: Side, start: int, stop: int) -> tuple[int, int]:
        """How badly a gap cuts: tensors that pass at its ends, then how deep inside modules the ends lie."""
        paths = side.paths
        depth = 0
        for at in (start, stop):
            if 0 < at < len(paths):
                depth += _common(paths[at - 1], paths[at])
        return side.crossing[start] + side.crossing[stop], depth

    # ------------------------------------------------------------ branches

    def fill(self) -> None:
        """Match what is left over by its neighbours: equal operators whose producers or consumers are matched.

        Sequences cross where two graphs list parallel branches in another order; wiring tells then.
        """
        todo = [i for i, j in enumerate(self.to_b) if j < 0]
        if not todo or not any(i < 0 for i in self.to_a):
            return
        for key in (self._full, self._own):
            changed = True
            while changed:
                changed = False
                for i in todo:
                    if self.to_b[i] >= 0:
                        continue
                    if (j := self._by_neighbours(i, key[0], key[1])) >= 0:
                        self.to_b[i], self.to_a[j] = j, i
                        changed = True

    def _by_neighbours(self, i: int, ours: list[int], theirs: list[int]) -> int:
        """The free node of the second graph with the most matched neighbours in common with ``i``; -1 for none."""
        a, b = self.labels.a.graph, self.labels.b.graph
        votes: dict[int, int] = {}
        for sources, onward in ((a.inputs[i], b.consumers), (a.consumers[i], b.inputs)):
            for x in sources[:16]:
                if (y := self.to_b[x]) >= 0:
                    for j in onward[y][:64]:
                        if self.to_a[j] < 0 and theirs[j] == ours[i]:
                            votes[j] = votes.get(j, 0) + 1
        return max(votes, key=lambda j: (votes[j], -j)) if votes else -1


def _next_gap(partners: list[int], start: int) -> int:
    try:
        return partners.index(-1, start)
    except ValueError:
        return -1


def _common(a: str, b: str) -> int:
    """Leading names that two module paths share."""
    n = 0
    for x, y in zip(a.split("."), b.split("."), strict=False):
        if x != y:
            break
        n += 1
    return n
