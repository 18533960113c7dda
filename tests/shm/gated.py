"""Run a protocol one shared access at a time, and kill it between any two.

A side of a protocol (a producer, a reader ...) runs on a thread that pauses before every load and store of shared
memory. The test says who goes next; a side that is killed makes no further access, as after a SIGKILL.
"""

import threading

import numpy as np

POISON = 0xA5


class Killed(BaseException):
    """Ends a side's thread; a BaseException, so that clean-up code that runs on it is stopped at its first access."""


class Side:
    """One simulated process."""

    def __init__(self):
        self.dead = False
        self.busy = False
        self.accesses = 0
        self._error: BaseException | None = None
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)

    def start(self, operation):
        """Begin `operation()`; it stands before its first access."""
        assert not self.busy and not self.dead
        self.busy = True
        threading.Thread(target=self._run, args=(operation,), daemon=True).start()
        self._wait()

    def step(self, accesses=1):
        """Let it make that many accesses, or fewer if it ends before."""
        for _ in range(accesses):
            if not self.busy:
                return
            self._go.release()
            self._wait()

    def finish(self):
        while self.busy:
            self.step()

    def kill(self):
        self.dead = True
        self.finish()

    def gate(self):
        """Called by the side's own thread before each access."""
        if self.dead:
            raise Killed
        if not self.busy:
            return  # called by the test itself, outside an operation
        self._paused.release()
        self._go.acquire()
        if self.dead:
            raise Killed
        self.accesses += 1

    def _run(self, operation):
        try:
            operation()
        except Killed:
            pass  # the death that the test asked for
        except BaseException as error:
            self._error = error
        self.busy = False
        self._paused.release()

    def _wait(self):
        self._paused.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error


class Party:
    """One end of a protocol, held by one simulated process after another.

    attach(gate): returns the end; act(end, gate): one operation of it.
    """

    def __init__(self, attach, act):
        self._attach, self._act = attach, act
        self.side, self.end = Side(), None

    def start(self):
        """Attach if no process does, else act."""
        self.side.start(self._take if self.end is None else lambda: self._act(self.end, self.side.gate))

    def kill(self):
        self.side.kill()
        self.side, self.end = Side(), None

    def _take(self):
        self.end = self._attach(self.side.gate)


class GatedWords:
    """The words of a segment, for one side."""

    def __init__(self, words, gate):
        self._words, self._gate = words, gate

    def __getitem__(self, index):
        self._gate()
        return self._words[index]

    def __setitem__(self, index, value):
        self._gate()
        self._words[index] = value


class GatedArray(np.ndarray):
    """Bytes that are copied, out or into, in four parts, with a gate before each."""

    @classmethod
    def of(cls, array, gate):
        gated = array.view(cls)
        gated.gate = gate
        return gated

    def __array_finalize__(self, source):
        self.gate = getattr(source, "gate", None)

    def __array_function__(self, function, types, arguments, keywords):
        if function is np.copyto:
            self[...] = arguments[1]
            return None
        return super().__array_function__(function, types, arguments, keywords)

    def copy(self):
        copied = np.zeros(self.shape, self.dtype)
        GatedArray.of(copied, self.gate)[...] = self.view(np.ndarray)
        return copied

    def __setitem__(self, index, value):
        target, value = self.view(np.ndarray)[index], np.asarray(value)
        for part in np.array_split(np.arange(target.size), 4):
            self.gate()
            target[part] = value[part]
