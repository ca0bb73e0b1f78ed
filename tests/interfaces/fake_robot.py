"""The process of fake_franka.py, as its starter sees it."""

import json
import queue
import subprocess
import sys
import threading

import stand_ins


class FakeRobot:
    """Needs stand_ins.environment() in the environment; `heard` holds what it told."""

    def __init__(self):
        command = [sys.executable, str(stand_ins.HERE / "fake_franka.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._lines, self.heard = queue.Queue(), []
        threading.Thread(target=lambda: [*map(self._lines.put, self._process.stdout)], daemon=True).start()

    def listen(self):
        while not self._lines.empty():
            self.heard.append(json.loads(self._lines.get()))

    @property
    def goals(self):
        self.listen()
        return [told for told in self.heard if "goal" in told]

    def tell(self, line):
        self._process.stdin.write(f"{line}\n")

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
