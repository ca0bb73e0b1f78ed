"""The simulated FR3. MuJoCo learns how to draw when it is imported: through EGL, without a display, or not at all."""

import os
from ctypes.util import find_library

if os.environ.get("MUJOCO_GL", "egl") == "egl":
    os.environ["MUJOCO_GL"] = "egl" if find_library("EGL") else "disabled"
