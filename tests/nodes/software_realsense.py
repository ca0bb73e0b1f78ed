"""The realsense node with two software cameras: 43, unplugged while the file named by GONE exists, and 44.

What 44 sees is 800 mm away everywhere.
"""

import os
import sys
import threading
import time
from pathlib import Path

from tmrl_ros.nodes import runtime
from tmrl_ros.nodes.realsense import RealSenseNode


def main():
    sys.path.append(str(Path(__file__).parents[1] / "perception"))
    from software_camera import FPS, SoftwareCamera, depth_image  # after rclpy, see sdk() in perception/realsense.py

    front, side = SoftwareCamera("43"), SoftwareCamera("44")
    gone, ending, flat = Path(os.environ["GONE"]), threading.Event(), depth_image() * 0 + 800

    def feed():
        number = 0
        while not ending.wait(1 / FPS):
            number += 1
            side.feed(number, time.time() * 1000, depth_counts=flat)
            if not gone.exists():
                front.feed(number, time.time() * 1000)

    def find(serial):
        return {"43": None if gone.exists() else front.device, "44": side.device}.get(serial)

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        runtime.run(lambda: RealSenseNode(find))
    finally:
        ending.set()
        feeding.join()


if __name__ == "__main__":
    main()
