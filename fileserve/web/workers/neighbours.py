"""``Neighbours``: how one worker is with the others: the doorbell, and its part in the elections.

All are files beside the log of events. Where somebody has deleted them (caches are cleared), the workers would be deaf
to each other, and a new one elected beside the old; so each worker looks for its own socket when it rings, and now and
then, and settles anew. What fails of it is tried at the next look.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from fileserve.web.workers.doorbell import Doorbell
from fileserve.web.workers.election import Election

__all__ = ["Neighbours"]

log = logging.getLogger("fileserve.bus")


class Neighbours:
    """The other workers that keep their events in *place*, as the one that is made here meets them.

    *rung* is called when another has written rows, *told* with each message. Raises ``OSError`` where no lock can be
    held; where there can only be no doorbell, the log says so.
    """

    def __init__(self, place: Path, rung: Callable[[], None], told: Callable[[bytes], None]) -> None:
        self._place = place
        self._rung = rung
        self._told = told
        self._elections = {"": Election(place.with_suffix(".lock"))}
        self._doorbell = self._hang()

    @property
    def is_elected(self) -> bool:
        """Whether this worker is the elected one."""
        return self._elections[""].is_elected

    def holds(self, office: str) -> bool:
        """Whether this worker is the one that has *office*, for which it stands once it asks. Raises ``OSError``."""
        if office not in self._elections:
            self._elections[office] = Election(self._lock_of(office))
        return self._elections[office].is_elected

    @property
    def can_ring(self) -> bool:
        """Whether there is a doorbell."""
        return self._doorbell is not None

    def ring(self) -> None:
        """Wake the others. For any thread."""
        if self._doorbell is not None:
            self._doorbell.ring()

    def send(self, message: bytes) -> None:
        """Send *message* to the others, as far as there is room for it."""
        if self._doorbell is not None:
            self._doorbell.send(message)

    def are_lost(self) -> bool:
        """Tell whether what they meet at was deleted. For any thread; it asks the disk."""
        return self._doorbell is not None and not self._doorbell.is_hung()

    def settle_anew(self) -> None:
        """Hang the doorbell again, and stand for election again.

        Raises as the first time; then the lost doorbell stays, so that `are_lost` says so again.
        """
        log.warning("the files beside the log of events were deleted; they are made anew")
        self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for office, election in self._elections.items():
            election.stand(self._lock_of(office))
        lost, self._doorbell = self._doorbell, self._hang()
        if lost is not None:
            lost.close()

    def close(self) -> None:
        """Leave them."""
        for election in self._elections.values():
            election.close()
        doorbell, self._doorbell = self._doorbell, None
        if doorbell is not None:
            doorbell.close()

    def _lock_of(self, office: str) -> Path:
        return self._place.with_suffix(f".{office}.lock" if office else ".lock")

    def _hang(self) -> Doorbell | None:
        try:
            return Doorbell(self._place.with_suffix(".bells"), self._rung, self._told)
        except OSError as error:
            log.warning("workers cannot wake each other; they look for events each second: %s", error)
            return None
