"""Published systems: what each claims, and what it reaches here.

>>> from netatlas import systems
>>> card = systems.SYSTEMS.build("nar")
>>> result = systems.last("nar")  # what `netatlas systems show nar` prints; systems.run("nar") measures it anew
"""

from netatlas.systems._catalogue import cards, last, run
from netatlas.systems.base import SYSTEMS

__all__ = ["SYSTEMS", "cards", "last", "run"]
