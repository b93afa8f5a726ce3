"""Memory for copies of tensors, used again by later copies."""
from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Smaller ones come from the allocator's own pool, and cost little.
_LEAST_BYTES = 1 << 20


class CopyMemory:
    """Copies storages, into those that were given back if they fit: the kernel
    clears fresh memory page by page, which takes several times as long as the
    copy, and the caller waits for both.

    What lies here unused is at most `copies` times the state that was given
    back last. Thread-safe.

    Args:
        copies: of a whole state, at once.
    """

    def __init__(self, copies: int) -> None:
        self._copies = copies
        self._lock = threading.Lock()
        # By size; guarded by _lock, as is the rest.
        self._unused: dict[int, list[torch.UntypedStorage]] = {}

    def copy(self, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        """A storage on the CPU with the same bytes."""
        size = storage.nbytes()
        with self._lock:
            fitting = self._unused.get(size)
            target = fitting.pop() if fitting else None
        if target is None:
            return storage.clone()
        return target.copy_(storage)  # type: ignore[no-any-return]

    def give_back(self, copies: list[torch.UntypedStorage]) -> None:
        """All copies of one state, which nobody reads any more. Sizes that this
        state did not have are let go."""
        counts: dict[int, int] = {}
        for storage in copies:
            size = storage.nbytes()
            if size >= _LEAST_BYTES:
                counts[size] = counts.get(size, 0) + 1
        with self._lock:
            self._unused = {size: self._unused.get(size, [])
                            for size in counts}
            for storage in copies:
                unused = self._unused.get(storage.nbytes())
                if unused is not None and len(unused) < (
                        self._copies * counts[storage.nbytes()]):
                    unused.append(storage)

    def clear(self) -> None:
        """Lets go what lies here."""
        with self._lock:
            self._unused = {}
