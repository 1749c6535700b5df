"""Whether the runtime is ready, and why not, in the container's log: who asks by HTTP learns a status only."""

import threading

# The operator reads the last 90 s of the log.
REPEATED_SECONDS = 30


class Readiness:
    """What is missing, told whenever it changes and again and again until nothing is."""

    def __init__(self, missing):
        self._changed = threading.Condition()
        self._missing = list(missing)
        self._write()

    @property
    def ready(self):
        """Whether nothing is missing."""
        return not self._missing

    def say(self, missing):
        """From now on these lines say what is missing."""
        with self._changed:
            self._missing = list(missing)
            self._write()
            self._changed.notify()

    def repeat(self):
        """Ends when the runtime is ready."""
        with self._changed:
            while self._missing:
                if not self._changed.wait(REPEATED_SECONDS):
                    self._write()

    def _write(self):
        print("launchway-ready:", *(self._missing or ["ready"]), sep="\t", flush=True)
