"""Standard output that is no terminal: without the blanks with which tables are filled up to the right."""

from __future__ import annotations

import re
from typing import IO, Any


class Piped:
    """Writes what it is given to a stream, without blanks at the ends of lines. Anything else is the stream's."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._held = ""  # blanks of which it is not known yet whether the line ends behind them

    def write(self, text: str) -> int:
        """The number of characters that were given."""
        whole = re.sub(r" +\n", "\n", self._held + text)
        kept = whole.rstrip(" ")
        self._held = whole[len(kept) :]
        self._stream.write(kept)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
