"""What is wrong, said once for each change: what is tried every few seconds would say it every few seconds."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Notices"]


class Notices:
    """say: takes a sentence. A subject that is wrong is wrong for one reason at a time."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._wrong: dict[str, str] = {}

    def wrong(self, subject: str, why: str, reason: str | None = None) -> None:
        """Say why something is wrong, unless the subject was wrong for this reason when it was last looked at.

        reason: what stands for ``why`` where its words differ from time to time.
        """
        if self._wrong.get(subject) != (reason or why):
            self._wrong[subject] = reason or why
            self._say(why)

    def well(self, subject: str, again: str) -> None:
        """Say ``again`` where the subject was wrong before."""
        if self._wrong.pop(subject, None) is not None:
            self._say(again)

    def only(self, kind: str, whys: dict[str, str]) -> None:
        """Say what is wrong with the subjects of a kind, and of those not among them that they are well again."""
        for subject, why in whys.items():
            self.wrong(f"{kind} {subject}", why)
        for known in [key for key in self._wrong if key.startswith(f"{kind} ")]:
            if (subject := known.removeprefix(f"{kind} ")) not in whys:
                self.well(known, f"{kind} {subject} is reported again")
