"""What cameras showed at the rows of demonstrations, as a store takes it."""

from collections.abc import Iterable

import numpy as np

from tmrl_ros.data.assembler import DemoEpisode
from tmrl_ros.errors import DataError


def seen_at_rows(kept: Iterable[DemoEpisode]) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Images uint8 [rows, height, width, 3] by camera, and clouds float32 [rows, points, 3 or 6] or None.

    Raises DataError where an observation lacks what others have.
    """
    rows = [observation for episode in kept for observation in episode.seen]
    cameras = sorted({name for seen in rows for name in seen.images})
    try:
        images = {camera: np.stack([seen.images[camera] for seen in rows]) for camera in cameras}
        clouds = np.stack([seen.cloud for seen in rows]) if any(seen.cloud is not None for seen in rows) else None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"demonstrations do not all have the same images and clouds ({error}); collect again") from None
    return images, clouds
