"""`tmrl operate`: a session in one line of a terminal, and a key for each thing that its operator does."""

import time

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tmrl_ros.nodes.operating import Operating
from tmrl_ros.session.progress import sentence
from tmrl_ros.teleop.terminal import Terminal
from tmrl_ros.types import SessionState

KEYS = {
    "s": ("start_session", "start"),
    "r": ("resume", "resume after a hold"),
    "p": ("objects_placed", "objects are placed"),
    "e": ("end_session", "end"),
}
LABELS = {"y": True, "n": False}  # the last episode succeeded, or not
LEAVE = "q"
HELP = ", ".join(
    [*(f"{key} {does}" for key, (_, does) in KEYS.items()), "y n last episode succeeded or not", "q leave"]
)
LOOK_S, LEAVING_S = 0.05, 1.0


def run(name: str, terminal: str, namespace: str) -> None:
    """Until the session ends, or its operator leaves it to another."""
    operating, pressed, console = Operating(name, namespace), Terminal(terminal), Console()
    console.print(f"{name} operates: {HELP}", highlight=False)
    try:
        with Live(console=console, refresh_per_second=4) as live:
            while not pressed.lost and _goes_on(operating):
                operating.spin(LOOK_S)
                for key in pressed.read():
                    if key == LEAVE:
                        return _leave(operating)
                    _press(operating, key)
                _tell(operating, console)
                live.update(_line(operating))
            _tell(operating, console)
    finally:
        pressed.close()
        operating.close()
    return None


def _tell(operating: Operating, console: Console) -> None:
    while operating.answers:
        console.print(operating.answers.pop(0), highlight=False, soft_wrap=True)


def _goes_on(operating: Operating) -> bool:
    return operating.status is None or operating.status.state != SessionState.ENDED


def _press(operating: Operating, key: str) -> None:
    if key in KEYS:
        operating.ask(KEYS[key][0])
    elif key in LABELS:
        operating.ask("label_episode", LABELS[key])


def _leave(operating: Operating) -> None:
    """Others need not wait for the lease to run out."""
    operating.ask("release")
    end_s = time.monotonic() + LEAVING_S
    while not operating.answers and time.monotonic() < end_s:
        operating.spin(LOOK_S)


def _line(operating: Operating) -> Text:
    status = operating.status
    if status is None:
        return Text("no session is heard yet", "yellow")
    said = f"{status.state.name.lower()}, {status.mode.name}, episode {status.episode}: {sentence(status)}"
    return Text(said, "bold red" if status.reason else "")
