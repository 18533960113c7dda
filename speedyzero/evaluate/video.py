"""Video of one episode: mp4, or GIF if the file's name ends in .gif.

Frames are streamed to imageio-ffmpeg's bundled ffmpeg, so memory does not grow with the film's length. The file gets
its name when it is finished.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from speedyzero.evaluate.overlay import Thought, beside

FRAMES_PER_SECOND = 15  # for games that specify no frame rate
# One palette per frame keeps colours right without buffering the whole film.
_GIF_FILTER = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
_ENCODING: dict[str, dict] = {
    ".mp4": {"codec": "libx264", "pix_fmt_out": "yuv420p", "quality": 8},
    ".gif": {"codec": "gif", "pix_fmt_out": "pal8", "quality": None, "output_params": ["-filter_complex", _GIF_FILTER]},
}


class Film:
    """A film being written. Use it as a context manager: on an exception, the file is removed.

    Raises ValueError for a name that does not end in .mp4 or .gif.
    """

    def __init__(self, path: str | Path, *, frames_per_second: float | None = None):
        """frames_per_second: None if the game specifies none."""
        self.path = Path(path)
        self._frames_per_second = frames_per_second or FRAMES_PER_SECOND
        if self.path.suffix not in _ENCODING:
            raise ValueError(f"video {self.path}: the name must end in {' or '.join(_ENCODING)}")
        self.frames = 0
        self._part = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self._encoder: Generator[None, np.ndarray | None, None] | None = None
        self._shape: tuple[int, ...] = ()

    def add(self, picture: np.ndarray, *, score: float, thought: Thought | None, actions: Sequence[str]) -> None:
        """Append a frame. picture: [H, W, 3] uint8, all of one size; the rest as in `overlay.beside`."""
        if self._encoder is not None and picture.shape != self._shape:
            raise ValueError(f"frame of shape {picture.shape} in a film of shape {self._shape}")
        self._shape = picture.shape
        frame = beside(picture, score=score, thought=thought, actions=actions)
        if self._encoder is None:
            self._encoder = self._start(width=frame.shape[1], height=frame.shape[0])
        self._encoder.send(frame)
        self.frames += 1

    def close(self) -> None:
        """Finish the film and move the file to its name."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
            os.replace(self._part, self.path)

    def __enter__(self) -> Film:
        return self

    def __exit__(self, exception_type: object, *_: object) -> None:
        if exception_type is None:
            self.close()
        elif self._encoder is not None:
            self._encoder.close()
            self._part.unlink(missing_ok=True)

    def _start(self, *, width: int, height: int) -> Generator[None, np.ndarray | None, None]:
        import imageio_ffmpeg  # only needed for films

        self.path.parent.mkdir(parents=True, exist_ok=True)
        encoder = imageio_ffmpeg.write_frames(
            str(self._part),
            (width, height),
            fps=self._frames_per_second,
            macro_block_size=1,
            ffmpeg_log_level="error",
            **_ENCODING[self.path.suffix],
        )
        encoder.send(None)
        return encoder
