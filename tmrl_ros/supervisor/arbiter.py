"""Who moves the arm. HOLD lies between every two other modes; a hold with a reason stays until a person resumes."""

from tmrl_ros.types import Mode


class Arbiter:
    def __init__(self):
        self.mode, self.wanted = Mode.HOLD, Mode.HOLD
        self.reason = ""  # latched; empty: the hold is only a passage

    @property
    def latched(self) -> bool:
        return bool(self.reason)

    def want(self, mode: Mode) -> None:
        """Go to `mode` as soon as the arm stands; until then, and for this tick at least, HOLD."""
        self.wanted = mode
        if self.mode != mode and not self.latched:
            self.mode = Mode.HOLD

    def stop(self, mode: Mode, reason: str) -> None:
        """HOLD or FAULT until resume; the first reason stays, and only FAULT replaces HOLD."""
        if not self.latched or (mode == Mode.FAULT and self.mode != Mode.FAULT):
            self.reason, self.mode = reason, mode
        self.wanted = Mode.HOLD

    def resume(self) -> None:
        self.reason, self.mode, self.wanted = "", Mode.HOLD, Mode.HOLD

    def tick(self, standing: bool) -> Mode:
        if self.mode == Mode.HOLD and standing and not self.latched:
            self.mode = self.wanted
        return self.mode
