"""A clock that the test sets."""


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s
