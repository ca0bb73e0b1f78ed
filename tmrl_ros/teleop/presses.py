"""What a person's presses come to: the hand's open-or-close, and keep and discard, each said for a moment."""

SAID = 2  # commands that carry one press: a robot's supervisor may skip one, and a reset follows either


class Presses:
    """State that any device shares; `close_gripper` stays, keep and discard fade."""

    def __init__(self):
        self.close_gripper = False
        self._left = {"keep": 0, "discard": 0}

    def grip(self) -> None:
        self.close_gripper = not self.close_gripper

    def say(self, verdict: str) -> None:
        """`verdict` is "keep" or "discard"; the newer one stands."""
        self._left = {name: SAID * (name == verdict) for name in self._left}

    def episode_ended(self) -> None:
        """The reset opens the hand, so the next episode begins with an open one."""
        self.close_gripper = False

    def take(self) -> dict[str, bool]:
        """Fields of the next TeleopCommand; what was said counts down."""
        said = {name: left > 0 for name, left in self._left.items()}
        self._left = {name: max(0, left - 1) for name, left in self._left.items()}
        return {"close_gripper": self.close_gripper, **said}
