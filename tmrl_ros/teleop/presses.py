"""What a person's presses come to: the hand's open-or-close, and keep and discard, each said for a moment."""

SAID = 2  # commands that carry one press: a robot's supervisor may skip one, and a reset follows either


class Presses:
    """State that any device shares; `close_gripper` stays, keep and discard fade."""

    def __init__(self):
        self.close_gripper = False
        self._left = {"keep": 0, "discard": 0}
        self._gripped = False  # since the last command

    def grip(self) -> None:
        self.close_gripper, self._gripped = not self.close_gripper, True

    def follow(self, closed: bool) -> None:
        """The hand as the policy has it: whoever takes the arm begins with that, and one press changes it.

        A press that no command has carried yet stands: it may be the one that takes the arm.
        """
        if not self._gripped:
            self.close_gripper = closed

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
        self._gripped = False
        return {"close_gripper": self.close_gripper, **said}
